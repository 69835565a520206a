"""The network on a CUDA device, a tick recorded once for every batch size and replayed as one CUDA graph.

Depthwise layers keep their past in rings, so that a frame reads seven taps and writes one, and what a masked row
writes lies where its own next frame will: no copy of the state, and none for the mask. On the device "cpu" the same
code runs without recording, which is how it is tested where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..dsp.windows import FloatArray
from ..errors import BackendFailed, InvalidSetting
from ..net.fused_net import fused
from ..net.layers import Block, CausalDepthwise
from ..net.model import State
from ..net.weights import Weights
from .base import BoolArray

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WARM_UPS = 3  # runs before recording, in which libraries make their plans
MEMORY = "memory"  # the one state that is no past of a depthwise layer


def check_cuda() -> None:
    """Raise `BackendFailed` with the reason where torch cannot use an NVIDIA card."""
    if torch.cuda.is_available():
        return
    if torch.version.cuda is None:
        raise BackendFailed(
            f"the graph backend needs CUDA, and torch {torch.__version__} was built without: install a CUDA build of "
            "torch (https://pytorch.org/get-started), or use --backend ort"
        )
    raise BackendFailed(
        "the graph backend needs an NVIDIA card with a working driver and torch finds none: see what nvidia-smi says, "
        "or use --backend ort"
    )


class Replays:
    """Runs `work(rows)` on a device: recorded once for every number of rows, then replayed; on the CPU just called."""

    def __init__(self, device: torch.device, work: Callable[[int], None]) -> None:
        self.work, self._graphs = work, dict[int, Any]()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pool: Any = None

    def ready(self, rows: int) -> bool:
        """Whether a run with so many rows needs no recording any more."""
        return self._stream is None or rows in self._graphs

    @torch.inference_mode()
    def record(self, rows: int) -> None:
        """Record `work(rows)`, running it a few times before: call it while no row is active."""
        if self._stream is None:
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                self.work(rows)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            self.work(rows)
        self._pool = self._pool or graph.pool()
        self._graphs[rows] = graph

    @torch.inference_mode()
    def run(self, rows: int) -> None:
        """Do the work, after what was asked of the default stream, and return when its results are on the host."""
        if self._stream is None:
            self.work(rows)
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._graphs[rows].replay()
        self._stream.synchronize()


class Past(NamedTuple):
    """What a depthwise layer is given for a state: its ring, and where this frame and its taps lie in it."""

    ring: Tensor  # (all rows, size, channels)
    rows: Tensor  # (rows,)
    taps: Tensor  # (rows, kernel), the last of which is this frame's own place


class RingDepthwise(nn.Module):
    """`CausalDepthwise` for one frame, with its past in a ring instead of a window that moves."""

    def __init__(self, plain: CausalDepthwise) -> None:
        super().__init__()
        self.weight: Tensor = plain.weight
        self.bias: Tensor = plain.bias
        self.dilation, self.memory = plain.dilation, plain.memory
        self.kernel, self.channels = int(plain.weight.shape[0]), int(plain.weight.shape[1])

    def state_shape(self) -> tuple[int, ...]:
        """Shape of one row's state as others have it: (memory, channels)."""
        return (self.memory, self.channels)

    def forward(self, x: Tensor, past: Past) -> tuple[Tensor, Past]:
        ring, rows, taps = past
        ring.index_put_((rows, taps[:, -1]), x[:, 0].to(ring.dtype))
        seen = ring[rows.unsqueeze(1), taps]
        return (seen * self.weight).sum(1, keepdim=True) + self.bias, past


@dataclass
class GraphState:
    """The state of some rows on the device, and pinned host buffers for what goes in and out."""

    rings: dict[str, Tensor]
    memory: Tensor
    heard: Tensor  # (rows,), frames so far
    spectrum: Tensor
    cutoff: Tensor
    active: Tensor
    envelope: Tensor
    replays: Replays = field(init=False)


