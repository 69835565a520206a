"""A recording through a stream in real time: Source -> ring -> stream -> ring -> Sink, each arrow a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..dsp.windows import FloatArray
from ..io.reblock import Reblock
from ..io.ring import Ring
from ..timing import Timed

RING_MS = 200  # room on either side; a healthy session uses a hop of it
NAP_S = 0.0005


@dataclass(slots=True)
class Counters(Timed):
    """What went on so far, and the computing times of hops; written by the session's threads, read by anyone."""

    captured: int = 0
    played: int = 0
    overruns: int = 0  # samples of a live source that found the ring full

    @property
    def hops(self) -> int:
        """Hops computed."""
        return self.counted


class Source(Protocol):
    """Where mono samples come from. Used by one thread."""

    rate: int
    live: bool  # True: samples are lost when they are not read in time; False: the source waits

    @property
    def ended(self) -> bool:
        """Whether no sample will ever come again."""

    def read(self, out: FloatArray) -> int:
        """Write what is there to `out`, at most len(out) samples, and return how many; 0 is no error."""


class Sink(Protocol):
    """Where mono samples go. Used by one thread."""

    rate: int

    def write(self, block: FloatArray) -> int:
        """Take as many samples as there is room for and return how many."""


class FileSource:
    """One channel of a recording in memory as a source; `paced` gives samples no earlier than a speaker would."""

    def __init__(self, samples: FloatArray, rate: int, *, paced: bool = False) -> None:
        self.samples, self.rate, self.live = samples, rate, False
        self.paced = paced
        self.place = 0
        self._began = 0.0

    @property
    def ended(self) -> bool:
        """Whether everything was read."""
        return self.place >= len(self.samples)

    def read(self, out: FloatArray) -> int:
        """Write the samples that are due to `out` and return how many."""
        due = len(self.samples)
        if self.paced:
            self._began = self._began or time.monotonic()
            due = min(due, int((time.monotonic() - self._began) * self.rate))
        count = max(0, min(len(out), due - self.place))
        out[:count] = self.samples[self.place : self.place + count]
        self.place += count
        return count


class ArraySink:
    """Keeps everything written, up to the length it was made for; takes no more than that."""

    def __init__(self, samples: int, rate: int) -> None:
        self.samples, self.rate = np.zeros(samples, np.float32), rate
        self.place = 0

    def write(self, block: FloatArray) -> int:
        """Take what fits and return how many samples that was."""
        count = min(len(block), len(self.samples) - self.place)
        self.samples[self.place : self.place + count] = block[:count]
        self.place += count
        return count


class Session:
    """Moves one signal from a source to a sink through a stream until the source ends or `stop` is called.

    Three threads: capture, worker and playback. Only the two rings join them, so none waits for another's lock.
    The rings are bounded: a source that can wait is made to, a live one loses samples, which are counted.
    An error in any thread ends all three and is raised by `join`.
    """

    def __init__(self, source: Source, stream: Reblock, sink: Sink) -> None:
        self.source, self.stream, self.sink = source, stream, sink
        self.block = stream.stream.hop * stream.rate // stream.stream.rate or 1
        self.captured = Ring(max(stream.rate * RING_MS // 1000, 2 * self.block))
        self.produced = Ring(stream.rate_out * RING_MS // 1000)
        self.counters = Counters()
        self._stopping = threading.Event()
        self._capture_ended = threading.Event()
        self._worker_ended = threading.Event()
        self._error: BaseException | None = None
        jobs = {"capture": self._capture, "worker": self._work, "playback": self._play}
        self._threads = [threading.Thread(target=self._guard, args=(j,), name=f"rtsr {n}") for n, j in jobs.items()]

    def start(self) -> None:
        """Start the threads; once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask the threads to end after what they have in hand."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end and return whether it came; raises what a thread raised."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        ended = not any(t.is_alive() for t in self._threads)
        if ended and self._error is not None:
            raise self._error
        return ended

    def run(self) -> Counters:
        """Start, wait for the end, and return the counters."""
        self.start()
        self.join()
        return self.counters

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            self._error = error
            self._stopping.set()

    def _capture(self) -> None:
        """Source to ring."""
        block = np.zeros(self.block, np.float32)
        while not (self.source.ended or self._stopping.is_set()):
            count = self.source.read(block)
            if not count:
                time.sleep(NAP_S)
            elif self.source.live:
                self.counters.overruns += count - self.captured.write(block[:count])
            else:
                self._write_all(self.captured.write, block[:count])
            self.counters.captured += count
        self._capture_ended.set()

    def _work(self) -> None:
        """Ring to ring through the stream, one hop at a time; at the end, what the stream still holds."""
        block = np.zeros(self.block, np.float32)
        hop_s = self.block / self.stream.rate
        while not self._stopping.is_set():
            ended = self._capture_ended.is_set()
            if len(self.captured) < self.block and not ended:
                time.sleep(NAP_S)
                continue
            count = self.captured.read(block)
            if ended and not count:
                break
            began = time.perf_counter()
            out = self.stream.process(block[:count])
            self.counters.count(time.perf_counter() - began, hop_s)
            self._write_all(self.produced.write, out)
        if not self._stopping.is_set():
            self._write_all(self.produced.write, self.stream.flush())
        self._worker_ended.set()

    def _play(self) -> None:
        """Ring to sink."""
        block = np.zeros(self.stream.stream.hop_out, np.float32)
        while not self._stopping.is_set():
            ended = self._worker_ended.is_set()
            count = self.produced.read(block)
            if count:
                self._write_all(self.sink.write, block[:count])
                self.counters.played += count
            elif ended:
                break
            else:
                time.sleep(NAP_S)

    def _write_all(self, write: Callable[[FloatArray], int], block: FloatArray) -> None:
        """Write a whole block, waiting for room."""
        done = write(block)
        while done < len(block) and not self._stopping.is_set():
            time.sleep(NAP_S)
            done += write(block[done:])
