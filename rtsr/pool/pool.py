"""Many streams in batches: push blocks as they come, tick once a hop, take what came out."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, cast

import numpy as np

from ..backend.base import Backend, BoolArray
from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, InvalidSetting, PoolFull
from ..io.ring import IntArray
from ..stream import fixed_cutoff, linear_gain
from ..timing import Timed
from .batch import HostBatch, tick_together, without_frames
from .outputs import OpenStream, Outputs
from .rings import all_among
from .slots import Slots

if TYPE_CHECKING:
    from ..backend.graph import GraphBackend


@dataclass(slots=True)
class Ticks(Timed):
    """What went on so far, and the times of ticks; written by the ticking thread, read by anyone."""

    hops: int = 0  # of all streams
    stalls: int = 0  # times that an open stream had no hop there when the tick came
    overruns: int = 0  # samples that found their stream's ring full
    failures: int = 0  # times that a batch went on with the spare

    @property
    def ticks(self) -> int:
        """Ticks made."""
        return self.counted


class Pool:
    """Up to `limit` streams through one model, each giving the samples that it gives alone in a `Stream`.

    A stream is known by the handle that `open` returns. Streams join, leave, stall and reset alone. `push` and
    `push_hops` may be called by one other thread a stream, though not while that one is opened, reset or closed;
    `take_hops` by several between ticks; everything else by the ticking thread. With `threads` the streams are spread
    over as many shards, each run by a thread of its own from end to end; those of one pair of rates in a shard are a
    batch. A tick allocates nothing; the first stream of a pair of rates does. A hop is a whole number of samples.
    `rtsr.pool.capacity` measures what `limit` a machine can keep. Where the model fails (`failures`), `spare` goes on.
    """

    def __init__(self, model: Backend, limit: int = 64, threads: int = 1, spare: Backend | None = None) -> None:
        if limit < 1 or threads < 1:
            raise InvalidSetting(f"expected at least one stream and thread, got limit={limit} and threads={threads}")
        self.model, self.limit, self.spare = model, limit, spare
        self.spec, self.deadline_s = model.spec, model.spec.hop_ms / 1000
        self.counters, self._losing = Ticks(), Lock()
        self._shards: list[dict[tuple[int, int], Slots]] = [{} for _ in range(min(threads, limit))]
        self._per_shard = -(-limit // len(self._shards))
        self._prepared: dict[tuple[int, tuple[int, int]], Slots] = {}  # by shard and rates, not in use yet
        self._streams: dict[int, OpenStream] = {}
        self._free = list(range(limit - 1, -1, -1))
        self._batches: list[Slots] = []
        self._places = np.full((limit, 2), -1, np.int64)  # by handle: the number of its batch, and its slot there
        self._outputs = Outputs(self._streams)
        self._workers = ThreadPoolExecutor(len(self._shards) - 1, "rtsr shard") if len(self._shards) > 1 else None

    def __len__(self) -> int:
        return len(self._streams)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()

    def shut(self) -> None:
        """End the threads; nothing can be ticked any more."""
        if self._workers is not None:
            self._workers.shutdown()

    def open(
        self,
        rate: int | None = None,
        rate_out: int | None = None,
        *,
        cutoff: float | str = "auto",
        gain_db: float = 0.0,
        bypass: bool = False,
    ) -> int:
        """Take a new stream in and return its handle; the arguments are those of `Stream`.

        Raises `PoolFull` at the limit and `InvalidSetting` for a rate or a setting that cannot be.
        """
        if len(self._streams) >= self.limit:
            raise PoolFull(f"expected at most {self.limit} streams at once, this would be one more")
        rates = (rate or self.spec.rate, rate_out or self.spec.rate)
        number = min(range(len(self._shards)), key=lambda n: sum(map(len, self._shards[n].values())))
        shard = self._shards[number]
        if rates not in shard:
            prepared = self._prepared.pop((number, rates), None)
            shard[rates] = self._slots(*rates) if prepared is None else prepared
            self._batches.append(shard[rates])
        stream = OpenStream(shard[rates], -1, cutoff, gain_db, bypass)
        stream.slot = stream.slots.take(*self._heard_as(stream))
        handle = self._free.pop()
        self._streams[handle] = stream
        self._places[handle] = self._batches.index(stream.slots), stream.slot
        return handle

    def prepare(self, rate: int | None = None, rate_out: int | None = None) -> None:
        """Make what the first streams of a pair of rates would have to wait for: on a device that takes seconds.

        Called by any thread, while another ticks. Raises `InvalidSetting` for a rate that cannot be.
        """
        rates = (rate or self.spec.rate, rate_out or self.spec.rate)
        for number, shard in enumerate(self._shards):
            if rates not in shard and (number, rates) not in self._prepared:
                self._prepared[number, rates] = self._slots(*rates)

    def _slots(self, rate: int, rate_out: int) -> Slots:
        """Make the batch of a pair of rates where the model wants it: on the host, or on its device."""
        rows, spare = self._per_shard, self.spare
        if not getattr(self.model, "runs_whole_path", False):
            return Slots(HostBatch(self.model, rate, rate_out, rows, spare), rows)
        from .device_batch import DeviceBatch  # here, as it loads torch

        if spare is None:
            return Slots(DeviceBatch(cast("GraphBackend", self.model), rate, rate_out, rows), rows)
        try:
            batch = DeviceBatch(cast("GraphBackend", self.model), rate, rate_out, rows)
            return Slots(batch, rows, lambda: HostBatch(spare, rate, rate_out, rows))
        except Exception as error:  # a device that is gone or full; nobody has been heard yet
            on_host = HostBatch(spare, rate, rate_out, rows)
            on_host.failures.append(without_frames(error))
        return Slots(on_host, rows)

    def _heard_as(self, stream: OpenStream) -> tuple[float, float]:
        """Return a stream's cutoff in Hz, NaN to detect it, and its linear gain; raises `InvalidSetting`."""
        fixed = fixed_cutoff(self.spec, stream.cutoff)
        gain = linear_gain(stream.gain_db)
        return math.nan if fixed is None else fixed, 0.0 if stream.bypass else gain

    def _stream(self, handle: int) -> OpenStream:
        stream = self._streams.get(handle)
        if stream is None:
            raise InvalidSetting(f"expected the handle of an open stream, got {handle}; {len(self)} are open")
        return stream

    def set(
        self,
        handle: int,
        *,
        cutoff: float | str | None = None,
        gain_db: float | None = None,
        bypass: bool | None = None,
    ) -> None:
        """Change what is given; a new gain or bypass slides over the next hop. Raises `InvalidSetting`."""
        old = self._stream(handle)
        new = OpenStream(
            old.slots,
            old.slot,
            old.cutoff if cutoff is None else cutoff,
            old.gain_db if gain_db is None else gain_db,
            old.bypass if bypass is None else bypass,
        )
        new.slots.set(new.slot, *self._heard_as(new))
        self._streams[handle] = new

    def cutoff_hz(self, handle: int) -> float:
        """Return where a stream's received band ends in Hz: as set, or as detected. On a device it is fetched."""
        stream = self._stream(handle)
        return stream.slots.cutoff_hz(stream.slot)

    def push(self, handle: int, block: FloatArray) -> int:
        """Append a block (samples,) of any length to a stream's ring and return how much fitted; the rest is counted.

        Raises `InvalidAudio` for another shape and `InvalidSetting` for a stream that is not open.
        """
        stream = self._stream(handle)
        if block.ndim != 1:
            raise InvalidAudio(f"expected one channel, shape (samples,), got shape {block.shape}")
        count = stream.slots.rings.write(stream.slot, np.ascontiguousarray(block, np.float32))
        if count < len(block):
            with self._losing:
                self.counters.overruns += len(block) - count
        return count

    def push_hops(self, handles: IntArray, hops: FloatArray) -> int:
        """Append one hop, of the (n, hop), to each of n open streams of one input rate; returns how much fitted.

        handles int64, hops float32. Raises `InvalidAudio` where a stream is not open or its hop has another length.
        """
        fits = np.array([hops.ndim == 2 and slots.hop == hops.shape[1] for slots in self._batches], np.bool_)
        if hops.shape[:1] != handles.shape or not all_among(self._places, handles, fits):
            raise InvalidAudio(f"expected a hop for each of {len(handles)} open streams, got shape {hops.shape}")
        whose = [(i, self._batches[i].rings) for i in np.flatnonzero(fits).tolist()]
        count = sum(rings.deposit(i, self._places, handles, hops) for i, rings in whose)
        with self._losing:
            self.counters.overruns += hops.size - count
        return count

    def take_hops(self, handles: IntArray, out: FloatArray, moved: BoolArray) -> None:
        """Copy the last tick's hops of n streams of one output rate to `out` (n, hop_out); `moved` says which had one.

        Streams that stalled leave theirs as it is. Raises `InvalidAudio` where one is not open or has another rate.
        """
        fits = np.array([out.ndim == 2 and slots.hop_out == out.shape[1] for slots in self._batches], np.bool_)
        if out.shape[:1] != handles.shape or not all_among(self._places, handles, fits):
            raise InvalidAudio(f"expected room for a hop of each of {len(handles)} open streams, got shape {out.shape}")
        for i in np.flatnonzero(fits).tolist():
            self._batches[i].collect(i, self._places, handles, out, moved)

    def tick(self) -> Outputs:
        """Move every stream that has a hop by one hop, and return the hops by handle; raises what the model raises."""
        began = time.perf_counter()
        if self._workers is None:
            self._tick_shard(self._shards[0])
        else:
            others = [self._workers.submit(self._tick_shard, shard) for shard in self._shards[1:]]
            try:
                self._tick_shard(self._shards[0])
            finally:
                wait(others)  # no shard is left running when one fails
            for other in others:
                other.result()
        for slots in self._batches:
            self.counters.hops += slots.hops
            self.counters.stalls += len(slots) - slots.hops
        self.counters.failures = len(self.failures)
        self.counters.count(time.perf_counter() - began, self.deadline_s)
        return self._outputs

    def _tick_shard(self, shard: dict[tuple[int, int], Slots]) -> None:
        """Process a hop of every stream of a shard that has one: on devices meanwhile, on the host together."""
        on_host, started = list[tuple[HostBatch, int]](), list[Slots]()
        try:
            for slots in shard.values():
                if rows := slots.take_hops():
                    if isinstance(slots.batch, HostBatch):
                        on_host.append((slots.batch, rows))
                    else:
                        started.append(slots)
                        slots.start(rows)
            tick_together(on_host)
        finally:
            for slots in started:
                slots.finish()

    def reset(self, handle: int) -> None:
        """Forget everything a stream heard and what waits in its ring."""
        stream = self._stream(handle)
        stream.slots.reset(stream.slot)

    def close(self, handle: int) -> None:
        """Let a stream go; its handle may be given to the next one."""
        stream = self._stream(handle)
        stream.slots.leave(stream.slot)
        del self._streams[handle]
        self._places[handle] = -1
        self._free.append(handle)

    @property
    def failures(self) -> list[Exception]:
        """What made batches go on with the spare, batch by batch."""
        return [error for slots in self._batches for error in slots.batch.failures]

    @property
    def running_on(self) -> list[str]:
        """The names of the backends that carry streams now."""
        return sorted({slots.batch.name for slots in self._batches})
