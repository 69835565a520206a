"""Networks that learn to tell restored speech from true speech, for a second stage of training.

The log-spectral loss is served best by a band that is too regular (a pulse a frame); what it cannot see, these can.
Least squares as in Mao et al. 2017 (arXiv 1611.04076), features matched as in Kumar et al. 2019 (arXiv 1910.06711).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

Opinions = list[list[Tensor]]  # a list a judge: what it sees layer by layer, last its verdict (1 true, 0 restored)

SIZES = (128, 256, 512)
PERIODS = (2, 3, 5, 7, 11)
SLOPE = 0.1
EMPHASIS, LOUDER = 0.97, 5.0  # of the signal that periods are judged in: its difference is that much quieter
LEVEL, QUIETEST = 0.3, 1e-3  # rows are judged at this level; quieter ones than this stay quieter


@dataclass(frozen=True, slots=True)
class JudgeWeights:
    """How many channels the judges have, how much they count, and how fast they learn from a share of the rows."""

    channels: int = 16
    verdict: float = 0.3
    features: float = 1.0
    rate: float = 1e-3
    share: float = 0.5


class SpectralJudge(nn.Module):
    """Sees compressed magnitudes of one STFT, as in Jang et al. 2021 (arXiv 2106.07889)."""

    window: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        wide = ((1, channels), (channels, channels), (channels, channels), (channels, channels))
        self.layers = nn.ModuleList(weight_norm(nn.Conv2d(a, b, (5, 3), (2, 1), (2, 1))) for a, b in wide)
        self.leave = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Take (rows, samples); magnitudes to the power 0.3 are about as loud as they sound."""
        spectrum = torch.stft(x, self.size, self.size // 4, window=self.window, center=False, return_complex=True)
        y = (spectrum.abs().square() + 1e-8).pow(0.15).unsqueeze(1)
        seen = []
        for layer in self.layers:
            y = F.leaky_relu(layer(y), SLOPE)
            seen.append(y)
        return [*seen, self.leave(y)]


class PeriodJudge(nn.Module):
    """Sees samples that lie a period apart side by side, as in Kong et al. 2020 (arXiv 2010.05646)."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        wide = ((1, channels), (channels, 2 * channels), (2 * channels, 4 * channels))
        self.layers = nn.ModuleList(weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in wide)
        self.leave = weight_norm(nn.Conv2d(4 * channels, 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Take (rows, samples)."""
        risen = x[:, 1:] - EMPHASIS * x[:, :-1]  # what is generated is 20 to 40 dB under what was received
        whole = risen[:, : risen.shape[1] // self.period * self.period] * LOUDER
        y = whole.view(len(x), 1, -1, self.period)
        seen = []
        for layer in self.layers:
            y = F.leaky_relu(layer(y), SLOPE)
            seen.append(y)
        return [*seen, self.leave(y)]


class Panel:
    """The judges of a run and their optimiser: `judge` says what the network is to lower, `learn` is their own step."""

    def __init__(self, weights: JudgeWeights, device: torch.device) -> None:
        self.weights = weights
        spectral = [SpectralJudge(size, weights.channels) for size in SIZES]
        periodic = [PeriodJudge(period, weights.channels) for period in PERIODS]
        self.judges = nn.ModuleList([*spectral, *periodic]).to(device)
        self.optimiser = torch.optim.AdamW(self.judges.parameters(), weights.rate, betas=(0.8, 0.99))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"judges": self.judges.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.judges.load_state_dict(state["judges"])
        self.optimiser.load_state_dict(state["optimiser"])

    def hear(self, x: Tensor) -> Opinions:
        """Return what all judges see in (rows, samples), under bf16 autocast."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return [judge(x) for judge in self.judges]

    def shown(self, restored: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return the judged share of two batches (rows, samples), all rows as loud as each other."""
        rows = max(1, round(self.weights.share * len(true)))
        gain = LEVEL / (true[:rows].square().mean(1, keepdim=True).sqrt() + QUIETEST)
        return restored[:rows] * gain, true[:rows] * gain

    def judge(self, restored: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return what gives restored speech away, for the network to lower, and how wrong the judges are, for `learn`.

        The first is made of verdicts and of how unlike the truth the judges' layers see it. The truth is heard once for
        both.
        """
        restored, true = self.shown(restored, true)
        expected = self.hear(true)
        self.judges.requires_grad_(False)
        found = self.hear(restored)
        self.judges.requires_grad_(True)
        verdict = torch.stack([(1 - one[-1].float()).square().mean() for one in found]).mean()
        unlike = [
            (t.detach().float() - r.float()).abs().mean() / (t.detach().float().abs().mean() + 1e-3)
            for seen_true, seen in zip(expected, found, strict=True)
            for t, r in zip(seen_true[:-1], seen[:-1], strict=True)
        ]
        pairs = zip(expected, self.hear(restored.detach()), strict=True)
        wrong = [(1 - t[-1].float()).square().mean() + r[-1].float().square().mean() for t, r in pairs]
        giveaway = self.weights.verdict * verdict + self.weights.features * torch.stack(unlike).mean()
        return giveaway, torch.stack(wrong).mean()

    def learn(self, wrong: Tensor) -> float:
        """Take one step of the judges; returns how wrong they were, 0.5 for those who cannot tell."""
        self.optimiser.zero_grad()
        wrong.backward()
        torch.nn.utils.clip_grad_norm_(self.judges.parameters(), 1.0)
        self.optimiser.step()
        return wrong.item()
