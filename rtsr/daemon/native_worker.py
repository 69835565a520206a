"""The worker of librtsr: the same hops in the same order, on a thread that never holds the interpreter lock."""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Callable
from ctypes import POINTER, byref, c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import replace

import numpy as np

from ..backend import Backend
from ..backend.native import NativeBackend
from ..errors import BackendFailed, InvalidSetting
from ..io import layout as at
from ..io.shared_block import SharedBlock
from ..stream import fixed_cutoff
from ..timing import KEPT, percentiles_ms
from .worker import PERCENTILES, Report, Wishes, check_rate


class Ends(ctypes.Structure):
    """rtsr_shared_block: where the parts of a shared block lie."""

    _fields_ = [
        ("input", c_void_p),
        ("input_size", c_int64),
        ("output", c_void_p),
        ("output_size", c_int64),
        *((name, c_void_p) for name in ("heard", "taken", "made", "played", "flowing", "shift", "muted")),
        ("burst", c_int64),
        ("semaphore", c_void_p),
    ]

    @classmethod
    def of(cls, shared: SharedBlock, burst: int) -> Ends:
        """Return those of a shared block, which has to outlive them."""
        places = (at.HEARD, at.TAKEN, at.MADE, at.PLAYED, at.FLOWING, at.SHIFT, at.MUTED)
        addresses = (shared.head[place:].ctypes.data for place in places)
        heard, made = shared.input_ring, shared.output_ring
        return cls(heard.ctypes.data, len(heard), made.ctypes.data, len(made), *addresses, burst, shared.semaphore)


class Numbers(ctypes.Structure):
    """rtsr_worker_report."""

    _fields_ = [
        *((name, c_int64) for name in ("hops", "late", "lost", "overloads", "rested", "switches")),
        *((name, c_double) for name in ("rest_s", "cutoff_hz", "level", "ratio", "drift_ppm")),
        *((name, c_int32) for name in ("asleep", "resting")),
    ]


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    """Declare the types of rtsr_worker.h to ctypes."""
    handle = c_void_p
    takes = {
        "new": [handle, c_int32, c_double, c_double, POINTER(c_void_p)],
        "free": [handle],
        "hop": [handle],
        "latency": [handle],
        "connect": [handle, POINTER(Ends)],
        "step": [handle, c_double],
        "run": [handle],
        "stop": [handle],
        "wish": [handle, c_double, c_int32, c_int32],
        "relearn": [handle],
        "switch": [handle, handle],
        "read": [handle, POINTER(Numbers)],
        "times": [handle, POINTER(c_float), c_int32],
    }
    for name, types in takes.items():
        getattr(lib, f"rtsr_worker_{name}").argtypes = types
    for name in ("free", "connect", "run", "stop", "relearn", "read"):
        getattr(lib, f"rtsr_worker_{name}").restype = None
    return lib


def _native(model: Backend) -> NativeBackend:
    if not isinstance(model, NativeBackend):
        raise InvalidSetting(f"expected a model on the native backend, got one on {model.name}")
    return model


class NativeWorker:
    """The same interface as `Worker`; `run` executes outside the interpreter from its start to its end."""

    kind = "native"

    def __init__(
        self,
        model: Backend,
        rate: int,
        *,
        low_water: int,
        burst: int = 0,
        sleep_db: float = -70.0,
        cutoff: float | str = "auto",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_rate(model.spec, rate)
        self.rate, self.clock, self.wishes = rate, clock, Wishes()
        self._model = _native(model)
        try:
            self._lib = _declare(self._model.lib)
        except AttributeError as error:
            raise BackendFailed(f"librtsr has no worker: {error}: build native/ again") from error
        self._handle, given_hz = c_void_p(), fixed_cutoff(model.spec, cutoff) or 0.0
        made = self._lib.rtsr_worker_new(self._model.handle, rate, given_hz, sleep_db, byref(self._handle))
        self._model.refuse(made)
        self.hop, self.latency = self._lib.rtsr_worker_hop(self._handle), self._lib.rtsr_worker_latency(self._handle)
        self.shared = SharedBlock(rate, self.hop, low_water, self.latency - self.hop, burst)
        self._lib.rtsr_worker_connect(self._handle, byref(Ends.of(self.shared, burst)))
        self._free = weakref.finalize(self, self._lib.rtsr_worker_free, self._handle)
        self._next: tuple[int, NativeBackend] | None = None  # how many switches it will have taken, and the model

    def warm_up(self) -> None:
        """Nothing is compiled, and all memory was touched when it was made."""

    def wish(self, **changes: float | bool) -> None:
        """Change some of the wishes: `gain_db`, at most 24, `bypass` or `mute`; slides over 10 ms."""
        self.wishes = wishes = replace(self.wishes, **changes)  # type: ignore[arg-type]
        self._lib.rtsr_worker_wish(self._handle, wishes.gain_db, wishes.bypass, wishes.mute)

    def step(self) -> bool:
        """Take one hop from the input ring and put one into the output ring, if one is there; returns whether."""
        return bool(self._lib.rtsr_worker_step(self._handle, self.clock()))

    def run(self) -> None:
        """Take hop after hop, sleeping in between, until `stop`: the calling thread is the worker's."""
        self._lib.rtsr_worker_run(self._handle)

    def stop(self) -> None:
        """Let `run` return within a few milliseconds."""
        self._lib.rtsr_worker_stop(self._handle)

    def relearn(self) -> None:
        """Learn anew how full the ring is to be, as after a device was opened."""
        self._lib.rtsr_worker_relearn(self._handle)

    def switch(self, model: Backend) -> None:
        """Let another model take over without a gap, once it has heard the last second; not the worker's thread.

        Raises `InvalidSetting` where its latency or its hop is not the one that this session has promised.
        """
        ahead = self._numbers().switches + 1
        self._model.refuse(self._lib.rtsr_worker_switch(self._handle, _native(model).handle))
        self._next = ahead, _native(model)

    def _numbers(self) -> Numbers:
        numbers = Numbers()
        self._lib.rtsr_worker_read(self._handle, byref(numbers))
        return numbers

    def report(self) -> Report:
        """Return what is going on."""
        numbers, following = self._numbers(), self._next
        if following is not None and numbers.switches >= following[0]:
            self._model = following[1]
        known = {field[0]: getattr(numbers, field[0]) for field in Numbers._fields_}
        known |= {name: bool(known[name]) for name in ("asleep", "resting")}
        return Report(self._model.model, self._model.name, compute_ms=self._percentiles_ms(), **known)

    def _percentiles_ms(self) -> tuple[float, ...]:
        times = np.zeros(KEPT, np.float32)
        count = self._lib.rtsr_worker_times(self._handle, times.ctypes.data_as(POINTER(c_float)), KEPT)
        return percentiles_ms(times[:count], *PERCENTILES)
