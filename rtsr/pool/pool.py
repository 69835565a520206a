"""Many voices as rows of one batch: push blocks as they come, tick once a hop, take what came out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from ..backend.base import Backend, BoolArray
from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, InvalidSetting, PoolFull
from ..io.ring import IntArray
from ..stream import fixed_cutoff, linear_gain
from ..timing import Timed
from .lane import Lane
from .seats import Seats

if TYPE_CHECKING:
    from ..backend.graph import GraphBackend


@dataclass(slots=True)
class Ticks(Timed):
    """What went on so far, and the times of ticks; written by the ticking thread, read by anyone."""

    hops: int = 0  # hops of all rows
    stalls: int = 0  # times that an open row had no hop there when the tick came
    overruns: int = 0  # samples that found their row's ring full
    failures: int = 0  # times that a lane went on with the spare

    @property
    def ticks(self) -> int:
        """Ticks made."""
        return self.counted


@dataclass(slots=True)
class Voice:
    """An open row: where it sits, and what it was set to."""

    seats: Seats
    seat: int
    cutoff: float | str
    gain_db: float
    bypass: bool


class Outputs:
    """The hops of the last tick by row; a row that stalled is not in it. Valid until the next tick."""

    def __init__(self, voices: dict[int, Voice]) -> None:
        self._voices = voices

    def __contains__(self, row: int) -> bool:
        voice = self._voices.get(row)
        return voice is not None and voice.seats.moved(voice.seat)

    def __getitem__(self, row: int) -> FloatArray:
        """Return a row's hop (hop_out,), float32; raises KeyError where it stalled or is not open."""
        voice = self._moved(row)
        return voice.seats.hop_of(voice.seat)

    def plain(self, row: int) -> FloatArray:
        """Return that hop without the generated band, as `bypass` would give it, beside the other; raises KeyError.

        Made with every hop; on a device it is fetched when asked for.
        """
        voice = self._moved(row)
        return voice.seats.plain_hop_of(voice.seat)

    def _moved(self, row: int) -> Voice:
        if row not in self:
            raise KeyError(row)
        return self._voices[row]

    def __iter__(self) -> Iterator[int]:
        return (row for row in self._voices if row in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Pool:
    """Up to `limit` voices through one model, each giving the samples that it gives alone in a `Stream`.

    Rows join, leave, stall and reset alone. `push` may be called by one other thread a row, though not while that row
    is opened, reset or closed; everything else by the ticking thread. With `threads` the rows are spread over as many
    shards, each run by a thread of its own from end to end. A tick allocates nothing; opening the first row of a pair
    of rates does. Rates are such that a hop is a whole number of samples. `rtsr.pool.capacity.admission_limit`
    measures what `limit` this machine can keep. Where the model fails, `spare` goes on; `failures` has what was raised.
    """

    def __init__(self, model: Backend, limit: int = 64, threads: int = 1, spare: Backend | None = None) -> None:
        if limit < 1 or threads < 1:
            raise InvalidSetting(f"expected at least one row and one thread, got limit={limit} and threads={threads}")
        self.model, self.limit, self.spare = model, limit, spare
        self.spec = model.spec
        self.deadline_s = self.spec.hop_ms / 1000
        self.counters = Ticks()
        self._shards: list[dict[tuple[int, int], Seats]] = [{} for _ in range(min(threads, limit))]
        self._per_shard = -(-limit // len(self._shards))
        self._voices: dict[int, Voice] = {}
        self._free = list(range(limit - 1, -1, -1))
        self._lanes: list[Seats] = []
        self._lane_of = np.full(limit, -1, np.int64)
        self._seat_of = np.zeros(limit, np.int64)
        self._outputs = Outputs(self._voices)
        self._workers = ThreadPoolExecutor(len(self._shards) - 1, "rtsr shard") if len(self._shards) > 1 else None

    def __len__(self) -> int:
        return len(self._voices)

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
        """Seat a new voice and return its row; the arguments are those of `Stream`.

        Raises `PoolFull` at the limit and `InvalidSetting` for a rate or a setting that cannot be.
        """
        if len(self._voices) >= self.limit:
            raise PoolFull(f"expected at most {self.limit} voices at once, this would be one more")
        rates = (rate or self.spec.rate, rate_out or self.spec.rate)
        shard = min(self._shards, key=lambda lanes: sum(len(seats) for seats in lanes.values()))
        if rates not in shard:
            shard[rates] = self._seats(*rates)
            self._lanes.append(shard[rates])
        voice = Voice(shard[rates], -1, cutoff, gain_db, bypass)
        voice.seat = voice.seats.take(*self._heard_as(voice))
        row = self._free.pop()
        self._voices[row] = voice
        self._lane_of[row], self._seat_of[row] = self._lanes.index(voice.seats), voice.seat
        return row

    def _seats(self, rate: int, rate_out: int) -> Seats:
        """Make the lane of a pair of rates where the model wants it: on the host, or on its device."""
        rows, spare = self._per_shard, self.spare
        if not getattr(self.model, "runs_whole_path", False):
            return Seats(Lane(self.model, rate, rate_out, rows, spare), rows)
        from .device_lane import DeviceLane  # here, as it loads torch

        lane = DeviceLane(cast("GraphBackend", self.model), rate, rate_out, rows)
        return Seats(lane, rows, (lambda: Lane(spare, rate, rate_out, rows)) if spare else None)

    def _heard_as(self, voice: Voice) -> tuple[float, float]:
        """Return a voice's cutoff in Hz, NaN to detect it, and its linear gain; raises `InvalidSetting`."""
        fixed = fixed_cutoff(self.spec, voice.cutoff)
        gain = linear_gain(voice.gain_db)
        return math.nan if fixed is None else fixed, 0.0 if voice.bypass else gain

    def _voice(self, row: int) -> Voice:
        voice = self._voices.get(row)
        if voice is None:
            raise InvalidSetting(f"expected an open row, got {row}; {len(self)} are open")
        return voice

    def set(
        self,
        row: int,
        *,
        cutoff: float | str | None = None,
        gain_db: float | None = None,
        bypass: bool | None = None,
    ) -> None:
        """Change what is given; a new gain or bypass slides over the next hop. Raises `InvalidSetting`."""
        old = self._voice(row)
        new = Voice(
            old.seats,
            old.seat,
            old.cutoff if cutoff is None else cutoff,
            old.gain_db if gain_db is None else gain_db,
            old.bypass if bypass is None else bypass,
        )
        new.seats.set(new.seat, *self._heard_as(new))
        self._voices[row] = new

    def push(self, row: int, block: FloatArray) -> int:
        """Append a block (samples,) of any length to a row's ring and return how much fitted; the rest is counted.

        Raises `InvalidAudio` for another shape and `InvalidSetting` for a row that is not open.
        """
        voice = self._voice(row)
        if block.ndim != 1:
            raise InvalidAudio(f"expected one channel, shape (samples,), got shape {block.shape}")
        count = voice.seats.write(voice.seat, np.ascontiguousarray(block, np.float32))
        self.counters.overruns += len(block) - count
        return count

    def push_hops(self, rows: IntArray, hops: FloatArray) -> int:
        """Append one hop, of the (n, hop), to each of n open rows of one input rate; `push` for thousands of rows.

        Returns how many samples fitted; the rest is counted. rows int64, hops float32. Raises `InvalidAudio` where
        a row is not open or its hop has another length.
        """
        fits = [i for i, seats in enumerate(self._lanes) if hops.ndim == 2 and seats.hop == hops.shape[1]]
        if hops.shape[:1] != rows.shape or not np.isin(self._lane_of[rows], fits).all():
            raise InvalidAudio(
                f"expected a hop of its length for each of {len(rows)} open rows, got shape {hops.shape}"
            )
        count = sum(self._lanes[i].deposit(i, self._lane_of, self._seat_of, rows, hops) for i in fits)
        self.counters.overruns += hops.size - count
        return count

    def take_hops(self, rows: IntArray, out: FloatArray, moved: BoolArray) -> None:
        """Copy the last tick's hops of n rows of one output rate to `out` (n, hop_out); `moved` says which had one.

        Rows that stalled leave theirs as it is. Raises `InvalidAudio` where a row is not open or has another rate.
        """
        fits = [i for i, seats in enumerate(self._lanes) if out.ndim == 2 and seats.lane.out.shape[1] == out.shape[1]]
        if out.shape[:1] != rows.shape or not np.isin(self._lane_of[rows], fits).all():
            raise InvalidAudio(f"expected room for a hop of each of {len(rows)} open rows, got shape {out.shape}")
        for i in fits:
            self._lanes[i].collect(i, self._lane_of, self._seat_of, rows, out, moved)

    def tick(self) -> Outputs:
        """Move every row that has a hop by one hop, and return the hops by row; raises what the model raises."""
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
        for seats in self._lanes:
            self.counters.hops += seats.hops
            self.counters.stalls += len(seats) - seats.hops
        self.counters.failures = len(self.failures)
        self.counters.count(time.perf_counter() - began, self.deadline_s)
        return self._outputs

    def _tick_shard(self, shard: dict[tuple[int, int], Seats]) -> None:
        for seats in shard.values():
            seats.tick()

    def reset(self, row: int) -> None:
        """Forget everything a row heard and what waits in its ring."""
        voice = self._voice(row)
        voice.seats.reset(voice.seat)

    def close(self, row: int) -> None:
        """Let a voice go; its row may be given to the next one."""
        voice = self._voice(row)
        voice.seats.leave(voice.seat)
        del self._voices[row]
        self._lane_of[row] = -1
        self._free.append(row)

    @property
    def failures(self) -> list[Exception]:
        """What made lanes go on with the spare, lane by lane."""
        return [error for seats in self._lanes for error in seats.lane.failures]

    @property
    def running_on(self) -> list[str]:
        """The names of the backends that carry voices now."""
        return sorted({seats.lane.name for seats in self._lanes})
