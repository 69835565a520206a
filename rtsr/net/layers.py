"""Causal layers with explicit state: `y, state = layer(x, state)`; x is (rows, frames, channels).

One frame with the state of the frames before it gives the same as all frames at once from a zero state.
Channels come last because linear layers in that layout train about three times faster on a CPU than 1x1
convolutions.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CausalDepthwise(nn.Module):
    """A depthwise convolution over past frames; its state is the `(kernel - 1) * dilation` frames before."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.memory = (kernel - 1) * dilation
        self.weight = nn.Parameter(torch.randn(kernel, channels) * kernel**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def state_shape(self) -> tuple[int, ...]:
        """Shape of one row's state: (memory, channels)."""
        return (self.memory, self.weight.shape[1])

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([state, x], dim=1)
        if x.shape[1] == 1:  # one frame: a strided slice and a sum, far cheaper than a convolution call
            y = (seen[:, :: self.dilation] * self.weight).sum(1, keepdim=True) + self.bias
        else:
            taps = self.weight.t().unsqueeze(1)
            y = F.conv1d(seen.transpose(1, 2), taps, self.bias, dilation=self.dilation, groups=x.shape[2])
            y = y.transpose(1, 2)
        return y, seen[:, x.shape[1] :]


class Block(nn.Module):
    """A causal ConvNeXt block (Liu et al. 2022, arXiv 2201.03545): depthwise, norm, expand, GELU, project, add."""

    def __init__(self, channels: int, kernel: int, dilation: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.past = CausalDepthwise(channels, kernel, dilation)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, hidden)
        self.narrow = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def state_shape(self) -> tuple[int, ...]:
        """Shape of one row's state."""
        return self.past.state_shape()

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.past(x, state)
        y = self.narrow(F.gelu(self.widen(self.norm(y)), approximate="tanh"))
        return x + self.scale * y, state


class MinGru(nn.Module):
    """A residual minimal GRU (Feng et al. 2024, arXiv 2410.01201): the memory of past frames.

    Gate and candidate depend on the input alone, so only the blend of old and new runs frame after frame.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.enter = nn.Linear(channels, 2 * hidden)
        self.leave = nn.Linear(hidden, channels)
        with torch.no_grad():  # time constants from one frame to about a second, as in a leaky integrator
            self.enter.bias[:hidden] = torch.linspace(0, -5, hidden)

    def state_shape(self) -> tuple[int, ...]:
        """Shape of one row's state: (1, hidden)."""
        return (1, self.leave.in_features)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        gate, candidate = self.enter(self.norm(x)).float().chunk(2, dim=-1)
        gate = torch.sigmoid(gate)
        kept, added = 1 - gate, gate * candidate
        if x.shape[1] == 1:
            heard = state = kept * state + added
        else:
            heard = scanned(kept, added, state)
            state = heard[:, -1:]
        return x + self.leave(heard), state


def scanned(kept: Tensor, added: Tensor, state: Tensor) -> Tensor:
    """Return y[t] = kept[t] * y[t - 1] + added[t], where y[-1] is `state`; all (rows, frames, channels)."""
    return cast(Tensor, Scan.apply(kept, added, state))  # type: ignore[no-untyped-call]


class Scan(torch.autograd.Function):
    """`scanned`, of which backwards only y is kept: the gradient runs the same way from the end to the start."""

    @staticmethod
    def forward(ctx: Any, kept: Tensor, added: Tensor, state: Tensor) -> Tensor:
        y = _scan(kept, added, state)
        ctx.save_for_backward(kept, y, state)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kept, y, state = ctx.saved_tensors
        later = torch.cat([kept[:, 1:], torch.zeros_like(kept[:, :1])], dim=1)
        to_added = _scan(later.flip(1), gradients[0].flip(1), torch.zeros_like(state)).flip(1)
        before = torch.cat([state, y[:, :-1]], dim=1)
        return to_added * before, to_added, to_added[:, :1] * kept[:, :1]


def _scan(kept: Tensor, added: Tensor, state: Tensor) -> Tensor:
    """Frame by frame on a CPU; elsewhere in parallel, by doubling how many frames each is the sum of."""
    if kept.device.type == "cpu":
        y = torch.empty_like(added)
        for t in range(added.shape[1]):
            state = torch.addcmul(added[:, t : t + 1], kept[:, t : t + 1], state, out=y[:, t : t + 1])
        return y
    return doubled(kept, added, state)


def doubled(kept: Tensor, added: Tensor, state: Tensor) -> Tensor:
    """Return what `scanned` does, in as many launches as there are doublings (Hillis and Steele 1986)."""
    y = torch.cat([torch.addcmul(added[:, :1], kept[:, :1], state), added[:, 1:]], dim=1)
    reach = 1
    while reach < y.shape[1]:
        y = torch.cat([y[:, :reach], torch.addcmul(y[:, reach:], kept[:, reach:], y[:, :-reach])], dim=1)
        kept = torch.cat([kept[:, :reach], kept[:, reach:] * kept[:, :-reach]], dim=1)
        reach *= 2
    return y
