"""What two audio threads and a worker share in a live session, and all that the audio threads do with it.

                          ┌──────────────────────────────────────────────┐
    capture ─► input ring ┴► worker ─► output ring ─► play               └─► play (the plain voice)

The input ring keeps the last seconds as they were heard; nobody empties it, each reader knows its place. The output
ring holds what the worker made of it. `play` takes from the output ring; where that has run dry it goes on with the
plain voice from the input ring, delayed alike, and comes back when the output ring is filled to its low-water mark
again: at the same latency, without a step.

Everything lies in one block of memory, so that a native callback needs one pointer. On Linux a semaphore lies there
too: `capture` posts it where a hop is there, and the worker sleeps on it. A device that stood still comes back with a
burst of blocks, as every driver does that catches up with its clock; a worker that looks by the clock sleeps through
it, one that is woken keeps up.
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types  # type: ignore[attr-defined]  # carray is missing from its stubs

from ..dsp.windows import FloatArray
from ..errors import InvalidSetting
from .ring import IntArray, load_acquire, store_release, write

INPUT_S = 2.0
OUTPUT_S = 0.5
SLACK_MS = 20  # by how much the output ring may be over what it started with before it is trimmed
UNSETTLED_MS = 200  # after its start a device takes blocks as it likes
FADE_MS = 5  # the generated band comes back over this time, and a step is spread over it
PATIENCE_MS = 30  # of plain voice while a worker that seems late may only have been seen at a bad moment
LEARNT_PARTS = 4  # of the second in which the output ring learns how little it needs
METER_S = 0.3  # in which a level meter falls to a third

ULONG = types.uintc if np.dtype("L").itemsize == 4 else types.uint64
SIGNATURE = types.int32(types.voidptr, types.voidptr, ULONG, types.voidptr, ULONG, types.voidptr)
CONTINUE = 0
INPUT_OVERFLOW, OUTPUT_UNDERFLOW = 2, 4

# places in the head, int64; each thread writes to cache lines of its own
HEARD = 0  # samples ever captured; capture's
MADE, PLAYED = 8, 16  # samples ever written to and taken from the output ring, laid out as a Ring's marks
TAKEN, SHIFT, MUTED = (
    24,
    25,
    26,
)  # the worker's: samples done with; place in the input ring of sample 0 of the output ring
INPUT_SIZE, OUTPUT_SIZE, LOW_WATER, SLACK, FADE, HOP, RATE, PATIENCE = range(32, 40)  # fixed before the start
CAPTURE_CALLS, CAPTURE_XRUNS = 40, 41  # capture's
PLAY_CALLS, PLAY_XRUNS, FLOWING, PLACE = 48, 49, 50, 51  # play's; PLACE is in the input ring, of the next plain sample
WORKER_UNDERRUNS, INPUT_UNDERRUNS, MISSED, TRIMMED, SPARE, RESUMED = range(52, 58)
WAITED, HELD, LEARNING, UNSETTLED = range(58, 62)
VOICE = 62  # which is heard now
MOST_SPARE, MORE_SPARE = 63, 64  # of the parts of the learning second: the most, and the second most
START, CHANNELS_IN, CHANNELS_OUT = 72, 73, 74  # fixed when a device is opened
SEMAPHORE = 80  # the semaphore
HEAD = 88

NONE, PLAIN, ENHANCED = 0, 1, 2  # voices

HAS_SEMAPHORE = sys.platform == "linux"  # elsewhere there are no semaphores without a name
NAP_S, NAP_SHARE = 0.0005, 0.3  # without a semaphore: at least, and of the time until a hop is there

# places among the levels, float32
LAST, TAIL, MIX, PEAK_IN, PEAK_OUT = 0, 1, 2, 8, 9
LEVELS = 16


if HAS_SEMAPHORE:
    _post: Any = types.ExternalFunction("sem_post", types.int32(types.intp))

    @njit(nogil=True, cache=True)
    def _post_hop(head: IntArray) -> None:
        _post(head[SEMAPHORE:].ctypes.data)

else:

    @njit(nogil=True, cache=True)
    def _post_hop(head: IntArray) -> None:
        pass


@njit(nogil=True, cache=True)
def capture(head: IntArray, levels: FloatArray, input_ring: FloatArray, block: FloatArray) -> None:
    """Append a block (samples, channels), mixed to one, to the input ring. The capturing thread's."""
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
    """Decide whether this block comes from the output ring; returns the place in it, or -1 for the plain voice."""
    at = head[PLAYED]
    if not head[FLOWING]:
        at = max(at, head[PLACE] - head[SHIFT])  # what the plain voice has said already is not said again
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
        over = _learn(head, made - at - n, n)
    if over:
        at += over
        head[TRIMMED] += over
        levels[TAIL] = np.nan
    return at


