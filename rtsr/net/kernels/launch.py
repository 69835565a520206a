"""Launches of kernels: each says what it moves and computes, so that a tick can be counted without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LEAST = 16  # rows, columns and inner size of a matrix product's tile
EXACT = "tf32x3"  # a product of float32 as three on tensor cores: errors of 2^-22 of each term


@dataclass(frozen=True)
class Launch:
    """One launch. Bytes cross memory once: what a kernel reads again is in a cache."""

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    constants: dict[str, Any]
    moved: tuple[Tensor, ...]  # views of just that which is read or written; what is both is here twice
    operations: float

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return sum(t.numel() * t.element_size() for t in self.moved)


_watcher: ContextVar[Callable[[Launch], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Callable[[Launch], None]) -> Iterator[None]:
    """Give `watcher` every launch of this thread in place of running it."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def launch(
    kernel: Any,
    programs: int,
    arguments: tuple[Any, ...],
    *,
    moved: tuple[Tensor, ...],
    operations: float,
    **constants: Any,
) -> None:
    """Run so many programs of a kernel on the current stream; `arguments` begin with a tensor of its device."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(Launch(kernel, programs, arguments, constants, moved, operations))
        return
    device = arguments[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel[(programs,)](*arguments, **constants, enable_fp_fusion=True)


def tile(size: int) -> int:
    """Return the least power of two that holds `size`, as tiles of matrix products have to be."""
    return max(LEAST, 1 << (size - 1).bit_length())


def programs(rows: int, block: int) -> int:
    """Return how many blocks of rows there are."""
    return -(-rows // block)


def rows_a_program(rows: int) -> int:
    """Return how many rows a program of a matrix product takes: fewer where programs would be too few for a card."""
    return next((block for block, most in ((16, 2048), (32, 8192)) if rows <= most), 64)


def warps(rows: int, columns: int) -> int:
    """Return how many warps a tile of so many rows and columns takes, so that its sums fit their registers."""
    return 8 if rows * columns > 4096 else 4
