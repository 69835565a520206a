"""Networks that learn to tell generated envelopes from true ones, and what the generator is to learn from them.

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

    realism: float = 1.0  # of how true they take the envelope for
    features: float = 2.0  # of how alike their layers see both
    channels: int = 96
    rate: float = 5e-4
    ramp: int = 800  # steps over which they come to count in full


class ScaleDiscriminator(nn.Module):
    """Convolves over time at one scale, with the bands as channels."""

    def __init__(self, bands: int, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        sizes = ((2 * bands, channels, 1), (channels, channels, 1), (channels, channels, 2), (channels, channels, 1))
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 5, stride) for a, b, stride in sizes)
        self.leave = nn.Conv1d(channels, 1, 3)

    def forward(self, envelope: Tensor, missing: Tensor) -> list[Tensor]:
        """Return all layers, the last one the answer; envelope (rows, bands, frames), missing (rows, bands, 1)."""
        seen = F.avg_pool1d(envelope, self.scale) if self.scale > 1 else envelope
        x = torch.cat([seen, missing.expand(-1, -1, seen.shape[2])], dim=1)
        layers = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            layers.append(x)
        return [*layers, self.leave(x)]


class Discriminators:
    """The discriminators of a run and their optimiser: `compare` is the generator's loss, `learn` their own step."""

    def __init__(self, weights: Adversarial, bands: int, device: torch.device) -> None:
        self.weights = weights
        self.nets = nn.ModuleList(ScaleDiscriminator(bands, weights.channels, scale) for scale in SCALES).to(device)
        self.optimiser = torch.optim.AdamW(self.nets.parameters(), weights.rate, betas=(0.5, 0.99))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"nets": self.nets.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.nets.load_state_dict(state["nets"])
        self.optimiser.load_state_dict(state["optimiser"])

    def learn(self, generated: Tensor, true: Tensor, missing: Tensor) -> float:
        """Take one step of the discriminators; returns their error, 0.5 for those that cannot tell.

        generated and true (rows, bands, frames), missing (rows, bands, 1).
        """
        wrong = torch.stack(
            [
                (1 - net(true, missing)[-1]).square().mean() + net(generated.detach(), missing)[-1].square().mean()
                for net in self.nets
            ]
        ).mean()
        self.optimiser.zero_grad()
        wrong.backward()
        self.optimiser.step()
        return wrong.item()

    def compare(self, generated: Tensor, true: Tensor, missing: Tensor) -> Tensor:
        """Return what gives the generated envelope away, for the generator to lower; shapes as in `learn`."""
        self.nets.requires_grad_(False)
        unreal, unlike = [], []
        for net in self.nets:
            with torch.no_grad():
                expected = net(true, missing)
            found = net(generated, missing)
            unreal.append((1 - found[-1]).square().mean())
            unlike += [
                (t - g).abs().mean() / (t.abs().mean() + 1e-3) for t, g in zip(expected[:-1], found[:-1], strict=True)
            ]
        self.nets.requires_grad_(True)
        return self.weights.realism * torch.stack(unreal).mean() + self.weights.features * torch.stack(unlike).mean()
