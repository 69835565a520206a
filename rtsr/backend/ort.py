"""The exported network under ONNX Runtime: the default on a CPU, and the one that needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dsp.windows import FloatArray
from ..errors import BackendFailed, MissingDependency, UnknownName
from ..net.weights import Weights
from .base import BoolArray

NEW = "new_"  # prefix of the output that follows a state
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@dataclass(slots=True)
class OrtState:
    """The buffers of some rows: host arrays in and out, and two sets of states that take turns as input and output."""

    spectrum: FloatArray
    cutoff: FloatArray
    active: BoolArray
    envelope: FloatArray
    sets: list[dict[str, Any]]
    bound: dict[int, list[Any]] = field(default_factory=dict)  # rows: a binding for each turn
    turn: int = 0


class OrtBackend:
    """Runs the ONNX export with bound buffers: spectra in, envelopes out; states stay where the network runs."""

    name = "ort"

    def __init__(self, weights: Weights, threads: int = 1, device: str = "cpu") -> None:
        try:
            import onnxruntime as ort
        except ImportError:
            raise MissingDependency("onnxruntime", "cpu", "the ort backend") from None
        if device not in PROVIDERS:
            raise UnknownName("device", device, PROVIDERS)
        self._ort, self.device = ort, device
        self.name = "ort" if device == "cpu" else f"ort-{device}"
        self.spec, self.model = weights.spec, weights.name
        self.state_shapes = weights.state_shapes
        self.session = self._open(weights, threads)

    def _open(self, weights: Weights, threads: int) -> Any:
        """Open a session; a provider that cannot be had is an error, not ONNX Runtime's silent fallback to the CPU."""
        wanted, ort = PROVIDERS[self.device], self._ort
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3 if self.device == "cpu" else 4
        if wanted not in ort.get_available_providers():
            raise BackendFailed(
                f"{self.name} needs ONNX Runtime's {wanted}, this one has {', '.join(ort.get_available_providers())}: "
                "install  'rtsr[gpu]'  in an environment without 'rtsr[cpu]', or use --backend ort"
            )
        providers = [wanted, PROVIDERS["cuda"]] if self.device == "tensorrt" else [wanted]
        content = weights.onnx_bytes()
        try:
            session = ort.InferenceSession(content, options, providers=providers)
        except Exception as error:  # onnxruntime raises its own classes, which share no base but Exception
            raise BackendFailed(f"ONNX Runtime cannot open {weights.name}: {error}") from error
        if session.get_providers()[0] != wanted:
            raise BackendFailed(
                f"{self.name} asked for {wanted} and got {session.get_providers()[0]}: no usable NVIDIA driver, or "
                "CUDA libraries of another version than onnxruntime-gpu was built for; use --backend ort"
            )
        return session

    def new_state(self, rows: int = 1) -> OrtState:
        """Allocate the buffers of `rows` streams; all zeros."""
        spec = self.spec
        shapes = self.state_shapes.items()
        return OrtState(
            spectrum=np.zeros((rows, spec.bins_in, 2), np.float32),
            cutoff=np.zeros(rows, np.float32),
            active=np.ones(rows, np.bool_),
            envelope=np.zeros((rows, spec.bands), np.float32),
            sets=[{n: self._place(np.zeros((rows, *s), np.float32)) for n, s in shapes} for _ in range(2)],
        )

    def _place(self, array: FloatArray) -> Any:
        """Return an array on the host as it is, or a copy where the network runs."""
        return array if self.device == "cpu" else self._ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0)

    def _bind(self, state: OrtState, rows: int) -> list[Any]:
        """Bind the first rows of every buffer, once for each turn."""
        hosts = {"spectrum": state.spectrum, "cutoff": state.cutoff, "active": state.active}
        turns = []
        for old, new in (state.sets, state.sets[::-1]):
            binding = self.session.io_binding()
            for name, buffer in (hosts | old).items():
                binding.bind_input(*self._address(name, buffer, rows))
            for name, buffer in ({"envelope": state.envelope} | {NEW + n: b for n, b in new.items()}).items():
                binding.bind_output(*self._address(name, buffer, rows))
            turns.append(binding)
        return turns

    def _address(self, name: str, buffer: Any, rows: int) -> tuple[Any, ...]:
        """Return the arguments with which ONNX Runtime binds the first rows of a buffer."""
        if isinstance(buffer, np.ndarray):
            return name, "cpu", 0, buffer.dtype.type, (rows, *buffer.shape[1:]), buffer.ctypes.data
        return name, buffer.device_name(), 0, np.float32, (rows, *buffer.shape()[1:]), buffer.data_ptr()

    def step(
        self,
        spectrum: FloatArray,
        cutoff: FloatArray,
        state: OrtState,
        out: FloatArray,
        active: BoolArray | None = None,
    ) -> None:
        """Advance the active rows by one frame; the first call with a number of rows binds their buffers."""
        rows = len(spectrum)
        state.spectrum[:rows] = spectrum
        state.cutoff[:rows] = cutoff
        state.active[:rows] = True if active is None else active
        if rows not in state.bound:
            state.bound[rows] = self._bind(state, rows)
        self.session.run_with_iobinding(state.bound[rows][state.turn])
        state.turn = 1 - state.turn
        out[:] = state.envelope[:rows]

    def read_row(self, state: OrtState, row: int) -> dict[str, FloatArray]:
        """Return copies of one row's memory."""
        return {n: self._host(buffer)[row].copy() for n, buffer in state.sets[state.turn].items()}

    def write_row(self, state: OrtState, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Put memory into one row, or clear it; on a GPU it takes every row's memory there and back."""
        for name in self.state_shapes:
            for buffers in state.sets:
                whole = self._host(buffers[name])
                whole[row] = memory[name] if memory else 0
                if whole is not buffers[name]:
                    buffers[name].update_inplace(whole)

    def _host(self, buffer: Any) -> FloatArray:
        """Return a host array as it is, or a copy of what is on the GPU."""
        return buffer if isinstance(buffer, np.ndarray) else buffer.numpy()
