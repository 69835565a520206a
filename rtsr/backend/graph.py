"""The network on a CUDA device, a tick recorded once for every batch size and replayed as one CUDA graph.

Depthwise layers keep their past in rings, so that a frame reads seven taps and writes one, and what a masked row
writes lies where its own next frame will: no copy of the state, and none for the mask. On the device "cpu" the same
code runs without recording, which is how it is tested where there is no GPU.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
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
from .replays import Replays

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
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


def opened_device(name: str) -> torch.device:
    """Return a device by name, a card by its number too; raises `BackendFailed` where there is none."""
    device = torch.device(name)
    if device.type == "cuda":
        check_cuda()
        count = torch.cuda.device_count()
        device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        if device.index >= count:
            raise BackendFailed(f"expected a card from 0 to {count - 1}, got {device.index}")
    return device


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


def keep_linears(net: nn.Module, dtype: torch.dtype) -> None:
    """Keep the weights of linear layers in a type of 16 bits, which they compute in; all else stays float32."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            layer.to(dtype).register_forward_pre_hook(lambda layer, given: (given[0].to(layer.weight.dtype),))


@dataclass
class GraphState:
    """The state of some rows on the device, and pinned host buffers for what goes in and out."""

    rings: dict[str, Tensor]
    memory: Tensor
    heard: Tensor  # (rows,), frames so far
    all_rows: Tensor  # (rows,), their numbers
    spectrum: Tensor
    cutoff: Tensor
    active: Tensor
    envelope: Tensor
    replays: Replays

    def remembered(self) -> list[Tensor]:
        """Return everything that rows remember, each with the row as its first axis."""
        return [self.heard, self.memory, *self.rings.values()]


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
        self.device = opened_device(device)
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
        if self.fused is None and self.dtype != torch.float32:
            keep_linears(self.net, self.dtype)
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

    def advance(self, remembered: GraphState, spectrum: Tensor, cutoff: Tensor, active: Tensor) -> Tensor:
        """Advance the active of the first rows by one frame, all on the device; returns (rows, bands)."""
        rows = len(spectrum)
        if self.fused is not None:
            rings, memory = remembered.rings, remembered.memory
            envelope = self.fused.step(spectrum, cutoff, active, remembered.heard, rings, memory)
            remembered.heard[:rows] += active
            return torch.where(active.view(-1, 1), envelope, 0)
        taps = (remembered.heard[:rows].unsqueeze(1) + self._offsets) % self._sizes
        state: dict[str, Any] = {
            name: Past(remembered.rings[name], remembered.all_rows[:rows], taps[:, self._columns[past.dilation]])
            for name, past in self._pasts.items()
        }
        state[MEMORY] = memory = remembered.memory[:rows]
        with self._arithmetic():
            envelope, new = self.net(spectrum.unsqueeze(1), cutoff.unsqueeze(1), cast(State, state))
        memory.copy_(torch.where(active.view(-1, 1, 1), new[MEMORY], memory))
        remembered.heard[:rows] += active
        return torch.where(active.view(-1, 1), envelope[:, 0], 0)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        """Return what makes products of float32 compute in the precision asked for."""
        return Tf32() if self.precision == "tf32" else nullcontext()

    @torch.inference_mode()
    def new_state(self, rows: int = 1) -> GraphState:
        """Allocate the buffers of `rows` streams on the device and, pinned, on the host; all zeros."""
        spec = self.spec
        return GraphState(
            *self.new_memory(rows),
            all_rows=torch.arange(rows, device=self.device),
            spectrum=self.on_host(rows, spec.bins_in, 2),
            cutoff=self.on_host(rows),
            active=self.on_host(rows, dtype=torch.bool),
            envelope=self.on_host(rows, spec.bands),
            replays=Replays(self.device),
        )

    def _frame(self, state: GraphState, rows: int) -> None:
        """One step: host to device, the network, device to host; all of it in the order of the device's stream."""
        inputs = (state.spectrum[:rows], state.cutoff[:rows], state.active[:rows])
        spectrum, cutoff, active = (t.to(self.device, non_blocking=True) for t in inputs)
        state.envelope[:rows].copy_(self.advance(state, spectrum, cutoff, active), non_blocking=True)

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
        rows, mask = len(spectrum), state.active.numpy()
        work = partial(self._frame, state, rows)
        if not state.replays.ready(rows):
            mask[:] = False
            state.replays.record({rows: work})
        state.spectrum.numpy()[:rows] = spectrum
        state.cutoff.numpy()[:rows] = cutoff
        mask[:rows] = True if active is None else active
        state.replays.launch(rows, work)
        state.replays.wait()
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
        state.replays.call(partial(self._write, state, row, memory))

    def _write(self, state: GraphState, row: int, memory: dict[str, FloatArray] | None) -> None:
        for whole in state.remembered():
            whole[row] = 0
        if memory:  # as if as many frames had been processed as each ring holds
            state.memory[row] = torch.from_numpy(memory[MEMORY]).to(self.device)
            for name in self._pasts:
                state.rings[name][row, 1:] = torch.from_numpy(memory[name]).to(self.device)


class Tf32(AbstractContextManager[None]):
    """Lets matrix products of float32 run on tensor cores, with 10 bits of mantissa, for as long as it lasts."""

    def __enter__(self) -> None:
        self._before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True

    def __exit__(self, *_: object) -> None:
        torch.backends.cuda.matmul.allow_tf32 = self._before
