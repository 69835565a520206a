"""The two PortAudio callbacks, compiled: they move samples between a device and a wire and never see the interpreter.

Each gets the wire's address as its user data; the wire's head says how many channels the devices have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, types

from . import wire as w

ULONG = types.uintc if np.dtype("L").itemsize == 4 else types.uint64
SIGNATURE = types.int32(types.voidptr, types.voidptr, ULONG, types.voidptr, ULONG, types.voidptr)
CONTINUE = 0
INPUT_OVERFLOW, OUTPUT_UNDERFLOW = 2, 4


@cfunc(SIGNATURE, cache=True)
def capture_callback(source: Any, _sink: Any, frames: Any, _time: Any, flags: Any, user: Any) -> int:
    """Device to tape."""
    head = carray(user, (w.HEAD,), np.int64)
    tape_size, ring_size = head[w.TAPE_SIZE], head[w.RING_SIZE]
    cells = carray(user, (2 * w.HEAD + w.LEVELS + tape_size + ring_size,), np.float32)
    levels = cells[2 * w.HEAD : 2 * w.HEAD + w.LEVELS]
    tape = cells[2 * w.HEAD + w.LEVELS : 2 * w.HEAD + w.LEVELS + tape_size]
    w.capture(head, levels, tape, carray(source, (np.int64(frames), head[w.CHANNELS_IN]), np.float32))
    if flags & INPUT_OVERFLOW:
        head[w.CAPTURE_XRUNS] += 1
    return CONTINUE


@cfunc(SIGNATURE, cache=True)
def play_callback(_source: Any, sink: Any, frames: Any, _time: Any, flags: Any, user: Any) -> int:
    """Ring, or tape, to device."""
    head = carray(user, (w.HEAD,), np.int64)
    tape_size, ring_size = head[w.TAPE_SIZE], head[w.RING_SIZE]
    start = 2 * w.HEAD + w.LEVELS
    cells = carray(user, (start + tape_size + ring_size,), np.float32)
    levels, tape = cells[2 * w.HEAD : start], cells[start : start + tape_size]
    ring = cells[start + tape_size : start + tape_size + ring_size]
    w.play(head, levels, tape, ring, carray(sink, (np.int64(frames), head[w.CHANNELS_OUT]), np.float32))
    if flags & OUTPUT_UNDERFLOW:
        head[w.PLAY_XRUNS] += 1
    return CONTINUE