@njit(nogil=True, cache=True)
def _learn(head: IntArray, spare: int, n: int) -> int:
    """Note what a block leaves in the output ring; returns, when the second is over, how much of that is never needed.

    The least of each part of the second counts, and of those the second most: a device has its habits in every part,
    while a machine that stood still did so in one or two and would be paid for as long as the session lasts.
    """
    part = head[RATE] // LEARNT_PARTS
    before = (head[LEARNING] - 1) // part
    head[LEARNING] = max(0, head[LEARNING] - n)
    head[SPARE] = min(head[SPARE], spare)
    if head[LEARNING] and (head[LEARNING] - 1) // part == before:
        return 0
    if head[SPARE] > head[MOST_SPARE]:
        head[MORE_SPARE], head[MOST_SPARE] = head[MOST_SPARE], head[SPARE]
    else:
        head[MORE_SPARE] = max(head[MORE_SPARE], head[SPARE])
    head[SPARE] = spare
    over = 0 if head[LEARNING] else max(0, head[MORE_SPARE] - head[LOW_WATER])
    if over > spare:  # just now it has less: at the next block
        head[LEARNING], over = 1, 0
    return over


@njit(nogil=True, cache=True)
def _worker_is_late(head: IntArray, heard: int, n: int) -> bool:
    """Whether the worker owes a hop: surely where it owes several, and else for as long as patience lasts."""
    owed = heard - head[TAKEN]
    if owed >= head[HOP] + head[START] - head[LOW_WATER]:
        head[WAITED] = 0
        return True
    head[WAITED] += n
    return owed >= head[HOP] and head[WAITED] <= head[PATIENCE]


