"""The optimisers of a run, on one schedule."""

from __future__ import annotations

from typing import Any

import torch

from ..net.model import BandNet
from .recipes import Recipe


class Optimisers:
    """Muon (Jordan et al. 2024) for the matrices between hidden channels, AdamW for all else, on one schedule.

    Muon's rate is scaled to AdamW's usual step size (Liu et al. 2025, arXiv 2502.16982).
    """

    def __init__(self, net: BandNet, recipe: Recipe) -> None:
        hidden: list[torch.nn.Parameter] = []
        rest: list[torch.nn.Parameter] = []
        for module in net.modules():
            inner = isinstance(module, torch.nn.Linear) and module not in (net.enter, net.leave)
            for name, parameter in module.named_parameters(recurse=False):
                (hidden if inner and name == "weight" else rest).append(parameter)
        self.rates = (recipe.matrix_rate, recipe.rate)
        self.both: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                hidden, recipe.matrix_rate, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(rest, recipe.rate, betas=(0.8, 0.99), weight_decay=0.01),
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimiser in self.both:
            optimiser.zero_grad()

    def step(self, share: float) -> None:
        """Take a step at a share of the full rates."""
        for optimiser, rate in zip(self.both, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = share * rate
            optimiser.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what `load_state_dict` takes."""
        return [optimiser.state_dict() for optimiser in self.both]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from a checkpoint."""
        for optimiser, state in zip(self.both, states, strict=True):
            optimiser.load_state_dict(state)
