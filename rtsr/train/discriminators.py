"""Discriminators of generated and true envelopes, and the adversarial loss of the generator.

They see how loud each band is over time, the received bands included. They do not see the fine structure inside a band,
which the network does not choose. Least squares as in Mao et al. 2017 (arXiv 1611.04076), features matched as in Kumar
et al. 2019 (arXiv 1910.06711).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCALES = (1, 3, 9)  # hops that one step of a discriminator lasts
SLOPE = 0.1


@dataclass(frozen=True, slots=True)
class Adversarial:
    """How much the discriminators count, how wide they are, and how fast they learn."""

    realism: float = 1.0  # weight of the adversarial loss
    features: float = 2.0  # weight of the feature matching loss
    channels: int = 32
    rate: float = 5e-4
    ramp: int = 300  # steps over which both weights rise from 0


class ScaleDiscriminator(nn.Module):
    """Convolves over time, at one scale, and over bands."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        strides = ((1, 1), (1, 2), (2, 2), (1, 2))
        widths = (2, *[channels] * len(strides))
        sizes = zip(widths[:-1], widths[1:], strides, strict=True)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 5, stride, padding=(0, 2)) for a, b, stride in sizes)
        self.leave = nn.Conv2d(channels, 1, 3, padding=(0, 1))

    def forward(self, envelope: Tensor, missing: Tensor) -> list[Tensor]:
        """Return all layers, the last one the answer; envelope (rows, frames, bands), missing (rows, 1, bands)."""
        seen = F.avg_pool2d(envelope.unsqueeze(1), (self.scale, 1))
        x = torch.cat([seen, missing.unsqueeze(1).expand(-1, -1, seen.shape[2], -1)], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)
        layers = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            layers.append(x)
        return [*layers, self.leave(x)]


class Discriminators:
    """The discriminators of a run and their optimiser: `compare` is the generator's loss, `learn` their own step."""

    def __init__(self, weights: Adversarial, device: torch.device) -> None:
        self.weights = weights
        nets = nn.ModuleList(ScaleDiscriminator(weights.channels, scale) for scale in SCALES)
        self.nets = nets.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.nets.parameters(), weights.rate, betas=(0.5, 0.99))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"nets": self.nets.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.nets.load_state_dict(state["nets"])
        self.optimiser.load_state_dict(state["optimiser"])

    def look(self, net: nn.Module, envelope: Tensor, missing: Tensor) -> list[Tensor]:
        """Return a discriminator's layers, computed under bf16 autocast."""
        with torch.autocast(envelope.device.type, torch.bfloat16):
            return [layer.float() for layer in net(envelope, missing)]

    def learn(self, generated: Tensor, true: Tensor, missing: Tensor) -> Tensor:
        """Take one step of the discriminators; returns their error, 0.5 where they find no difference.

        generated and true (rows, frames, bands), missing (rows, 1, bands).
        """
        generated = generated.detach()
        answers = [(self.look(net, true, missing)[-1], self.look(net, generated, missing)[-1]) for net in self.nets]
        wrong = torch.stack([(1 - t).square().mean() + g.square().mean() for t, g in answers]).mean()
        self.optimiser.zero_grad()
        wrong.backward()
        self.optimiser.step()
        return wrong.detach()

    def compare(self, generated: Tensor, true: Tensor, missing: Tensor) -> Tensor:
        """Return the adversarial and feature matching loss of the generator; shapes as in `learn`."""
        self.nets.requires_grad_(False)
        unreal, unlike = [], []
        for net in self.nets:
            with torch.no_grad():
                expected = self.look(net, true, missing)
            found = self.look(net, generated, missing)
            unreal.append((1 - found[-1]).square().mean())
            unlike += [
                (t - g).abs().mean() / (t.abs().mean() + 1e-3) for t, g in zip(expected[:-1], found[:-1], strict=True)
            ]
        self.nets.requires_grad_(True)
        return self.weights.realism * torch.stack(unreal).mean() + self.weights.features * torch.stack(unlike).mean()