class GraphBackend:
    """Runs `BandNet.forward` on a CUDA device; precision is float32, tf32, bfloat16 or float16.

    fuse: whether Triton's kernels do it where they can, which they do on a GPU if it is not given; else torch does.

    The pool gives it whole hops and has it do the path around the network as well.
    """

    runs_whole_path = True

    def __init__(
        self, weights: Weights, device: str = "cuda", precision: str = "float32", fuse: bool | None = None
    ) -> None:
        if precision not in PRECISIONS:
            raise InvalidSetting(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
        self.device = torch.device(device)
        if self.device.type == "cuda":
            check_cuda()
        self.name = "graph" if precision == "float32" else f"graph-{precision}"
        self.precision, self.dtype = precision, PRECISIONS[precision]
        self.spec, self.model = weights.spec, weights.name
        self.net = weights.network().eval().requires_grad_(False)
        self._pasts: dict[str, RingDepthwise] = {}
        for name, layer in self.net.stateful().items():
            if isinstance(layer, Block):
                self._pasts[name] = RingDepthwise(layer.past)
                layer.add_module("past", self._pasts[name])
        self.net.to(self.device)
        fuse = self.device.type == "cuda" if fuse is None else fuse
        self.fused = fused(self.net, self.dtype, precision != "tf32") if fuse else None
        self._offsets, self._sizes, self._columns = self._plan_taps()

    def _plan_taps(self) -> tuple[Tensor, Tensor, dict[int, slice]]:
        """Return offsets from a row's frame count to every tap, their rings' sizes, and each dilation's columns."""
        offsets: list[int] = []
        sizes: list[int] = []
        columns: dict[int, slice] = {}
        for past in self._pasts.values():
            if past.dilation not in columns:
                size = past.memory + 1
                columns[past.dilation] = slice(len(offsets), len(offsets) + past.kernel)
                offsets += [size - past.memory + past.dilation * k for k in range(past.kernel)]
                sizes += [size] * past.kernel
        return torch.tensor(offsets, device=self.device), torch.tensor(sizes, device=self.device), columns

    @torch.inference_mode()
    def new_memory(self, rows: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the state of `rows` new streams: rings, the memory's state, frame counts."""
        dtype = torch.float32 if self.precision == "tf32" else self.dtype
        rings = {
            name: torch.zeros(rows, past.memory + 1, past.channels, dtype=dtype, device=self.device)
            for name, past in self._pasts.items()
        }
        shape = self.net.memory.state_shape()
        memory = torch.zeros(rows, *shape, device=self.device)
        return rings, memory, torch.zeros(rows, dtype=torch.int64, device=self.device)

    def advance(
        self, remembered: GraphState, spectrum: Tensor, cutoff: Tensor, active: Tensor, all_rows: Tensor
    ) -> Tensor:
        """Advance the active of the first rows by one frame, all on the device; returns (rows, bands)."""
        rows = len(spectrum)
        if self.fused is not None:
            rings, memory = remembered.rings, remembered.memory
            envelope = self.fused.step(spectrum, cutoff, active, remembered.heard, rings, memory)
            remembered.heard[:rows] += active
            return torch.where(active.view(-1, 1), envelope, 0)
        taps = (remembered.heard[:rows].unsqueeze(1) + self._offsets) % self._sizes
        state: dict[str, Any] = {
            name: Past(remembered.rings[name], all_rows[:rows], taps[:, self._columns[past.dilation]])
            for name, past in self._pasts.items()
        }
        state[MEMORY] = memory = remembered.memory[:rows]
        with self._arithmetic():
            envelope, new = self.net(spectrum.unsqueeze(1), cutoff.unsqueeze(1), cast(State, state))
        memory.copy_(torch.where(active.view(-1, 1, 1), new[MEMORY], memory))
        remembered.heard[:rows] += active
        return torch.where(active.view(-1, 1), envelope[:, 0], 0)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        """Return what makes linear layers compute in the precision asked for."""
        if self.dtype != torch.float32:
            return torch.autocast(self.device.type, self.dtype)
        return Tf32() if self.precision == "tf32" else nullcontext()

    @torch.inference_mode()
    def new_state(self, rows: int = 1) -> GraphState:
        """Allocate the buffers of `rows` streams on the device and, pinned, on the host; all zeros."""
        spec = self.spec
        state = GraphState(
            *self.new_memory(rows),
            spectrum=self.on_host(rows, spec.bins_in, 2),
            cutoff=self.on_host(rows),
            active=self.on_host(rows, dtype=torch.bool),
            envelope=self.on_host(rows, spec.bands),
        )
        all_rows = torch.arange(rows, device=self.device)

        def work(rows: int) -> None:
            inputs = (state.spectrum[:rows], state.cutoff[:rows], state.active[:rows])
            spectrum, cutoff, active = (t.to(self.device, non_blocking=True) for t in inputs)
            envelope = self.advance(state, spectrum, cutoff, active, all_rows)
            state.envelope[:rows].copy_(envelope, non_blocking=True)

        state.replays = Replays(self.device, work)
        return state

    def on_host(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return zeros on the host, pinned where the device is a GPU so that copies do not wait."""
        return torch.zeros(*shape, dtype=dtype, pin_memory=self.device.type == "cuda")

    def step(
        self,
        spectrum: FloatArray,
        cutoff: FloatArray,
        state: GraphState,
        out: FloatArray,
        active: BoolArray | None = None,
    ) -> None:
        """Advance the active rows by one frame; the first call with a number of rows records it."""
        rows = len(spectrum)
        mask = state.active.numpy()
        if not state.replays.ready(rows):
            mask[:] = False
            state.replays.record(rows)
        state.spectrum.numpy()[:rows] = spectrum
        state.cutoff.numpy()[:rows] = cutoff
        mask[:rows] = True if active is None else active
        state.replays.run(rows)
        out[:] = state.envelope.numpy()[:rows]

    @torch.inference_mode()
    def read_row(self, state: GraphState, row: int) -> dict[str, FloatArray]:
        """Return copies of one row's memory, rings unrolled."""
        heard, found = int(state.heard[row]), {}
        for name, past in self._pasts.items():
            places = (heard - past.memory + np.arange(past.memory)) % (past.memory + 1)
            found[name] = state.rings[name][row].float().cpu().numpy()[places]
        return {**found, MEMORY: state.memory[row].cpu().numpy().copy()}

    @torch.inference_mode()
    def write_row(self, state: GraphState, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Put memory into one row, or clear it."""
        self.clear_rows(state, torch.tensor([row], device=self.device))
        if memory:  # as if as many frames had been processed as each ring holds
            state.memory[row] = torch.from_numpy(memory[MEMORY]).to(self.device)
            for name in self._pasts:
                state.rings[name][row, 1:] = torch.from_numpy(memory[name]).to(self.device)

    def clear_rows(self, state: GraphState, rows: Tensor) -> None:
        """Clear rows (n,) on the device."""
        for whole in (state.heard, state.memory, *state.rings.values()):
            whole[rows] = 0


class Tf32(AbstractContextManager[None]):
    """Lets matrix products of float32 run on tensor cores, with 10 bits of mantissa, for as long as it lasts."""

    def __enter__(self) -> None:
        self._before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True

    def __exit__(self, *_: object) -> None:
        torch.backends.cuda.matmul.allow_tf32 = self._before
