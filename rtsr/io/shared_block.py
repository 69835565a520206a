"""The block of memory that two audio threads and a worker share in a live session, as the worker and others see it."""

from __future__ import annotations

import ctypes
import time

import numpy as np
from numba import njit

from ..dsp.windows import FloatArray
from ..errors import InvalidSetting
from . import ring
from .callbacks import capture, play
from .compiled import drop_stale
from .layout import (
    FADE,
    FLOWING,
    HAS_SEMAPHORE,
    HEAD,
    HEARD,
    HELD,
    HOP,
    INPUT_SIZE,
    LATE,
    LEVELS,
    LOW_WATER,
    MADE,
    OUTPUT_SIZE,
    PLACE,
    PLAYED,
    RATE,
    SEMAPHORE,
    SHIFT,
    SLACK,
    START,
    TAKEN,
    UNSETTLED,
)
from .ring import IntArray, store_release, write

drop_stale(__file__, ring.__file__)

INPUT_S = 2.0
OUTPUT_S = 0.5
SLACK_MS = 20  # by how much the output ring may be over what it started with before it is trimmed
UNSETTLED_MS = 200  # after its start a device takes blocks as it likes
FADE_MS = 5  # the generated band comes back over this time, and a step is spread over it
LATE_MS = 30  # for which a worker that is behind by one hop counts as late
NAP_S, NAP_SHARE = 0.0005, 0.3  # without a semaphore: at least, and of the time until a hop is there


@njit(nogil=True, cache=True)
def _copy(input_ring: FloatArray, size: int, place: int, out: FloatArray) -> None:
    """Copy len(out) samples of `input_ring`, (size,), from `place` on to `out`, (samples,)."""
    for i in range(len(out)):
        out[i] = input_ring[(place + i) % size]


class SharedBlock:
    """The shared memory of one live session at `rate` Hz; `hop` is the worker's block, all sizes are in samples.

    The output ring starts with more than it needs; after a second of flow as much is left out as makes `low_water` the
    least that remained in it, by the devices' habits (`learning`). So the latency is what these demand and no more, and
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
            LATE: LATE_MS * rate // 1000,
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
        """Wait for freshly opened devices to settle before the output ring is used, and learn its fill anew."""
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
    """Publish one number of the head; `head` as in `layout`."""
    store_release(head, place, value)
