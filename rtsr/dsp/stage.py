"""What all stages of the path share: rows that are active or not, and memory that can be cleared and moved by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Plain = tuple[Any, ...]  # a NamedTuple on its way to a kernel: numba needs 1 us more to see what a NamedTuple holds


class Stage:
    """One step of the path for a batch of up to `rows` streams. Used by one thread; allocates nothing after it is made.

    Each stage has a `push` that takes arrays whose first axis is the row and `active`, (n,) with n up to `rows`, or
    None for all rows. It writes the active ones of the first n rows of an array that belongs to the stage and is valid
    until the next call. Rows that are not active keep their memory and their last result.
    """

    def __init__(self, rows: int) -> None:
        self.all_rows = np.ones(rows, np.bool_)

    @property
    def memory(self) -> tuple[NDArray[Any], ...]:
        """All that rows remember from hop to hop; the first axis of each array is the row."""
        return ()

    def clear(self, row: int) -> None:
        """Make a row that of a new stream."""
        for whole in self.memory:
            whole[row] = 0

    def move(self, source: int, target: int) -> None:
        """Copy what one row remembers over another."""
        for whole in self.memory:
            whole[target] = whole[source]
