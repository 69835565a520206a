"""The exported network under ONNX Runtime: the default on a CPU, and the one that needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dsp.windows import FloatArray
from ..errors import BackendFailed, MissingDependency
from ..net.weights import Weights
from .base import BoolArray

NEW = "new_"  # prefix of the output that follows a state


@dataclass(slots=True)
class OrtState:
    """The buffers of some rows: two sets of states that take turns as input and output, both bound once."""

    spectrum: FloatArray
    cutoff: FloatArray
    active: BoolArray
    generated: FloatArray
    turns: list[Any]
    turn: int = 0


class OrtBackend:
    """Runs the ONNX export with bound buffers, so that a step copies one spectrum in and one out."""

    name = "ort"

    def __init__(self, weights: Weights, threads: int = 1) -> None:
        try:
            import onnxruntime as ort
        except ImportError:
            raise MissingDependency("onnxruntime", "cpu", "the ort backend") from None
        self._ort = ort
        self.spec, self.model = weights.spec, weights.name
        self.state_shapes = weights.state_shapes
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        content = weights.onnx_bytes()
        try:
            self.session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own classes, which share no base but Exception
            raise BackendFailed(f"ONNX Runtime cannot open {weights.name}: {error}") from error

    def new_state(self, rows: int = 1) -> OrtState:
        """Allocate and bind the buffers of `rows` streams; all zeros."""
        spec = self.spec
        state = OrtState(
            spectrum=np.zeros((rows, spec.bins_in, 2), np.float32),
            cutoff=np.zeros(rows, np.float32),
            active=np.ones(rows, np.bool_),
            generated=np.zeros((rows, spec.bins_out, 2), np.float32),
            turns=[],
        )
        sets = [{n: np.zeros((rows, *s), np.float32) for n, s in self.state_shapes.items()} for _ in range(2)]
        for old, new in (sets, sets[::-1]):
            binding = self.session.io_binding()
            inputs = {"spectrum": state.spectrum, "cutoff": state.cutoff, "active": state.active, **old}
            outputs = {"generated": state.generated, **{NEW + n: a for n, a in new.items()}}
            values = {n: self._ort.OrtValue.ortvalue_from_numpy(a) for n, a in (inputs | outputs).items()}
            for name in inputs:
                binding.bind_ortvalue_input(name, values[name])
            for name in outputs:
                binding.bind_ortvalue_output(name, values[name])
            state.turns.append((binding, values, inputs, outputs))  # the arrays live as long as what is bound to them
        return state

    def step(
        self,
        spectrum: FloatArray,
        cutoff: FloatArray,
        state: OrtState,
        out: FloatArray,
        active: BoolArray | None = None,
    ) -> None:
        """Advance the active rows by one frame."""
        state.spectrum[:] = spectrum
        state.cutoff[:] = cutoff
        state.active[:] = True if active is None else active
        self.session.run_with_iobinding(state.turns[state.turn][0])
        state.turn = 1 - state.turn
        out[:] = state.generated
