"""The exported network under ONNX Runtime: on a CPU without torch, and on a card."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dsp.windows import FloatArray
from ..errors import BackendFailed, InvalidSetting, MissingDependency
from ..net.weights import Weights
from . import driver
from .base import BoolArray
from .providers import MOST_ROWS, PRECISIONS, PROVIDERS, check, providers

NEW = "new_"  # prefix of the output that follows a state
FLOAT_BYTES = 4

log = logging.getLogger("rtsr")


@dataclass(slots=True)
class OrtState:
    """The buffers of some rows: host arrays in and out, and two sets of states that take turns as input and output.

    On a card the arrays on the host are pinned, and `cards` has their counterparts there.
    """

    inputs: dict[str, NDArray[Any]]
    envelope: FloatArray
    sets: list[dict[str, Any]]
    cards: dict[str, Any]
    bound: dict[int, list[tuple[Any, Any]]] = field(default_factory=dict)  # rows: a binding and options for each turn
    turn: int = 0


class OrtBackend:
    """Runs the ONNX export with bound buffers: spectra in, envelopes out; states stay where the network runs.

    device: cpu, cuda or tensorrt; card: its number; precision: `providers.PRECISIONS`, the first where not given. On
    CUDA each number of rows is recorded as CUDA graphs where ONNX Runtime can do so.
    """

    name = "ort"

    def __init__(
        self, weights: Weights, threads: int = 1, device: str = "cpu", card: int = 0, precision: str | None = None
    ) -> None:
        try:
            import onnxruntime as ort
        except ImportError:
            raise MissingDependency("onnxruntime", "cpu", "the ort backend") from None
        check(device, precision := precision or PRECISIONS.get(device, ("",))[0])
        self._ort, self.device, self.card = ort, device, card
        plain = precision == PRECISIONS[device][0]
        self.name = "ort" if device == "cpu" else f"ort-{device}" + ("" if plain else f"-{precision}")
        self.spec, self.model = weights.spec, weights.name
        self.state_shapes = weights.state_shapes
        self.records = device == "cuda"
        self._graphs = itertools.count(1)
        self.session = self._open(weights, threads, precision)

    def _open(self, weights: Weights, threads: int, precision: str) -> Any:
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
        if self.device != "cpu":
            ort.preload_dlls()  # those of CUDA and cuDNN that came as packages
        content = weights.onnx_bytes()
        try:
            session = self._session(content, options, weights, precision)
        except Exception as error:  # onnxruntime raises its own classes, which share no base but Exception
            raise BackendFailed(f"ONNX Runtime cannot open {weights.name}: {error}") from error
        if session.get_providers()[0] != wanted:
            raise BackendFailed(
                f"{self.name} asked for {wanted} and got {session.get_providers()[0]}: no usable NVIDIA driver, or "
                "CUDA libraries of another version than onnxruntime-gpu was built for; use --backend ort"
            )
        return session

    def _session(self, content: bytes, options: Any, weights: Weights, precision: str) -> Any:
        make, how = self._ort.InferenceSession, (weights, self.device, self.card, precision)
        if self.records:
            try:
                return make(content, options, providers=providers(*how, record=True))
            except Exception as error:  # of a node that it would run on the CPU
                log.info("%s runs without CUDA graphs: %s", self.name, error)
                self.records = False
        return make(content, options, providers=providers(*how, record=False))

    def new_state(self, rows: int = 1) -> OrtState:
        """Allocate the buffers of `rows` streams; all zeros. Raises `InvalidSetting` beyond TensorRT's most."""
        if self.device == "tensorrt" and rows > MOST_ROWS:
            raise InvalidSetting(f"expected at most {MOST_ROWS} rows with TensorRT, got {rows}")
        spec, shapes = self.spec, self.state_shapes.items()
        inputs: dict[str, NDArray[Any]] = {
            "spectrum": np.zeros((rows, spec.bins_in, 2), np.float32),
            "cutoff": np.zeros(rows, np.float32),
            "active": np.ones(rows, np.bool_),
        }
        envelope = np.zeros((rows, spec.bands), np.float32)
        cards: dict[str, Any] = {}
        if self.device != "cpu":
            cards = {name: self._place(array) for name, array in {**inputs, "envelope": envelope}.items()}
            for array in (*inputs.values(), envelope):
                driver.pin(self.card, array)
        sets = [{n: self._place(np.zeros((rows, *s), np.float32)) for n, s in shapes} for _ in range(2)]
        return OrtState(inputs, envelope, sets, cards)

    def _place(self, array: NDArray[Any]) -> Any:
        """Return an array on the host as it is, or a copy where the network runs."""
        return array if self.device == "cpu" else self._ort.OrtValue.ortvalue_from_numpy(array, "cuda", self.card)

    def _bind(self, state: OrtState, rows: int) -> list[tuple[Any, Any]]:
        """Bind the first rows of every buffer, once for each turn."""
        turns = []
        for old, new in (state.sets, state.sets[::-1]):
            binding, options = self.session.io_binding(), None
            for name, buffer in (state.inputs | state.cards | old).items():
                if name != "envelope":
                    binding.bind_input(*self._address(name, buffer, rows))
            envelope = state.cards.get("envelope", state.envelope)
            for name, buffer in ({"envelope": envelope} | {NEW + n: b for n, b in new.items()}).items():
                binding.bind_output(*self._address(name, buffer, rows))
            if self.records:  # of these buffers and no others
                options = self._ort.RunOptions()
                options.add_run_config_entry("gpu_graph_id", str(next(self._graphs)))
            turns.append((binding, options))
        return turns

    def _address(self, name: str, buffer: Any, rows: int) -> tuple[Any, ...]:
        """Return the arguments with which ONNX Runtime binds the first rows of a buffer."""
        if isinstance(buffer, np.ndarray):
            return name, "cpu", 0, buffer.dtype.type, (rows, *buffer.shape[1:]), buffer.ctypes.data
        kind = np.bool_ if name == "active" else np.float32
        return name, buffer.device_name(), self.card, kind, (rows, *buffer.shape()[1:]), buffer.data_ptr()

    def step(
        self,
        spectrum: FloatArray,
        cutoff: FloatArray,
        state: OrtState,
        out: FloatArray,
        active: BoolArray | None = None,
    ) -> None:
        """Advance the active rows by one frame; the first call with a number of rows binds their buffers."""
        rows, inputs = len(spectrum), state.inputs
        inputs["spectrum"][:rows] = spectrum
        inputs["cutoff"][:rows] = cutoff
        inputs["active"][:rows] = True if active is None else active
        if rows not in state.bound:
            state.bound[rows] = self._bind(state, rows)
        if state.cards:
            for name, array in inputs.items():
                driver.copy(self.card, state.cards[name].data_ptr(), array.ctypes.data, array[:rows].nbytes)
        self.session.run_with_iobinding(*state.bound[rows][state.turn])
        state.turn = 1 - state.turn
        if state.cards:
            envelope = state.envelope[:rows]
            driver.copy(self.card, envelope.ctypes.data, state.cards["envelope"].data_ptr(), envelope.nbytes)
        out[:] = state.envelope[:rows]

    def read_row(self, state: OrtState, row: int) -> dict[str, FloatArray]:
        """Return copies of one row's memory."""
        found = {}
        for name, shape in self.state_shapes.items():
            buffer = state.sets[state.turn][name]
            found[name] = np.empty(shape, np.float32)
            if isinstance(buffer, np.ndarray):
                found[name][:] = buffer[row]
            else:
                driver.copy(self.card, found[name].ctypes.data, self._place_of(buffer, name, row), found[name].nbytes)
        return found

    def write_row(self, state: OrtState, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Put memory into one row, or clear it; nothing of the others is moved."""
        for name, shape in self.state_shapes.items():
            kept = np.zeros(shape, np.float32) if memory is None else np.ascontiguousarray(memory[name], np.float32)
            for buffers in state.sets:
                if isinstance(buffers[name], np.ndarray):
                    buffers[name][row] = kept
                else:
                    place = self._place_of(buffers[name], name, row)
                    driver.copy(self.card, place, kept.ctypes.data, kept.nbytes)

    def _place_of(self, buffer: Any, name: str, row: int) -> int:
        """Return the address of a row on the card."""
        return int(buffer.data_ptr()) + row * prod(self.state_shapes[name]) * FLOAT_BYTES
