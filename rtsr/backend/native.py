"""The network in C++ (native/): the fastest on a CPU, and the one that leaves the interpreter alone while it runs."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_void_p
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dsp.windows import FloatArray
from ..errors import BackendFailed, CorruptWeights, InvalidAudio, InvalidSetting
from ..net.weights import Weights
from .base import BoolArray, Step

VARIABLE = "RTSR_LIBRARY"
NAME = "librtsr.so"
VERSION = "0.1."  # the library's functions may change with the second number
PRECISIONS = ("float32", "bf16", "int8")  # in the order of rtsr_precision
NAMES = {"native": "bf16", "native-int8": "int8", "native-float32": "float32"}  # and how each keeps its weights

OK, MISSING, CORRUPT, INVALID = range(4)
KINDS = {MISSING: CorruptWeights, CORRUPT: CorruptWeights, INVALID: InvalidSetting}


def library() -> Path | None:
    """Return where the library lies: what RTSR_LIBRARY names, beside this file, or built in the checkout; or None."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    here = Path(__file__).resolve()
    places = (here.with_name(NAME), here.parents[2] / "build" / "native" / NAME)
    return next((place for place in places if place.is_file()), None)


def _open_library(path: Path) -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL(str(path))
        lib.rtsr_version.restype = lib.rtsr_last_error.restype = c_char_p
        lib.rtsr_model_open.argtypes = [c_char_p, c_int, POINTER(c_void_p)]
        lib.rtsr_model_close.argtypes = lib.rtsr_rows_free.argtypes = [c_void_p]
        lib.rtsr_rows_new.argtypes = [c_void_p, c_int32, POINTER(c_void_p)]
        lib.rtsr_step_together.argtypes = [POINTER(_Frames), c_int32]
        lib.rtsr_row_read.argtypes = lib.rtsr_row_write.argtypes = [c_void_p, c_int32, c_void_p]
        for nothing in ("model_close", "rows_free", "step_together", "row_read", "row_write"):
            getattr(lib, f"rtsr_{nothing}").restype = None
        version = lib.rtsr_version().decode()
    except (OSError, AttributeError) as error:
        raise BackendFailed(f"{path} cannot be used: {error}") from error
    if not version.startswith(VERSION):
        raise BackendFailed(f"expected librtsr {VERSION}x, got {version} in {path}: build native/ again")
    return lib


class _Frames(ctypes.Structure):
    """rtsr_frames of rtsr.h: the arguments of a step."""

    _fields_ = [
        ("state", c_void_p),
        ("count", c_int32),
        *((name, c_void_p) for name in ("out", "spectrum", "cutoff", "active")),
    ]


@cache
def _array_of_frames(count: int) -> type[ctypes.Array[_Frames]]:
    """Return the type, which ctypes alone does not keep: it would be made anew with each step, and be garbage then."""
    return _Frames * count


class NativeState:
    """The state of some rows, freed with this object."""

    def __init__(self, lib: ctypes.CDLL, handle: c_void_p, rows: int) -> None:
        self.handle, self.rows = handle, rows
        self._free = weakref.finalize(self, lib.rtsr_rows_free, handle)


class NativeBackend:
    """Runs the network of librtsr, on the calling thread and without the interpreter lock.

    `native` keeps the weights in bfloat16, which is half the memory to read in a step, `native-int8` in 8 bits, which
    is a quarter, `native-float32` as they are.
    """

    def __init__(self, weights: Weights, path: Path, name: str = "native") -> None:
        if name not in NAMES:
            raise InvalidSetting(f"expected {', '.join(list(NAMES)[:-1])} or {list(NAMES)[-1]}, got {name!r}")
        self.name, precision = name, NAMES[name]
        self.spec, self.model = weights.spec, weights.name
        self._shapes = weights.state_shapes  # in the order of the path, which is the library's
        self.lib = _open_library(path)
        self.handle = c_void_p()
        opened = self.lib.rtsr_model_open(os.fsencode(weights.path), PRECISIONS.index(precision), byref(self.handle))
        self.refuse(opened)
        self._close = weakref.finalize(self, self.lib.rtsr_model_close, self.handle)

    def refuse(self, status: int) -> None:
        """Raise what a status other than OK means, with the library's words."""
        if status != OK:
            kind = KINDS.get(status, BackendFailed)
            raise kind(f"{self.model}: {self.lib.rtsr_last_error().decode(errors='replace')}")

    def new_state(self, rows: int = 1) -> NativeState:
        """Return the memory of `rows` streams that have heard nothing yet."""
        handle = c_void_p()
        self.refuse(self.lib.rtsr_rows_new(self.handle, rows, byref(handle)))
        return NativeState(self.lib, handle, rows)

    def step(
        self,
        spectrum: FloatArray,
        cutoff: FloatArray,
        state: NativeState,
        out: FloatArray,
        active: BoolArray | None = None,
    ) -> None:
        """Advance the active rows by one frame; `out` lies in one piece. Raises `InvalidAudio` for other shapes."""
        self.step_together([Step(spectrum, cutoff, state, out, active)])

    def step_together(self, steps: Sequence[Step]) -> None:
        """Do steps of different states, which read the weights once; each gives the bits that it gives alone.

        Raises what `step` raises, and has advanced no row then.
        """
        frames = _array_of_frames(len(steps))(*[self._frames(step) for step in steps])
        self.lib.rtsr_step_together(frames, len(steps))

    def _frames(self, step: Step) -> _Frames:
        rows, spec = len(step.out), self.spec
        if rows > step.state.rows:
            raise InvalidAudio(f"expected at most {step.state.rows} rows, got {rows}")
        return _Frames(
            step.state.handle,
            rows,
            _address(step.out, (rows, spec.bands)),
            _address(step.spectrum, (rows, spec.bins_in, 2)),
            _address(step.cutoff, (rows,)),
            None if step.active is None else _address(step.active, (rows,), np.bool_),
        )

    def read_row(self, state: NativeState, row: int) -> dict[str, FloatArray]:
        """Return copies of one row's state, by the names and in the shapes of the manifest's `states`."""
        whole = np.empty(self.lib.rtsr_row_size(state.handle), np.float32)
        self.lib.rtsr_row_read(state.handle, range(state.rows)[row], _address(whole, whole.shape))
        ends = np.cumsum([prod(shape) for shape in self._shapes.values()])
        parts = np.split(whole, ends[:-1])
        return {name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def write_row(self, state: NativeState, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Set a row's state, from any backend of the same model; to that of a new stream where it is None."""
        row, address = range(state.rows)[row], None
        if memory is not None:
            whole = np.concatenate([np.asarray(memory[name], np.float32).ravel() for name in self._shapes])
            address = _address(whole, (self.lib.rtsr_row_size(state.handle),))
        self.lib.rtsr_row_write(state.handle, row, address)


def _address(array: NDArray[Any], shape: tuple[int, ...], kind: type = np.float32) -> int:
    """Return where an array's first element lies; the library does not check it, so everything is checked here."""
    if array.shape != shape or array.dtype != kind or not array.flags.c_contiguous:
        raise InvalidAudio(
            f"expected {kind.__name__} of shape {shape} in one piece, got {array.dtype} of shape {array.shape}"
        )
    return array.ctypes.data