@njit(nogil=True, cache=True)
def play(head: IntArray, levels: FloatArray, input_ring: FloatArray, output_ring: FloatArray, out: FloatArray) -> None:
    """Fill a block (samples, channels) with what is due. The playing thread's; never waits.

    The plain voice goes on only where the worker is late; where the input is, its place is kept, so that what comes
    later is said later and the output ring fills to its low-water mark again.
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
        voice = ENHANCED if i < count else PLAIN if late else NONE
        if voice != head[VOICE]:
            head[VOICE] = voice
            tail = np.nan
        plain = before = np.float32(0)
        if oldest < place < heard and not head[MUTED]:
            plain, before = input_ring[place % head[INPUT_SIZE]], input_ring[(place - 1) % head[INPUT_SIZE]]
        if voice == ENHANCED:
            before += mix * (output_ring[(at + i - 1) % head[OUTPUT_SIZE]] - before)
            mix = min(np.float32(1), mix + slope)
            wet = output_ring[(at + i) % head[OUTPUT_SIZE]]
            x = plain + mix * (wet - plain) if mix < 1 else wet
            place += 1
        else:
            x = plain if voice == PLAIN else np.float32(0)
            place += voice == PLAIN
            head[HELD] |= voice == NONE
        if tail != tail:  # another voice, or a leap: go on from the last sample as this voice went from its last
            tail = last - (before if voice != NONE else np.float32(0))
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


# The two PortAudio callbacks. They stand in this file because numba's cache of a function looks only at its own file,
# and the layout above is compiled into them.
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


@njit(nogil=True, cache=True)
def _copy(input_ring: FloatArray, size: int, place: int, out: FloatArray) -> None:
    for i in range(len(out)):
        out[i] = input_ring[(place + i) % size]


class SharedBlock:
    """The shared memory of one live session at `rate` Hz; `hop` is the worker's block, all sizes are in samples.

    The output ring starts with more than it needs; after a second of flow as much is left out as makes `low_water` the
    least that remained in it, by the devices' habits (`_learn`). So the latency is what these demand and no more, and
    constant from then.
    `burst` is how much a device may take at once.

    `capture` and `play` are called by one thread each (native callbacks take `address`), the rest by the worker.
    """

    def __init__(self, rate: int, hop: int, low_water: int, latency: int, burst: int = 0) -> None:
        if min(rate, hop) < 1 or low_water < 0:
            raise InvalidSetting(
                f"expected a positive rate and hop and a low-water mark, got {rate}, {hop} and {low_water}"
            )
        input_size, output_size = int(INPUT_S * rate), int(OUTPUT_S * rate)
        levels_at = 2 * HEAD
        floats = levels_at + LEVELS + input_size + output_size
        self.memory = np.zeros(-(-floats // 2), np.int64)
        self.head: IntArray = self.memory[:HEAD]
        cells: FloatArray = self.memory.view(np.float32)
        self.levels = cells[levels_at : levels_at + LEVELS]
        self.input_ring = cells[levels_at + LEVELS :][:input_size]
        self.output_ring = cells[levels_at + LEVELS + input_size :][:output_size]
        self.marks: IntArray = self.head[MADE : MADE + 16]
        self.rate, self.hop, self.latency = rate, hop, latency
        fixed = {
            INPUT_SIZE: input_size,
            OUTPUT_SIZE: output_size,
            LOW_WATER: low_water,
            SLACK: SLACK_MS * rate // 1000,
            FADE: FADE_MS * rate // 1000,
            HOP: hop,
            RATE: rate,
            SHIFT: -latency,
            PLACE: -latency,
            PATIENCE: PATIENCE_MS * rate // 1000,
            START: low_water + hop + burst,
            UNSETTLED: UNSETTLED_MS * rate // 1000,
            HELD: 1,
        }
        for place, value in fixed.items():
            self.head[place] = value
        self._libc = ctypes.CDLL(None) if HAS_SEMAPHORE else None
        if self._libc is not None:
            self._libc.sem_init(ctypes.c_void_p(self.semaphore), 0, 0)

    @property
    def address(self) -> int:
        """Where the memory lies, for a native callback; the SharedBlock must outlive it."""
        return int(self.memory.ctypes.data)

    @property
    def semaphore(self) -> int:
        """Where the semaphore lies that is posted where a hop is there; 0 where there is none."""
        return int(self.head[SEMAPHORE:].ctypes.data) if HAS_SEMAPHORE else 0

    def wait(self) -> None:
        """Sleep until a hop may be there, or somebody calls `wake`; the worker's."""
        if self._libc is not None:
            self._libc.sem_wait(ctypes.c_void_p(self.semaphore))
        else:
            time.sleep(max(NAP_S, NAP_SHARE * (self.hop - self.waiting) / self.rate))

    def wake(self) -> None:
        """End a `wait`, or the next one; any thread."""
        if self._libc is not None:
            self._libc.sem_post(ctypes.c_void_p(self.semaphore))

    def capture(self, block: FloatArray) -> None:
        """Append a block (samples, channels) to the input ring."""
        capture(self.head, self.levels, self.input_ring, block)

    def play(self, out: FloatArray) -> None:
        """Fill a block (samples, channels)."""
        play(self.head, self.levels, self.input_ring, self.output_ring, out)

    def settle(self) -> None:
        """Let freshly opened devices settle before the voice flows, and learn their habits anew."""
        self.head[UNSETTLED] = UNSETTLED_MS * self.rate // 1000
        self.head[HELD], self.head[FLOWING] = 1, 0

    @property
    def waiting(self) -> int:
        """Samples heard that the worker has not taken yet."""
        return int(self.head[HEARD] - self.head[TAKEN])

    @property
    def ready(self) -> int:
        """Samples in the output ring."""
        return int(self.head[MADE] - self.head[PLAYED])

    def peek(self, out: FloatArray, back: int = 0) -> None:
        """Copy len(out) samples of the input ring, from `back` samples before the worker's place on."""
        _copy(self.input_ring, len(self.input_ring), int(self.head[TAKEN]) - back, out)

    def put(self, block: FloatArray, taken: int) -> int:
        """Append what the worker made and say how many samples of the input it is done with; returns what fitted."""
        done = write(self.output_ring, self.marks, block)
        self.head[SHIFT] = self.head[TAKEN] + taken - self.latency - self.head[MADE]
        store(self.head, TAKEN, int(self.head[TAKEN]) + taken)
        return int(done)


@njit(nogil=True, cache=True)
def store(head: IntArray, place: int, value: int) -> None:
    """Publish one number of the head."""
    store_release(head, place, value)
