"""The streams of a batch: a slot with a ring for each, and rows without gaps so that a batch stays small."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..backend.base import BoolArray
from ..dsp.windows import FloatArray
from ..errors import BackendFailed
from ..io.ring import IntArray
from .batch import Batch, HostBatch, without_frames
from .rings import BATCH, SLOT, Rings

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
def _collect(
    batch_out: FloatArray,
    active: BoolArray,
    row_of: IntArray,
    batch: int,
    places: IntArray,
    handles: IntArray,
    out: FloatArray,
    moved: BoolArray,
) -> None:
    """Copy the last hops of those of n streams that are in this batch and had one to `out`, (n, hop_out).

    batch_out (rows, hop_out) and active (rows,): of the batch; row_of (slots,): a slot's row; places (handles, 2):
    batch and slot of a handle; handles (n,); moved (n,): set where a stream had a hop.
    """
    for i in range(len(handles)):
        if places[handles[i], BATCH] == batch:
            row = row_of[places[handles[i], SLOT]]
            moved[i] = active[row]
            if moved[i]:
                out[i] = batch_out[row]


class Slots:
    """The streams of one batch. A slot is a stream's for as long as it stays; its row in the arrays may change.

    `rings` may be written to by one other thread a slot; everything else is the ticking thread's.
    """

    def __init__(self, batch: Batch, rows: int, spare: Callable[[], HostBatch] | None = None) -> None:
        self.batch, self.spare = batch, spare
        self.hop, self.hop_out = batch.blocks.shape[1], batch.out.shape[1]
        self.buckets = buckets(rows)
        self.hops = 0  # that the last tick moved
        self.rings = Rings(rows, self.hop)
        self._slot_at: NDArray[np.int64] = np.zeros(rows, np.int64)
        self._row_of: NDArray[np.int64] = np.zeros(rows, np.int64)
        self._free = list(range(rows - 1, -1, -1))
        self._taken = 0
        self._rows_run = 0  # of the tick that goes on
        batch.prepare(self.buckets)

    def __len__(self) -> int:
        return self._taken

    def take(self, cutoff_hz: float, gain: float) -> int:
        """Take a slot for a new stream and return it; there has to be one."""
        slot, row = self._free.pop(), self._taken
        self._taken += 1
        self._slot_at[row], self._row_of[slot] = slot, row
        self.rings.clear(slot)
        self.batch.active[row] = False
        self.batch.set(row, cutoff_hz, gain)
        self.batch.clear(row)
        return slot

    def leave(self, slot: int) -> None:
        """Free a slot; the last row takes its place in the batch."""
        row, last = int(self._row_of[slot]), self._taken - 1
        if row != last:
            self._move(last, row)
            moved = self._slot_at[last]
            self._slot_at[row], self._row_of[moved] = moved, row
        self._taken = last
        self._free.append(slot)

    def _move(self, source: int, target: int) -> None:
        """Copy a row over another, with what the last tick gave it."""
        self.batch.move(source, target)
        self.batch.active[target] = self.batch.active[source]
        self.batch.out[target] = self.batch.out[source]

    def reset(self, slot: int) -> None:
        """Clear a stream's ring and state."""
        self.rings.clear(slot)
        self.batch.clear(int(self._row_of[slot]))

    def set(self, slot: int, cutoff_hz: float, gain: float) -> None:
        """Set a stream's cutoff in Hz, NaN to detect it, and its linear gain."""
        self.batch.set(int(self._row_of[slot]), cutoff_hz, gain)

    def cutoff_hz(self, slot: int) -> float:
        """Return where a stream's received band ends in Hz: as set, or as detected."""
        return self.batch.cutoff_hz(int(self._row_of[slot]))

    def collect(self, batch: int, places: IntArray, handles: IntArray, out: FloatArray, moved: BoolArray) -> None:
        """Copy the last hops of those streams (n,) that are here and moved to `out` (n, hop_out), and mark them."""
        _collect(self.batch.out, self.batch.active, self._row_of, batch, places, handles, out, moved)

    def take_hops(self) -> int:
        """Take a hop of every stream that has one to the batch; returns how many rows it has to run, 0 for none."""
        rows = self.hops = 0
        if self._taken:
            rows = self.buckets[bisect_left(self.buckets, self._taken)]
            self.hops = self.rings.gather(self._slot_at, 0, self._taken, self.batch.blocks, self.batch.active)
            self.batch.active[self._taken : rows] = False
        return rows if self.hops else 0

    def start(self, rows: int) -> None:
        """Begin to process the hops that were taken."""
        self._rows_run = rows
        self._try(lambda: self.batch.start(rows))

    def finish(self) -> None:
        """Return when that is done."""
        self._try(self.batch.finish)

    def _try(self, do: Callable[[], None]) -> None:
        """Do a part of a tick, or all of it on the spare where the device fails."""
        try:
            do()
        except Exception as error:  # torch, CUDA and ONNX Runtime have no common base
            if self.spare is None and isinstance(error, BackendFailed):
                raise  # a batch on the host has tried its own spare
            failed, rows = self.batch, self._rows_run
            self._fall_back(error, failed.active)
            self.batch.blocks[:rows], self.batch.active[:rows] = failed.blocks[:rows], failed.active[:rows]
            self.batch.start(rows)

    def _fall_back(self, error: Exception, unheard: BoolArray) -> None:
        """Go on with another batch when this one's device is gone, and with it all that rows remembered.

        What the rings still hold of the past is given to the new batch first, enough for the received band to go on
        without a seam; the generated band fades in. Raises `BackendFailed` where there is no other batch.
        """
        if self.spare is None:
            raise BackendFailed(
                f"{self.batch.name} failed and there is no other backend to go on with: {error}"
            ) from error
        batch, failed = self.spare(), self.batch
        self.batch, self.spare = batch, None
        batch.failures += [*failed.failures, without_frames(error)]
        for row in range(self._taken):
            batch.set(row, *failed.settings(row))
            batch.clear(row)
        for hops_ago in range(REPEATED_HOPS, 0, -1):
            slots, active = self._slot_at[: self._taken], batch.active[: self._taken]
            self.rings.rewind(slots, unheard, hops_ago, batch.blocks, active)
            batch.start(self._taken)
        batch.fade_in()

    def moved(self, slot: int) -> bool:
        """Whether the last tick had a hop of this stream."""
        return bool(self.batch.active[self._row_of[slot]])

    def hop_of(self, slot: int) -> FloatArray:
        """Return the hop that the last tick gave for this stream."""
        return self.batch.out[self._row_of[slot]]

    def plain_hop_of(self, slot: int) -> FloatArray:
        """Return that hop without the generated band."""
        return np.clip(self.batch.received(int(self._row_of[slot])), -1, 1)
