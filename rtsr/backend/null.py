"""The backend that generates nothing: the plain narrowband path, for measuring and as a last resort."""

from __future__ import annotations

from ..dsp.structure import NOTHING
from ..dsp.windows import FloatArray
from ..spec import Spec
from .base import BoolArray


class NullBackend:
    """Generates nothing: a stream over it is a resampler with the model's latency."""

    name = "null"

    def __init__(self, spec: Spec, model: str = "null") -> None:
        self.spec, self.model = spec, model

    def new_state(self, rows: int = 1) -> int:
        """Return the number of rows, all the state there is."""
        return rows

    def step(
        self, spectrum: FloatArray, cutoff: FloatArray, state: int, out: FloatArray, active: BoolArray | None = None
    ) -> None:
        """Write an envelope of nothing."""
        out[:] = NOTHING
        if active is not None:
            out[~active] = 0

    def read_row(self, state: int, row: int) -> dict[str, FloatArray]:
        """Return an empty state."""
        return {}

    def write_row(self, state: int, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Remember nothing."""
