"""The rings of many streams, hop by hop: what all of them wrote at the same time lies side by side in memory."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..backend.base import BoolArray
from ..dsp.windows import FloatArray
from ..io.ring import IntArray, load_acquire, store_release

ROOM_HOPS = 16  # a ring's room, a power of two; a stream that is in time uses one or two, the rest is its past
BATCH, SLOT = range(2)  # the columns of `places`: where a handle's stream is


@njit(cache=True, inline="always")  # not nogil: it takes less time than handing the interpreter lock over and back
def _write(samples: FloatArray, written: IntArray, taken: IntArray, slot: int, block: FloatArray) -> int:
    """Append as much of `block`, (n,), to a slot's ring as fits; returns how much.

    samples (ROOM_HOPS, slots, hop), written and taken (slots,): as in `Rings`.
    """
    hop, at = samples.shape[2], written[slot]
    count = min(len(block), ROOM_HOPS * hop - (at - load_acquire(taken, slot)))
    piece = at // hop
    place = at - piece * hop
    done = min(count, hop - place)
    for i in range(done):
        samples[piece & (ROOM_HOPS - 1), slot, place + i] = block[i]
    while done < count:
        piece += 1
        more = min(count - done, hop)
        for i in range(more):
            samples[piece & (ROOM_HOPS - 1), slot, i] = block[done + i]
        done += more
    store_release(written, slot, at + count)
    return count


@njit(nogil=True, cache=True)
def _hop_at(samples: FloatArray, slot: int, start: int, out: FloatArray) -> None:
    """Copy a hop from `start` on, counted in samples since the ring was cleared, to `out`, (hop,).

    samples (ROOM_HOPS, slots, hop): as in `Rings`.
    """
    hop = samples.shape[2]
    piece = start // hop
    place = start - piece * hop
    this, after = piece & (ROOM_HOPS - 1), (piece + 1) & (ROOM_HOPS - 1)
    for i in range(hop - place):
        out[i] = samples[this, slot, place + i]
    for i in range(place):
        out[hop - place + i] = samples[after, slot, i]


@njit(nogil=True, cache=True)
def _gather(
    samples: FloatArray,
    written: IntArray,
    taken: IntArray,
    slot_at: IntArray,
    first: int,
    last: int,
    blocks: FloatArray,
    active: BoolArray,
) -> int:
    """Read a hop of each row from `first` to `last` that has one to `blocks`, (rows, hop); returns how many.

    samples (ROOM_HOPS, slots, hop), written and taken (slots,): as in `Rings`.
    slot_at (rows,): each row's slot; active (rows,): set to whether a row had a hop.
    """
    hop, hops = blocks.shape[1], 0
    for row in range(first, last):
        slot = slot_at[row]
        start = taken[slot]
        active[row] = load_acquire(written, slot) - start >= hop
        if active[row]:
            _hop_at(samples, slot, start, blocks[row])
            store_release(taken, slot, start + hop)
            hops += 1
    return hops


@njit(nogil=True, cache=True)
def _rewind(
    samples: FloatArray,
    written: IntArray,
    taken: IntArray,
    slot_at: IntArray,
    unheard: BoolArray,
    hops_ago: int,
    blocks: FloatArray,
    active: BoolArray,
) -> None:
    """Copy the hop that each row read `hops_ago` hops ago to `blocks`, (rows, hop), where its ring still has it.

    samples (ROOM_HOPS, slots, hop), written and taken (slots,): as in `Rings`.
    slot_at (rows,): each row's slot; unheard (rows,): rows that have read one hop more than was processed; active
    (rows,): set to whether the hop was there.
    """
    hop = blocks.shape[1]
    for row in range(len(slot_at)):
        slot = slot_at[row]
        start = taken[slot] - (hops_ago + unheard[row]) * hop
        active[row] = start >= 0 and written[slot] - start <= ROOM_HOPS * hop
        if active[row]:
            _hop_at(samples, slot, start, blocks[row])


@njit(nogil=True, cache=True)
def _deposit(
    samples: FloatArray,
    written: IntArray,
    taken: IntArray,
    batch: int,
    places: IntArray,
    handles: IntArray,
    hops: FloatArray,
) -> int:
    """Write those of `hops`, (n, hop), whose stream is in this batch to their rings; returns how many samples fitted.

    samples (ROOM_HOPS, slots, hop), written and taken (slots,): as in `Rings`.
    places (handles, 2): batch and slot of a handle; handles (n,).
    """
    fitted = 0
    for i in range(len(handles)):
        if places[handles[i], BATCH] == batch:
            fitted += _write(samples, written, taken, places[handles[i], SLOT], hops[i])
    return fitted


@njit(nogil=True, cache=True)
def all_among(places: IntArray, handles: IntArray, fits: BoolArray) -> bool:
    """Return whether all `handles` (n,) are those of open streams in batches that fit.

    places (handles, 2): batch and slot of a handle; fits (batches,).
    """
    for handle in handles:
        if handle < 0 or handle >= len(places) or places[handle, BATCH] < 0 or not fits[places[handle, BATCH]]:
            return False
    return True


class Rings:
    """A ring of `ROOM_HOPS` hops for each of some slots: `samples` (ROOM_HOPS, slots, hop), and how many samples were
    ever `written` and `taken`, (slots,) each.

    Streams in step write to, and read from, memory that lies side by side, which is what many of them need: each has
    one writing and one reading thread, and nothing waits.
    """

    def __init__(self, slots: int, hop: int) -> None:
        self.samples = np.zeros((ROOM_HOPS, slots, hop), np.float32)
        self.written, self.taken = np.zeros((2, slots), np.int64)

    def clear(self, slot: int) -> None:
        """Empty a slot's ring; only while neither thread uses it."""
        self.written[slot] = self.taken[slot] = 0

    def write(self, slot: int, block: FloatArray) -> int:
        """Append as much of a block as a slot's ring has room for; returns how much. The writing thread's."""
        return _write(self.samples, self.written, self.taken, slot, block)

    def deposit(self, batch: int, places: IntArray, handles: IntArray, hops: FloatArray) -> int:
        """Append hops (n, hop) to the rings of those streams (n,) that are here; returns how many samples fitted.

        `places` (handles, 2) has the number of a handle's batch, of which this one is `batch`, and its slot there.
        """
        return _deposit(self.samples, self.written, self.taken, batch, places, handles, hops)

    def gather(self, slot_at: IntArray, first: int, last: int, blocks: FloatArray, active: BoolArray) -> int:
        """Read a hop of each row from `first` to `last` to `blocks` where its slot has one, which `active` says.

        Returns how many had one. The reading thread's, of which there may be several for rows of their own.
        """
        return _gather(self.samples, self.written, self.taken, slot_at, first, last, blocks, active)

    def rewind(
        self, slot_at: IntArray, unheard: BoolArray, hops_ago: int, blocks: FloatArray, active: BoolArray
    ) -> None:
        """Copy the hop that each row (n,) read so many hops ago to `blocks` where its slot still has it.

        `unheard` (n,) are rows that have read one hop more than was processed; `active` (n,) says where a hop was.
        """
        _rewind(self.samples, self.written, self.taken, slot_at, unheard, hops_ago, blocks, active)
