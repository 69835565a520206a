"""What every way to run the network promises."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..dsp.windows import FloatArray
from ..spec import Spec

BoolArray = NDArray[np.bool_]


class Step(NamedTuple):
    """The arguments of `Backend.step`."""

    spectrum: FloatArray
    cutoff: FloatArray
    state: Any
    out: FloatArray
    active: BoolArray | None = None


class Backend(Protocol):
    """An opened model: immutable, shared by any number of streams; a state belongs to its maker.

    One that reads its weights once for several states also has `step_together`, which takes their `Step`s and raises
    before it has advanced any row.
    """

    name: str
    model: str
    spec: Spec

    def new_state(self, rows: int = 1) -> Any:
        """Return the state of `rows` streams that have heard nothing yet."""

    def step(
        self,
        spectrum: FloatArray,
        cutoff: FloatArray,
        state: Any,
        out: FloatArray,
        active: BoolArray | None = None,
    ) -> None:
        """Advance every active row by one frame and write the envelope of its wideband frame to `out`.

        spectrum (rows, bins_in, 2), cutoff (rows,) in Hz, out (rows, bands), natural log of each band's mean power
        (`dsp.envelope`), all float32; active (rows,), all rows where it is None. A row that is not active keeps its
        state and gets zeros. One thread a state.
        Where `rows` is less than the state has, its first rows are meant; the state of the others is lost.
        """

    def read_row(self, state: Any, row: int) -> dict[str, FloatArray]:
        """Return copies of one row's state, by the names and in the shapes of the manifest's `states`."""

    def write_row(self, state: Any, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Set a row's state, from any backend of the same model; to that of a new stream where it is None."""
