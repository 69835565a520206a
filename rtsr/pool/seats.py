"""Who sits where in a lane: a ring for every voice, and rows without gaps so that a batch stays small."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..backend.base import BoolArray
from ..dsp.windows import FloatArray
from ..errors import BackendFailed
from ..io.ring import MARKS, READ, WRITTEN, IntArray, read, write
from .lane import AnyLane, Lane

ROOM_HOPS = 16  # a ring's room; a voice that is in time uses one or two, the rest is its past
REPEATED_HOPS = 7  # of the past: what the analysis window and the filters reach back, and the hop that overlaps


def buckets(most: int) -> list[int]:
    """Return the batch sizes that are run: powers of two and, from 16 on, the ones half way; the last is `most`."""
    sizes, size = [], 1
    while size < most:
        sizes.append(size)
        if size >= 16 and size * 3 // 2 < most:
            sizes.append(size * 3 // 2)
        size *= 2
    return [*sizes, most]


@njit(nogil=True, cache=True)
def _gather(
    samples: FloatArray,
    marks: IntArray,
    seat_at: IntArray,
    taken: int,
    rows: int,
    blocks: FloatArray,
    active: BoolArray,
) -> int:
    """Read a hop of every seated row that has one; says which did in `active`, and returns how many."""
    hops = 0
    for slot in range(rows):
        active[slot] = False
        if slot < taken:
            seat = seat_at[slot]
            if marks[seat, WRITTEN] - marks[seat, READ] >= blocks.shape[1]:
                read(samples[seat], marks[seat], blocks[slot])
                active[slot] = True
                hops += 1
    return hops


@njit(nogil=True, cache=True)
def _rewind(
    samples: FloatArray,
    marks: IntArray,
    seat_at: IntArray,
    unheard: BoolArray,
    hops_ago: int,
    blocks: FloatArray,
    active: BoolArray,
) -> None:
    """Copy the hop that every row heard so long ago, where its ring still has it; `unheard` ones have read one more."""
    hop, room = blocks.shape[1], samples.shape[1]
    active[:] = False
    for slot in range(len(seat_at)):
        seat = seat_at[slot]
        start = marks[seat, READ] - (hops_ago + unheard[slot]) * hop
        if start >= 0 and marks[seat, WRITTEN] - start <= room:
            for i in range(hop):
                blocks[slot, i] = samples[seat, (start + i) % room]
            active[slot] = True


@njit(nogil=True, cache=True)
def _deposit(
    samples: FloatArray,
    marks: IntArray,
    lane: int,
    lane_of: IntArray,
    seat_of: IntArray,
    rows: IntArray,
    hops: FloatArray,
) -> int:
    """Write the hops of those rows that sit in this lane to their rings; returns how many samples fitted."""
    fitted = 0
    for i in range(len(rows)):
        if lane_of[rows[i]] == lane:
            seat = seat_of[rows[i]]
            fitted += write(samples[seat], marks[seat], hops[i])
    return fitted


@njit(nogil=True, cache=True)
def _collect(
    lane_out: FloatArray,
    active: BoolArray,
    slot_of: IntArray,
    lane: int,
    lane_of: IntArray,
    seat_of: IntArray,
    rows: IntArray,
    out: FloatArray,
    moved: BoolArray,
) -> None:
    """Copy the hops of those rows that sit in this lane and moved."""
    for i in range(len(rows)):
        if lane_of[rows[i]] == lane:
            slot = slot_of[seat_of[rows[i]]]
            moved[i] = active[slot]
            if moved[i]:
                out[i] = lane_out[slot]


class Seats:
    """The voices of one lane. A seat is a voice's for as long as it stays; its row in the batch may move.

    `write` may be called by one other thread a seat; everything else by the ticking thread.
    """

    def __init__(self, lane: AnyLane, rows: int, spare: Callable[[], Lane] | None = None) -> None:
        self.lane, self.hop, self.spare = lane, lane.blocks.shape[1], spare
        self.buckets = buckets(rows)
        self.hops = 0  # that the last tick moved
        self._samples = np.zeros((rows, ROOM_HOPS * self.hop), np.float32)
        self._marks = np.zeros((rows, MARKS), np.int64)
        self._seat_at: NDArray[np.int64] = np.zeros(rows, np.int64)
        self._slot_of: NDArray[np.int64] = np.zeros(rows, np.int64)
        self._free = list(range(rows - 1, -1, -1))
        self._taken = 0
        for rows_run in self.buckets:  # with nobody active: compiles, binds and captures, and moves nothing
            lane.tick(rows_run)

    def __len__(self) -> int:
        return self._taken

    def take(self, cutoff_hz: float, gain: float) -> int:
        """Seat a new voice and return its seat; there has to be one."""
        seat, slot = self._free.pop(), self._taken
        self._taken += 1
        self._seat_at[slot], self._slot_of[seat] = seat, slot
        self._marks[seat] = 0
        self.lane.active[slot] = False
        self.lane.set(slot, cutoff_hz, gain)
        self.lane.clear(slot)
        return seat

    def leave(self, seat: int) -> None:
        """Free a seat; the last row takes its place in the batch."""
        slot, last = int(self._slot_of[seat]), self._taken - 1
        if slot != last:
            self._move(last, slot)
            moved = self._seat_at[last]
            self._seat_at[slot], self._slot_of[moved] = moved, slot
        self._taken = last
        self._free.append(seat)

    def _move(self, source: int, target: int) -> None:
        """Copy a row over another, with what the last tick gave it."""
        failed = self.lane
        try:
            failed.move(source, target)
        except Exception as error:  # as in a tick, but every row has heard what it read
            self._fall_back(error, np.zeros_like(failed.active))
            self.lane.active[:], self.lane.out[:] = failed.active, failed.out
            self.lane.move(source, target)
        self.lane.active[target] = self.lane.active[source]
        self.lane.out[target] = self.lane.out[source]

    def reset(self, seat: int) -> None:
        """Forget what a voice said, heard or waiting."""
        self._marks[seat] = 0
        self.lane.clear(int(self._slot_of[seat]))

    def set(self, seat: int, cutoff_hz: float, gain: float) -> None:
        """Set a voice's cutoff in Hz, NaN to detect it, and its linear gain."""
        self.lane.set(int(self._slot_of[seat]), cutoff_hz, gain)

    def write(self, seat: int, block: FloatArray) -> int:
        """Append as much of a block as a voice's ring has room for; returns how much."""
        return write(self._samples[seat], self._marks[seat], block)

    def deposit(self, lane: int, lane_of: IntArray, seat_of: IntArray, rows: IntArray, hops: FloatArray) -> int:
        """Append hops (n, hop) to the rings of those rows (n,) that sit here; returns how many samples fitted."""
        return _deposit(self._samples, self._marks, lane, lane_of, seat_of, rows, hops)

    def collect(
        self, lane: int, lane_of: IntArray, seat_of: IntArray, rows: IntArray, out: FloatArray, moved: BoolArray
    ) -> None:
        """Copy the last hops of those rows (n,) that sit here and moved to `out` (n, hop_out), and mark them."""
        _collect(self.lane.out, self.lane.active, self._slot_of, lane, lane_of, seat_of, rows, out, moved)

    def tick(self) -> None:
        """Move every voice that has a hop by one hop."""
        self.hops = 0
        if self._taken:
            rows = self.buckets[bisect_left(self.buckets, self._taken)]
            self.hops = _gather(
                self._samples, self._marks, self._seat_at, self._taken, rows, self.lane.blocks, self.lane.active
            )
        if self.hops:
            try:
                self.lane.tick(rows)
            except BackendFailed:
                raise  # a lane on the host has tried its own spare
            except Exception as error:  # torch, CUDA and ONNX Runtime have no common base
                failed = self.lane
                self._fall_back(error, failed.active)
                self.lane.blocks[:rows], self.lane.active[:rows] = failed.blocks[:rows], failed.active[:rows]
                self.lane.tick(rows)

    def _fall_back(self, error: Exception, unheard: BoolArray) -> None:
        """Go on with another lane when this one's device is gone, and with it all that rows remembered.

        What the rings still hold of the past is said to the new lane first, enough for the received band to go on
        without a seam; the generated band fades in. Raises `BackendFailed` where there is no other lane.
        """
        if self.spare is None:
            raise BackendFailed(
                f"{self.lane.name} failed and there is no other backend to go on with: {error}"
            ) from error
        lane, failed = self.spare(), self.lane
        self.lane, self.spare = lane, None
        lane.failures += [*failed.failures, error]
        for slot in range(self._taken):
            lane.set(slot, *failed.settings(slot))
            lane.clear(slot)
        for hops_ago in range(REPEATED_HOPS, 0, -1):
            seats, active = self._seat_at[: self._taken], lane.active[: self._taken]
            _rewind(self._samples, self._marks, seats, unheard, hops_ago, lane.blocks, active)
            lane.tick(self._taken)
        lane.fade_in()

    def moved(self, seat: int) -> bool:
        """Whether the last tick moved this voice."""
        return bool(self.lane.active[self._slot_of[seat]])

    def hop_of(self, seat: int) -> FloatArray:
        """Return the hop that the last tick gave this voice."""
        return self.lane.out[self._slot_of[seat]]

    def plain_hop_of(self, seat: int) -> FloatArray:
        """Return that hop without the generated band."""
        return np.clip(self.lane.received(int(self._slot_of[seat])), -1, 1)
