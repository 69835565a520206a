"""A backend that may be suspended: in silence, by bypass, and when the machine is too slow."""

from __future__ import annotations

from typing import Any

from numba import njit

from ..backend.base import Backend, BoolArray
from ..dsp.structure import NOTHING
from ..dsp.windows import FloatArray

QUIET_S = 0.2  # silence for so long before the network sleeps


@njit(nogil=True, cache=True)
def _power(spectrum: FloatArray) -> float:
    """Return the sum of squares of `spectrum`, (rows, bins, 2)."""
    total = 0.0
    for x in spectrum.flat:
        total += float(x) * float(x)
    return total


class Gate:
    """One stream's way to a shared backend. While shut or in silence the network rests and generates nothing.

    A frame's level is measured before it is skipped, so the first frame of an onset is already generated. The
    overlap-add turns the change into a fade of one window. One row; used by the stream's thread, which writes `shut`.
    """

    def __init__(self, backend: Backend, sleep_db: float) -> None:
        self.backend = backend
        self.spec, self.model, self.name = backend.spec, backend.model, backend.name
        full_scale = self.spec.history**2 / 16
        self.threshold = float(full_scale * 10 ** (sleep_db / 10))
        self.hold_frames = round(QUIET_S * self.spec.frames_per_s)
        self.quiet = 0
        self.shut = False
        self.rested = 0  # frames that cost nothing

    @property
    def asleep(self) -> bool:
        """Whether the silence has lasted long enough."""
        return self.quiet > self.hold_frames

    def new_state(self, rows: int = 1) -> Any:
        """Return the backend's state."""
        return self.backend.new_state(rows)

    def read_row(self, state: Any, row: int) -> dict[str, FloatArray]:
        """Return what the backend's row remembers."""
        return self.backend.read_row(state, row)

    def write_row(self, state: Any, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Make the backend's row remember this."""
        self.backend.write_row(state, row, memory)

    def step(
        self, spectrum: FloatArray, cutoff: FloatArray, state: Any, out: FloatArray, active: BoolArray | None = None
    ) -> None:
        """Advance the network, or rest and generate nothing."""
        self.quiet = self.quiet + 1 if _power(spectrum) < self.threshold else 0
        if self.shut or self.asleep:
            out[:] = NOTHING
            self.rested += 1
        else:
            self.backend.step(spectrum, cutoff, state, out, active)
