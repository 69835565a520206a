"""THE network: a causal bottleneck encoder-decoder over frames that says how loud the band above the cutoff is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ..dsp.structure import POWER_FLOOR
from ..spec import Spec
from .layers import Block, MinGru

State = dict[str, Tensor]

QUIET = -6.0  # natural log of the band powers that an untrained network gives


@dataclass(frozen=True, slots=True)
class NetConfig:
    """Widths and depths; the encoder narrows through `widths`, the decoder widens back."""

    widths: tuple[int, ...] = (256, 192, 128)
    kernel: int = 7
    dilations: tuple[int, ...] = (1, 2, 4)
    expansion: float = 2.0
    bottleneck_blocks: int = 2
    memory: int = 256
    spec: Spec = field(default_factory=Spec)

    def as_dict(self) -> dict[str, object]:
        """Return plain values for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> NetConfig:
        """Rebuild from `as_dict` after a trip through JSON."""
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "spec"}
        return cls(spec=Spec(**values["spec"]), **plain)  # type: ignore[arg-type]


class BandNet(nn.Module):
    """Received spectra in, envelopes of the wideband frames out, one frame per hop, state in and state out.

    `forward(spectrum, cutoff, state)`: spectrum (rows, frames, bins_in, 2) real and imaginary parts; cutoff
    (rows, frames) in Hz; state a dict of (rows, ...) tensors. Returns the natural log of the mean power of each band of
    `dsp.envelope`, (rows, frames, bands), and the new state. Offline is the same call over many frames from
    `new_state`. Stacked skips join encoder level b to decoder level b, as in Kuleshov et al. (arXiv 1708.00853).
    """

    hz_in: Tensor
    hz_out: Tensor

    def __init__(self, config: NetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetConfig()
        spec, widths = config.spec, config.widths
        self.register_buffer("hz_in", torch.linspace(0, spec.rate / 2, spec.bins_in), persistent=False)
        self.register_buffer("hz_out", torch.linspace(0, spec.rate / 2, spec.bins_out), persistent=False)
        self.enter = nn.Linear(3 * spec.bins_in + spec.bins_out, widths[0])
        outer = list(zip(widths[:-1], config.dilations[:-1], strict=True))
        self.encoder = nn.ModuleList(Block(w, config.kernel, d, config.expansion) for w, d in outer)
        self.down = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.bottleneck = nn.ModuleList(
            Block(widths[-1], config.kernel, config.dilations[-1] * 2**i, config.expansion)
            for i in range(config.bottleneck_blocks)
        )
        self.memory = MinGru(widths[-1], config.memory)
        self.up = nn.ModuleList(nn.Linear(a + b, b) for a, b in zip(widths[1:], widths[:-1], strict=True))
        self.decoder = nn.ModuleList(Block(w, config.kernel, d, config.expansion) for w, d in outer)
        self.norm = nn.LayerNorm(widths[0])
        self.leave = nn.Linear(widths[0], spec.bands)
        with torch.no_grad():
            self.leave.bias.fill_(QUIET)

    def stateful(self) -> dict[str, Block | MinGru]:
        """Return the layers that carry state, by the state's name, in the order of the path."""
        layers = {f"encoder{i}": b for i, b in enumerate(self.encoder)}
        layers |= {f"bottleneck{i}": b for i, b in enumerate(self.bottleneck)}
        layers["memory"] = self.memory
        layers |= {f"decoder{i}": b for i, b in enumerate(self.decoder)}
        return cast(dict[str, Block | MinGru], layers)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of one row of every state."""
        return {name: layer.state_shape() for name, layer in self.stateful().items()}

    def new_state(self, rows: int = 1) -> State:
        """Return the state of `rows` streams that have heard nothing yet."""
        return {name: self.hz_in.new_zeros(rows, *shape) for name, shape in self.state_shapes().items()}

    def forward(self, spectrum: Tensor, cutoff: Tensor, state: State) -> tuple[Tensor, State]:
        power = spectrum.square().sum(-1)
        x = self.enter(self.features(spectrum, power, cutoff))
        new: State = {}
        skips = []
        for i, (block, down) in enumerate(zip(self.encoder, self.down, strict=True)):
            x, new[f"encoder{i}"] = block(x, state[f"encoder{i}"])
            skips.append(x)
            x = down(x)
        for i, block in enumerate(self.bottleneck):
            x, new[f"bottleneck{i}"] = block(x, state[f"bottleneck{i}"])
        x, new["memory"] = self.memory(x, state["memory"])
        for i in reversed(range(len(skips))):
            x = self.up[i](torch.cat([x, skips[i]], dim=-1))
            x, new[f"decoder{i}"] = self.decoder[i](x, state[f"decoder{i}"])
        return self.leave(self.norm(x)).float(), new

    def features(self, spectrum: Tensor, power: Tensor, cutoff: Tensor) -> Tensor:
        """Return log-magnitude and unit phase of the received bins, zero above the cutoff, and where that is."""
        received = (self.hz_in < cutoff.unsqueeze(-1)).to(power.dtype)
        log_power = (torch.log(power + POWER_FLOOR) / 6 + 1) * received
        phase = spectrum * (torch.rsqrt(power + POWER_FLOOR) * received).unsqueeze(-1)
        return torch.cat([log_power, phase.flatten(-2), self.missing(cutoff)], dim=-1)

    def missing(self, cutoff: Tensor) -> Tensor:
        """Return 0 for bins that were received and 1 for missing ones, rising over the last bin under the cutoff.

        Where it begins earlier, the generated band's side lobes blur what was received.
        """
        width = self.config.spec.rate / self.config.spec.synthesis
        return ((self.hz_out - cutoff.unsqueeze(-1)) / width + 1).clamp(0, 1)
