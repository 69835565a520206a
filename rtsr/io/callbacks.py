"""What the two audio threads of a live session do, compiled: from a device to the input ring, from a ring to a device.

                   ┌───────────── received band ───────────────┐
    capture ─► input ring ─► worker ─► output ring ─► play ◄────┘

The input ring keeps the last seconds of input; each reader keeps its own place. The output ring holds the worker's
output. `play` reads the output ring; at an underrun it goes on with the input ring, at the same delay,
and returns when the output ring is filled to its low-water mark again: at the same latency, without a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types  # type: ignore[attr-defined]  # carray is missing from its stubs

from ..dsp.windows import FloatArray
from . import layout, learning, ring
from .compiled import drop_stale
from .layout import (
    CAPTURE_CALLS,
    CAPTURE_XRUNS,
    CHANNELS_IN,
    CHANNELS_OUT,
    ENHANCED,
    FADE,
    FLOWING,
    HAS_SEMAPHORE,
    HEAD,
    HEARD,
    HELD,
    HOP,
    INPUT_SIZE,
    INPUT_UNDERRUNS,
    LAST,
    LATE,
    LEARNING,
    LEVELS,
    LOW_WATER,
    MADE,
    MISSED,
    MIX,
    MORE_SPARE,
    MOST_SPARE,
    MUTED,
    NONE,
    OUTPUT_SIZE,
    PEAK_IN,
    PEAK_OUT,
    PLACE,
    PLAIN,
    PLAY_CALLS,
    PLAY_XRUNS,
    PLAYED,
    RATE,
    RESUMED,
    SEMAPHORE,
    SHIFT,
    SLACK,
    SOURCE,
    SPARE,
    START,
    TAIL,
    TAKEN,
    TRIMMED,
    UNSETTLED,
    WAITED,
    WORKER_UNDERRUNS,
)
from .learning import learn
from .ring import IntArray, load_acquire, store_release

drop_stale(__file__, layout.__file__, learning.__file__, ring.__file__)

METER_S = 0.3  # in which a level meter falls to a third
ULONG = types.uintc if np.dtype("L").itemsize == 4 else types.uint64
SIGNATURE = types.int32(types.voidptr, types.voidptr, ULONG, types.voidptr, ULONG, types.voidptr)
CONTINUE = 0
INPUT_OVERFLOW, OUTPUT_UNDERFLOW = 2, 4


if HAS_SEMAPHORE:
    _post: Any = types.ExternalFunction("sem_post", types.int32(types.intp))

    @njit(nogil=True, cache=True)
    def _post_hop(head: IntArray) -> None:
        """Post the semaphore in `head`."""
        _post(head[SEMAPHORE:].ctypes.data)

else:

    @njit(nogil=True, cache=True)
    def _post_hop(head: IntArray) -> None:
        """Do nothing: `head` has no semaphore here."""


@njit(nogil=True, cache=True)
def capture(head: IntArray, levels: FloatArray, input_ring: FloatArray, block: FloatArray) -> None:
    """Append `block`, (samples, channels), averaged to one channel, to `input_ring`, (input_size,).

    NaN becomes 0, the rest is clipped to [-1, 1]. `head` and `levels` as in `layout`. The capturing thread's.
    """
    heard, size = head[HEARD], head[INPUT_SIZE]
    channels = block.shape[1]
    peak = levels[PEAK_IN] * np.float32(1 - len(block) / (METER_S * head[RATE] + len(block)))
    for i in range(len(block)):
        x = np.float32(0)
        for c in range(channels):
            x += block[i, c]
        x /= channels
        x = min(max(x, np.float32(-1)), np.float32(1)) if x == x else np.float32(0)
        input_ring[(heard + i) % size] = x
        peak = max(peak, abs(x))
    levels[PEAK_IN] = peak
    store_release(head, HEARD, heard + len(block))
    if heard + len(block) - load_acquire(head, TAKEN) >= head[HOP]:
        _post_hop(head)
    head[CAPTURE_CALLS] += 1


@njit(nogil=True, cache=True)
def _begin(head: IntArray, levels: FloatArray, made: int, n: int) -> int:
    """Decide whether this block of `n` samples comes from the output ring; returns the place in it, or -1 if not.

    made: samples that the worker has ever written to it. `head` and `levels` as in `layout`.
    """
    at = head[PLAYED]
    if not head[FLOWING]:
        at = max(at, head[PLACE] - head[SHIFT])  # what was played from the input ring is not played again
        head[UNSETTLED] = max(0, head[UNSETTLED] - n)
        if head[UNSETTLED] or made - at - n < (head[START] if head[HELD] else head[LOW_WATER]):
            return -1
        if head[HELD]:
            at = made - n - head[START]
            head[SPARE], head[LEARNING] = made, head[RATE]
            head[MOST_SPARE] = head[MORE_SPARE] = 0
        head[FLOWING], head[HELD] = 1, 0
        head[RESUMED] += 1
        levels[MIX], levels[TAIL] = 0, np.nan  # the tail is to be set by the first sample
    over = 0
    if made - at - n - head[START] > head[SLACK]:  # the output stood still, the ring may have overflown: start anew
        store_release(head, PLAYED, made)
        head[PLACE] = made + head[SHIFT]
        head[TRIMMED] += made - at
        head[FLOWING], head[HELD] = 0, 1
        return -1
    if head[LEARNING]:
        over = learn(head, made - at - n, n)
    if over:
        at += over
        head[TRIMMED] += over
        levels[TAIL] = np.nan
    return at


@njit(nogil=True, cache=True)
def _worker_is_late(head: IntArray, heard: int, n: int) -> bool:
    """Whether the worker is late with a hop; `heard`: samples ever captured, `n`: samples of this block.

    It is late where it has taken several hops too few. Where it is behind by one hop alone, it counts as late for at
    most `LATE_MS`: after that, the input is what is late. `head` as in `layout`.
    """
    owed = heard - head[TAKEN]
    if owed >= head[HOP] + head[START] - head[LOW_WATER]:
        head[WAITED] = 0
        return True
    head[WAITED] += n
    return owed >= head[HOP] and head[WAITED] <= head[LATE]


@njit(nogil=True, cache=True)
def play(head: IntArray, levels: FloatArray, input_ring: FloatArray, output_ring: FloatArray, out: FloatArray) -> None:
    """Fill `out`, (samples, channels), with the samples that are due. The playing thread's; never waits.

    They come from `output_ring`, (output_size,), or where the worker is late, from `input_ring`, (input_size,). Where
    the input itself is late, the place in the input ring stays, so that the same samples come later and the output
    ring fills to its low-water mark again. `head` and `levels` as in `layout`.
    """
    n = len(out)
    heard, made = load_acquire(head, HEARD), load_acquire(head, MADE)
    late = _worker_is_late(head, heard, n)
    at = _begin(head, levels, made, n)
    count = min(n, made - at) if at >= 0 else 0
    place = at + head[SHIFT] if at >= 0 else head[PLACE]
    oldest = heard - head[INPUT_SIZE] // 2
    mix, tail, last = levels[MIX], levels[TAIL], levels[LAST]
    slope = np.float32(1 / head[FADE])
    peak = levels[PEAK_OUT] * np.float32(1 - n / (METER_S * head[RATE] + n))
    for i in range(n):
        source = ENHANCED if i < count else PLAIN if late else NONE
        if source != head[SOURCE]:
            head[SOURCE] = source
            tail = np.nan
        plain = before = np.float32(0)
        if oldest < place < heard and not head[MUTED]:
            plain, before = input_ring[place % head[INPUT_SIZE]], input_ring[(place - 1) % head[INPUT_SIZE]]
        if source == ENHANCED:
            before += mix * (output_ring[(at + i - 1) % head[OUTPUT_SIZE]] - before)
            mix = min(np.float32(1), mix + slope)
            wet = output_ring[(at + i) % head[OUTPUT_SIZE]]
            x = plain + mix * (wet - plain) if mix < 1 else wet
            place += 1
        else:
            x = plain if source == PLAIN else np.float32(0)
            place += source == PLAIN
            head[HELD] |= source == NONE
        if tail != tail:  # another source, or a step: go on from the last sample as this source went from its last
            tail = last - (before if source != NONE else np.float32(0))
        x += tail
        tail -= tail * slope
        last = min(max(x, np.float32(-1)), np.float32(1))
        out[i, :] = last
        peak = max(peak, abs(last))
    levels[MIX], levels[TAIL], levels[LAST], levels[PEAK_OUT] = mix, tail, last, peak
    head[PLACE] = place
    if at >= 0:
        store_release(head, PLAYED, at + count)
        if count < n:
            head[FLOWING] = 0
            head[WORKER_UNDERRUNS if late else INPUT_UNDERRUNS] += 1
            head[MISSED] += n - count
    if head[FLOWING]:
        head[WAITED] = 0
    head[PLAY_CALLS] += 1


@cfunc(SIGNATURE, cache=True)
def capture_callback(source: Any, _sink: Any, frames: Any, _time: Any, flags: Any, user: Any) -> int:
    """Device to input ring."""
    head = carray(user, (HEAD,), np.int64)
    input_size, output_size = head[INPUT_SIZE], head[OUTPUT_SIZE]
    cells = carray(user, (2 * HEAD + LEVELS + input_size + output_size,), np.float32)
    levels = cells[2 * HEAD : 2 * HEAD + LEVELS]
    input_ring = cells[2 * HEAD + LEVELS : 2 * HEAD + LEVELS + input_size]
    capture(head, levels, input_ring, carray(source, (np.int64(frames), head[CHANNELS_IN]), np.float32))
    if flags & INPUT_OVERFLOW:
        head[CAPTURE_XRUNS] += 1
    return CONTINUE


@cfunc(SIGNATURE, cache=True)
def play_callback(_source: Any, sink: Any, frames: Any, _time: Any, flags: Any, user: Any) -> int:
    """Output ring, or input ring, to device."""
    head = carray(user, (HEAD,), np.int64)
    input_size, output_size = head[INPUT_SIZE], head[OUTPUT_SIZE]
    start = 2 * HEAD + LEVELS
    cells = carray(user, (start + input_size + output_size,), np.float32)
    levels, input_ring = cells[2 * HEAD : start], cells[start : start + input_size]
    output_ring = cells[start + input_size : start + input_size + output_size]
    play(head, levels, input_ring, output_ring, carray(sink, (np.int64(frames), head[CHANNELS_OUT]), np.float32))
    if flags & OUTPUT_UNDERFLOW and not head[UNSETTLED]:  # before that nothing flows: a start is no loss
        head[PLAY_XRUNS] += 1
    return CONTINUE
