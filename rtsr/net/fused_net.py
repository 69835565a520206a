"""`BandNet` for one frame of many streams in a few launches of Triton's kernels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..dsp.structure import POWER_FLOOR
from .kernels.launch import EXACT, launch, programs, rows_a_program, tile, warps
from .layers import Block
from .model import BandNet

Rings = dict[str, Tensor]

DEPTH, HIDDEN, ENTERED = 32, 32, 16  # inner size of a product's tile, and columns of a hidden layer at a time
COLUMNS = 128  # of the first layer a program
PAST_TILE = 1024  # elements of a block of rows of the past

log = logging.getLogger(__name__)


class Dense:
    """A linear layer as the kernels take it: weight (in, out) in the type of products, bias float32."""

    def __init__(self, layer: nn.Linear, kind: torch.dtype) -> None:
        self.weight = layer.weight.detach().t().to(kind).contiguous()
        self.bias = layer.bias.detach().float()


@dataclass(frozen=True)
class Norm:
    """A layer norm's constants."""

    gain: Tensor
    shift: Tensor

    @classmethod
    def of(cls, layer: nn.LayerNorm) -> Norm:
        """Take them from the layer."""
        return cls(layer.weight.detach().float(), layer.bias.detach().float())


class FusedNet:
    """One frame of `net` as kernels; `kind` is the type of weights, of the past and inside of blocks.

    What lies between blocks is float32: as bfloat16 it would add more error than all the rest.

    The network's layers are copied: it has to be on its device, with weights that no longer change.
    """

    def __init__(self, net: BandNet, kind: torch.dtype, precision: str) -> None:
        from .kernels import layers  # Triton may not be installed

        self._kernels, self._net, self._kind, self._precision = layers, net, kind, precision
        self._dense = {name: Dense(m, kind) for name, m in net.named_modules() if isinstance(m, nn.Linear)}
        self._norm = {name: Norm.of(m) for name, m in net.named_modules() if isinstance(m, nn.LayerNorm)}
        self._depth = len(net.down)

    def step(
        self, spectrum: Tensor, cutoff: Tensor, active: Tensor, heard: Tensor, rings: Rings, memory: Tensor
    ) -> Tensor:
        """Advance the first rows by one frame and return the envelopes, (rows, bands) float32.

        spectrum (rows, bins, 2) of as many bins as the input's rate has, any stride between rows; cutoff, active
        (rows,); heard (all rows,) int64 frames before; rings by layer (all rows, size, channels); memory (all rows, 1,
        hidden), which active rows advance. What rings take of a row that is not active lies where its next frame will.
        """
        skips = []
        x = self._enter(spectrum, cutoff)
        for i in range(self._depth):
            x = self._block("encoder", i, x, heard, rings)
            skips.append(x)
            x = self._linear(f"down.{i}", x)
        for i in range(len(self._net.bottleneck)):
            x = self._block("bottleneck", i, x, heard, rings)
        x = self._remember(x, active, memory)
        for i in reversed(range(self._depth)):
            x = self._linear(f"up.{i}", x, more=skips[i])
            x = self._block("decoder", i, x, heard, rings)
        return self._linear("leave", x, norm="norm")

    def _enter(self, spectrum: Tensor, cutoff: Tensor) -> Tensor:
        net, dense, rows = self._net, self._dense["enter"], len(spectrum)
        spec, width, block = net.config.spec, dense.weight.shape[1], rows_a_program(rows)
        columns = min(COLUMNS, tile(width))
        x = spectrum.new_empty(rows, width)
        launch(
            self._kernels.enter_kernel,
            programs(rows, block) * programs(width, columns),
            (spectrum, cutoff, net.hz_in, net.hz_out, dense.weight, dense.bias, x, rows),
            moved=(spectrum, cutoff, net.hz_in, net.hz_out, dense.weight, dense.bias, x),
            operations=rows * (2 * dense.weight.numel() + 12 * spec.bins_in),
            STRIDE=spectrum.stride(0), BINS=spectrum.shape[1], BINS_IN=spec.bins_in, BINS_OUT=spec.bins_out, N=width,
            BIN_HZ=spec.rate / spec.synthesis, FLOOR=POWER_FLOOR, PRECISION=self._precision,
            BLOCK_M=block, BLOCK_N=columns, BLOCK_K=ENTERED, num_warps=warps(block, columns), num_stages=2,
        )  # fmt: skip
        return x

    def _block(self, part: str, i: int, x: Tensor, heard: Tensor, rings: Rings) -> Tensor:
        block, ring, name = cast(Block, getattr(self._net, part)[i]), rings[f"{part}{i}"], f"{part}.{i}"
        past, norm, (rows, width) = block.past, self._norm[f"{name}.norm"], x.shape
        y, out, few = torch.empty_like(x, dtype=self._kind), torch.empty_like(x), PAST_TILE // tile(width)
        kernel = past.weight.shape[0]
        launch(
            self._kernels.past_kernel,
            programs(rows, few),
            (x, ring, heard, past.weight, past.bias, norm.gain, norm.shift, y, rows),
            moved=(x, ring[:rows, :kernel], heard[:rows], past.weight, past.bias, norm.gain, norm.shift, y),
            operations=rows * width * (2 * kernel + 8),
            C=width, KERNEL=kernel, DILATION=past.dilation, BLOCK_M=few, BLOCK_C=tile(width),
        )  # fmt: skip
        wide, narrow, many = self._dense[f"{name}.widen"], self._dense[f"{name}.narrow"], rows_a_program(rows)
        weights = (wide.weight, wide.bias, narrow.weight, narrow.bias, block.scale)
        launch(
            self._kernels.mlp_kernel,
            programs(rows, many),
            (y, x, *weights, out, rows),
            moved=(y, x, *weights, out),
            operations=rows * (4 * wide.weight.numel() + 10 * len(wide.bias)),
            C=width, HIDDEN=len(wide.bias), PRECISION=self._precision,
            BLOCK_M=many, BLOCK_C=tile(width), BLOCK_H=HIDDEN, BLOCK_K=DEPTH, num_warps=warps(many, tile(width)),
        )  # fmt: skip
        return out

    def _remember(self, x: Tensor, active: Tensor, memory: Tensor) -> Tensor:
        (rows, width), out, norm = x.shape, torch.empty_like(x), self._norm["memory.norm"]
        enter, leave, block = self._dense["memory.enter"], self._dense["memory.leave"], rows_a_program(rows)
        weights = (enter.weight, enter.bias, leave.weight, leave.bias, norm.gain, norm.shift)
        hidden = len(leave.weight)
        launch(
            self._kernels.memory_kernel,
            programs(rows, block),
            (x, memory, active, *weights, out, rows),
            moved=(x, memory[:rows], memory[:rows], active, *weights, out),
            operations=rows * (2 * enter.weight.numel() + 2 * leave.weight.numel() + 20 * hidden),
            C=width, HIDDEN=hidden, PRECISION=self._precision,
            BLOCK_M=block, BLOCK_C=tile(width), BLOCK_H=HIDDEN, BLOCK_K=DEPTH,
            num_warps=warps(block, tile(width)), num_stages=2,
        )  # fmt: skip
        return out

    def _linear(self, name: str, x: Tensor, more: Tensor | None = None, norm: str | None = None) -> Tensor:
        """The linear layer of x, through a layer norm where it has one, with `more` beside it where that is given."""
        (rows, width), dense, block = x.shape, self._dense[name], rows_a_program(len(x))
        columns = dense.weight.shape[1]
        out = x.new_empty(rows, columns)
        constants = (self._norm[norm].gain, self._norm[norm].shift) if norm else (dense.bias, dense.bias)  # not read
        beside = () if more is None else (more,)
        launch(
            self._kernels.linear_kernel,
            programs(rows, block),
            (x, x if more is None else more, dense.weight, dense.bias, *constants, out, rows),
            moved=(x, *beside, dense.weight, dense.bias, out),
            operations=rows * (2 * dense.weight.numel() + (8 * width if norm else 0)),
            C=width, MORE=sum(b.shape[1] for b in beside), N=columns, NORM=norm is not None, PRECISION=self._precision,
            BLOCK_M=block, BLOCK_C=tile(width), BLOCK_N=tile(columns), BLOCK_K=DEPTH,
            num_warps=warps(block, max(tile(columns), tile(width) if norm else 0)), num_stages=2,
        )  # fmt: skip
        return out


def fused(net: BandNet, kind: torch.dtype, exact: bool) -> FusedNet | None:
    """Return `net` as kernels, or None, with a line in the log, where Triton is missing or cannot run here.

    exact: float32 products keep float32's precision, else TF32's.
    """
    device = net.hz_in.device
    try:
        made = FusedNet(net, kind, EXACT if exact else "tf32")
        spec = net.config.spec
        shapes = {name: (1, size + 1, width) for name, (size, width) in net.state_shapes().items()}
        rings = {name: torch.zeros(shape, device=device, dtype=kind) for name, shape in shapes.items()}
        hidden, none = rings["memory"].float(), torch.zeros(1, dtype=torch.int64, device=device)
        spectrum, cutoff = torch.zeros(1, spec.bins_in, 2, device=device), torch.zeros(1, device=device)
        made.step(spectrum, cutoff, none.bool(), none, rings, hidden)
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # what a launch did wrong is raised here
    except Exception as error:  # of Triton, its compiler, the driver: whatever it is, the torch form runs
        log.warning("without Triton's kernels: %s: %s", type(error).__name__, error)
        return None
    return made
