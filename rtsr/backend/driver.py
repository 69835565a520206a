"""What neither torch nor ONNX Runtime offers of the CUDA driver: streams of one's own, copies of a few bytes."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from functools import cache
from typing import Any

from numpy.typing import NDArray

from ..errors import BackendFailed

LIBRARY = "libcuda.so.1"  # comes with the driver, in WSL too
NON_BLOCKING = 1  # a stream that does not wait for the default one
PORTABLE = 1  # pinned for every card


@cache
def _library() -> Any:
    """Load the driver's library and initialise it; raises `BackendFailed` where there is none."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise BackendFailed(f"no NVIDIA driver: {error}") from error
    cuda.cuInit.argtypes = [c_uint]
    cuda.cuGetErrorName.argtypes = [c_int, ctypes.POINTER(c_char_p)]
    cuda.cuDeviceGet.argtypes = [ctypes.POINTER(c_int), c_int]
    cuda.cuDevicePrimaryCtxRetain.argtypes = [ctypes.POINTER(c_void_p), c_int]
    cuda.cuCtxPushCurrent_v2.argtypes = [c_void_p]
    cuda.cuCtxPopCurrent_v2.argtypes = [ctypes.POINTER(c_void_p)]
    cuda.cuStreamCreate.argtypes = [ctypes.POINTER(c_void_p), c_uint]
    cuda.cuMemcpy.argtypes = [c_uint64, c_uint64, c_size_t]
    cuda.cuMemHostRegister_v2.argtypes = [c_void_p, c_size_t, c_uint]
    cuda.cuMemHostUnregister.argtypes = [c_void_p]
    _check(cuda, "cuInit", cuda.cuInit(0))
    return cuda


def _check(cuda: Any, what: str, status: int) -> None:
    if status:
        name = c_char_p()
        cuda.cuGetErrorName(status, byref(name))
        raise BackendFailed(f"{what} of the CUDA driver failed: {(name.value or b'?').decode()} ({status})")


def _call(name: str, *arguments: Any) -> None:
    cuda = _library()
    _check(cuda, name, getattr(cuda, name)(*arguments))


@cache
def _context(card: int) -> c_void_p:
    """Return the context of a card that torch and ONNX Runtime use too."""
    device, context = c_int(), c_void_p()
    _call("cuDeviceGet", byref(device), card)
    _call("cuDevicePrimaryCtxRetain", byref(context), device)
    return context


@contextmanager
def _on(card: int) -> Iterator[None]:
    """Make a card the thread's current one meanwhile."""
    _call("cuCtxPushCurrent_v2", _context(card))
    try:
        yield
    finally:
        _call("cuCtxPopCurrent_v2", byref(c_void_p()))


def new_stream(card: int) -> int:
    """Return the handle of a new stream; raises `BackendFailed` where the driver refuses."""
    stream = c_void_p()
    with _on(card):
        _call("cuStreamCreate", byref(stream), NON_BLOCKING)
    return int(stream.value or 0)


def copy(card: int, target: int, source: int, size: int) -> None:
    """Copy bytes between addresses, each on the host or on the card, and wait; raises `BackendFailed`."""
    with _on(card):
        _call("cuMemcpy", target, source, size)


def pin(card: int, array: NDArray[Any]) -> None:
    """Keep an array's memory where it is for as long as it lives, so that the card reads and writes it directly."""
    address = array.ctypes.data
    with _on(card):
        _call("cuMemHostRegister_v2", address, array.nbytes, PORTABLE)
    weakref.finalize(array, _unpin, card, address).atexit = False


def _unpin(card: int, address: int) -> None:
    with suppress(BackendFailed), _on(card):  # of a card that is lost: it pins nothing any more
        _call("cuMemHostUnregister", address)
