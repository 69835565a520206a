"""A backend whose exceptions are caught: while it raises, streams are plain."""

from __future__ import annotations

from typing import Any

from ..backend.base import Backend, BoolArray
from ..dsp.structure import NOTHING
from ..dsp.windows import FloatArray
from .faults import Faults


class Guarded:
    """A backend whose steps never raise: it generates nothing where the inner one fails, and its rows begin anew."""

    def __init__(self, inner: Backend, faults: Faults) -> None:
        self.inner, self.name, self.model, self.spec = inner, inner.name, inner.model, inner.spec
        self._faults = faults

    def new_state(self, rows: int = 1) -> Any:
        """Return the inner backend's state."""
        return self.inner.new_state(rows)

    def step(
        self, spectrum: FloatArray, cutoff: FloatArray, state: Any, out: FloatArray, active: BoolArray | None = None
    ) -> None:
        """Advance every active row; where that fails, generate nothing and let the rows begin anew."""
        try:
            self.inner.step(spectrum, cutoff, state, out, active)
        except Exception as error:  # torch, CUDA and ONNX Runtime have no common base
            self._faults.note("network", "the network failed, and voices are heard plain meanwhile", error)
            out[:] = NOTHING
            with self._faults.survived("network", "the network's memory could not be cleared"):
                for row in range(len(out)):
                    self.inner.write_row(state, row)  # a step that failed half way may have left anything there

    def read_row(self, state: Any, row: int) -> Any:
        """Return what a row remembers, or None where it cannot be read: who is given that begins anew."""
        try:
            return self.inner.read_row(state, row)
        except Exception as error:
            self._faults.note("network", "the network's memory could not be read", error)
            return None

    def write_row(self, state: Any, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Make a row of the inner backend remember this; raises what that raises."""
        self.inner.write_row(state, row, memory)
