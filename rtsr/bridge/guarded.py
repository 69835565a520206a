"""A backend whose exceptions are caught: while it raises, streams are plain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backend.base import Backend, BoolArray, Step
from ..dsp.structure import NOTHING
from ..dsp.windows import FloatArray
from .faults import Faults


class Guarded:
    """A backend whose steps never raise: it generates nothing where the inner one fails, and its rows begin anew."""

    def __init__(self, inner: Backend, faults: Faults) -> None:
        self.inner, self.name, self.model, self.spec = inner, inner.name, inner.model, inner.spec
        self._faults = faults
        if together := getattr(inner, "step_together", None):
            self.step_together = lambda steps: self._guard(lambda: together(steps), steps)

    def new_state(self, rows: int = 1) -> Any:
        """Return the inner backend's state."""
        return self.inner.new_state(rows)

    def step(
        self, spectrum: FloatArray, cutoff: FloatArray, state: Any, out: FloatArray, active: BoolArray | None = None
    ) -> None:
        """Advance every active row; where that fails, generate nothing and let the rows begin anew."""
        step = Step(spectrum, cutoff, state, out, active)
        self._guard(lambda: self.inner.step(*step), [step])

    def _guard(self, advance: Callable[[], None], steps: Sequence[Step]) -> None:
        """Let rows advance; where that fails, generate nothing for them and let them begin anew."""
        try:
            advance()
        except Exception as error:  # torch, CUDA and ONNX Runtime have no common base
            self._faults.note("network", "the network failed, and voices are heard plain meanwhile", error)
            for step in steps:
                step.out[:] = NOTHING
                with self._faults.survived("network", "the network's memory could not be cleared"):
                    for row in range(len(step.out)):
                        self.inner.write_row(step.state, row)  # a step that failed half way may have left anything

    def read_row(self, state: Any, row: int) -> Any:
        """Return a row's state, or None where it cannot be read: with None a row begins anew."""
        try:
            return self.inner.read_row(state, row)
        except Exception as error:
            self._faults.note("network", "the network's memory could not be read", error)
            return None

    def write_row(self, state: Any, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Set the state of a row of the inner backend; raises what that raises."""
        self.inner.write_row(state, row, memory)
