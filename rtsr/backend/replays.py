"""Work on a device, recorded as CUDA graphs and replayed, each time in one launch; on the CPU it is just done."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import BackendFailed
from . import driver

WARM_UPS = 3  # runs before recording, in which libraries make their plans
HANG_S, FIRST_HANG_S = 0.25, 60.0  # after which a device counts as lost: in a tick, and where kernels are compiled
SPIN_S, NAP_S = 0.001, 0.0001  # how long a wait yields to other threads only, and then how long it sleeps at a time

Work = Callable[[], None]

_recording = threading.RLock()  # torch records one graph at a time
_idle_streams: defaultdict[torch.device, list[Any]] = defaultdict(list)
_hung: dict[torch.device, list[Any]] = {}  # what a device that hangs may still write to must never be freed


def records(device: torch.device) -> bool:
    """Whether work on a device is recorded."""
    return device.type == "cuda"


def take_stream(device: torch.device) -> Any:
    """Return a CUDA stream that nobody else has: one that was given back, or a new one.

    torch's own come from 32 that are shared. Streams are never destroyed, as libraries keep memory for each.
    """
    idle = _idle_streams[device]
    return idle.pop() if idle else torch.cuda.ExternalStream(driver.new_stream(device.index or 0), device)


class Replays:
    """Runs pieces of work on one stream of its own, in order; each is known by a key and recorded once.

    A piece of work is given with every call and kept only while it runs, so that what it works on can be freed. One
    thread at a time, though another may record elsewhere meanwhile. Raises `BackendFailed` where the device hangs, and
    then for good: what hangs may still write to its buffers, which are kept.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._graphs: dict[Hashable, Any] = {}
        self._pool: Any = None
        self._own_stream: Any = None
        self._running: Work | None = None

    def ready(self, key: Hashable) -> bool:
        """Whether a launch of this key needs no recording any more."""
        return key in self._graphs or not records(self.device)

    @property
    def _stream(self) -> Any:
        if self._own_stream is None:
            self._own_stream = take_stream(self.device)
            self._give_back = weakref.finalize(self, _idle_streams[self.device].append, self._own_stream)
        return self._own_stream

    @torch.inference_mode()
    def record(self, works: Mapping[Hashable, Work]) -> None:
        """Record pieces of work in this order, running each a few times before: they must change nothing that counts.

        The largest comes first, as those after it then use the memory of its intermediate results.
        """
        if not records(self.device):
            for work in works.values():
                work()
            return
        with _recording, _no_collection():
            for key, work in works.items():
                for _ in range(WARM_UPS):
                    self._queue(work)
                self._wait(FIRST_HANG_S)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.stream(self._stream):
                    graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                    try:
                        work()
                    finally:
                        graph.capture_end()
                self._pool = self._pool or graph.pool()
                self._graphs[key] = graph

    @torch.inference_mode()
    def call(self, work: Work) -> None:
        """Do something once, after all that was asked of the device, and wait for it."""
        if not records(self.device):
            work()
            return
        self._queue(work)
        self.wait()

    @torch.inference_mode()
    def launch(self, key: Hashable, work: Work) -> None:
        """Replay the work that was recorded under this key; `wait` returns when it is done."""
        if not records(self.device):
            work()
            return
        self._check()
        with torch.cuda.stream(self._stream):
            self._graphs[key].replay()
        self._running = work

    def wait(self) -> None:
        """Return when what was launched is done and its results are on the host."""
        if self._running is not None:
            self._wait(HANG_S)

    def _queue(self, work: Work) -> None:
        self._check()
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            work()
        self._running = work

    def _check(self) -> None:
        if self.device in _hung:
            raise BackendFailed(f"{self.device} hung before in this process: start it again, once the card works")

    def _wait(self, most_s: float) -> None:
        """Wait without a call that could block: a device that hangs must not take the thread along."""
        began, running, self._running = time.monotonic(), self._running, None
        while not self._stream.query():
            waited = time.monotonic() - began
            if waited > most_s:
                self._give_back.detach()
                _hung.setdefault(self.device, []).append((self, running))
                raise BackendFailed(f"{self.device} hangs: what takes ms was not done after {most_s} s; see dmesg")
            time.sleep(0 if waited < SPIN_S else NAP_S)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the collector from freeing what is on a device, which a recording must not meet."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
