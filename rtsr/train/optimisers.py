"""The optimisers of a run, on one schedule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..net.model import BandNet
from .recipes import Recipe


class Muon(torch.optim.Muon):
    """torch's Muon, with all matrices of a shape, either way round, in one product: few launches on a device."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step with the gradients there are."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in parameters]
            states = [self.state[p] for p in parameters]
            for state, gradient in zip(states, gradients, strict=True):
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
            momenta, momentum = [state["momentum_buffer"] for state in states], group["momentum"]
            torch._foreach_lerp_(momenta, gradients, 1 - momentum)
            updates = torch._foreach_lerp(gradients, momenta, momentum)  # Nesterov's
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            shapes: dict[tuple[int, ...], list[int]] = {}
            for i, update in enumerate(updates):
                shapes.setdefault(tuple(sorted(update.shape)), []).append(i)
            for shape, those in shapes.items():
                lying = [updates[i].shape[0] <= updates[i].shape[1] for i in those]
                flat = [updates[i] if lies else updates[i].T for i, lies in zip(those, lying, strict=True)]
                even = orthogonalised(torch.stack(flat), group["ns_coefficients"], group["ns_steps"], group["eps"])
                made = [one if lies else one.T for one, lies in zip(even.unbind(), lying, strict=True)]
                rate = 0.2 * group["lr"] * max(shape) ** 0.5
                torch._foreach_add_([parameters[i] for i in those], made, alpha=-rate)


def orthogonalised(matrices: Tensor, coefficients: tuple[float, ...], steps: int, least: float) -> Tensor:
    """Return matrices (n, rows, columns), with no more rows than columns, with singular values near 1, float32."""
    a, b, c = coefficients
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=least)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()


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
            Muon(hidden, recipe.matrix_rate, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
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
