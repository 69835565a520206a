"""A lock-free ring of samples for exactly one writing and one reading thread.

The memory is two plain arrays, so that a native callback can use the same ring: `samples`, and `marks`, in which
the count of samples ever written and the count ever read stand a cache line apart. A count is published with a
release store and seen with an acquire load, so that the samples are there before the count says so, on any CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils
from numpy.typing import NDArray

from ..dsp.windows import FloatArray
from ..errors import InvalidSetting

WRITTEN, READ = 0, 8  # places in `marks`: 64 bytes apart
MARKS = 16
ALIGN = 8

IntArray = NDArray[np.int64]
intrinsic: Any = extending.intrinsic  # its type hints say that what it decorates never returns


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array_type = signature.args[0]
    array = context.make_array(array_type)(context, builder, args[0])
    return cgutils.get_item_pointer(context, builder, array_type, array, [args[1]])


@intrinsic
def load_acquire(typing_context: Any, marks: Any, index: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, args), "acquire", ALIGN)

    return types.int64(marks, types.intp), emit


@intrinsic
def store_release(typing_context: Any, marks: Any, index: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _pointer(context, builder, signature, args), "release", ALIGN)
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(marks, types.intp, types.int64), emit


@njit(nogil=True, cache=True)
def write(samples: FloatArray, marks: IntArray, block: FloatArray) -> int:
    """Append as much of `block`, (n,), to `samples`, (capacity,), as fits; returns how much. The writing thread's.

    marks (MARKS,): the counts of samples ever written and ever read.
    """
    size = len(samples)
    written = marks[WRITTEN]
    count = min(len(block), size - (written - load_acquire(marks, READ)))
    at = written % size
    first = min(count, size - at)
    samples[at : at + first] = block[:first]
    samples[: count - first] = block[first:count]
    store_release(marks, WRITTEN, written + count)
    return count


@njit(nogil=True, cache=True)
def read(samples: FloatArray, marks: IntArray, out: FloatArray) -> int:
    """Take as much as there is in `samples`, (capacity,), and `out`, (n,), holds; returns how much.

    marks (MARKS,): the counts of samples ever written and ever read. The reading thread's.
    """
    size = len(samples)
    taken = marks[READ]
    count = min(len(out), load_acquire(marks, WRITTEN) - taken)
    at = taken % size
    first = min(count, size - at)
    out[:first] = samples[at : at + first]
    out[first:count] = samples[: count - first]
    store_release(marks, READ, taken + count)
    return count


class Ring:
    """At most `capacity` samples between two threads; never blocks, never allocates, never grows."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InvalidSetting(f"expected room for at least one sample, got {capacity}")
        self.samples = np.zeros(capacity, np.float32)
        self.marks = np.zeros(MARKS, np.int64)

    def __len__(self) -> int:
        """Samples that are there now; the other thread may be changing it."""
        return int(self.marks[WRITTEN] - self.marks[READ])

    @property
    def room(self) -> int:
        """Samples that fit now."""
        return len(self.samples) - len(self)

    def write(self, block: FloatArray) -> int:
        """Append as much of a float32 block as fits; returns how much. The writing thread's."""
        return write(self.samples, self.marks, block)

    def read(self, out: FloatArray) -> int:
        """Take as much as there is and `out` holds; returns how much. The reading thread's."""
        return read(self.samples, self.marks, out)

    def clear(self) -> None:
        """Empty the ring; only while neither thread uses it."""
        self.marks[:] = 0
