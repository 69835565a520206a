"""The losses: log-spectral distance at several resolutions, and a little of the complex error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .pairs import Pairs

METRIC_SIZE = 2048
CLAMP = 1e-8  # of the power at size 2048, as in the metric; smaller sizes in proportion


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each term counts, and in which windows it looks."""

    log_spectral: float = 1.0
    complex: float = 0.05
    sizes: tuple[tuple[int, float], ...] = ((128, 0.5), (512, 1.0), (2048, 1.5))  # and how much each counts
    complex_size: int = 512


def spectra(x: Tensor, size: int) -> Tensor:
    """Return the STFT (Hann, quarter hop) of (rows, samples) as (rows, bins, frames, 2), real and imaginary."""
    window = torch.hann_window(size, device=x.device)
    return torch.view_as_real(torch.stft(x, size, size // 4, window=window, center=False, return_complex=True))


def log_spectral_distance(estimate: Tensor, truth: Tensor, size: int) -> Tensor:
    """Mean over frames of the root-mean-square over bins of the difference in log10 power."""
    clamp = CLAMP * size / METRIC_SIZE
    difference = torch.log10(estimate.square().sum(-1) + clamp) - torch.log10(truth.square().sum(-1) + clamp)
    return difference.square().mean(1).add(1e-6).sqrt().mean()


def below(band: Tensor, spectrum: Tensor) -> Tensor:
    """Return 1 for the bins of (rows, bins, frames, 2) in each row's band (a share of half the rate) and 0 above."""
    bins = torch.arange(spectrum.shape[1], device=spectrum.device) / (spectrum.shape[1] - 1)
    return (bins <= band.unsqueeze(1)).to(spectrum.dtype).view(len(band), -1, 1, 1)


def complex_error(estimate: Tensor, truth: Tensor, received: Tensor) -> Tensor:
    """|estimate - truth| over |truth - received| row by row: 1 for generating nothing, less for phases that fit."""
    wrong = (estimate - truth).abs().mean((1, 2, 3))
    missing = (truth - received).abs().mean((1, 2, 3))
    return (wrong / (missing + 1e-4)).clamp(max=4).mean()


def loss(generated: Tensor, pairs: Pairs, weights: LossWeights) -> tuple[Tensor, dict[str, float]]:
    """Return the total and its parts for a generated band (rows, samples)."""
    output = pairs.received + generated
    distances = {}
    for size, _ in weights.sizes:
        estimate, truth = spectra(output, size), spectra(pairs.target, size)
        if pairs.band is not None:
            known = below(pairs.band, truth)
            estimate, truth = estimate * known, truth * known
        distances[size] = log_spectral_distance(estimate, truth, size)
        if size == weights.complex_size:
            error = complex_error(estimate, truth, spectra(pairs.received, size))
    shares = [share for _, share in weights.sizes]
    distance = torch.stack([share * distances[size] for size, share in weights.sizes]).sum() / sum(shares)
    total = weights.log_spectral * distance + weights.complex * error
    lsd = distances[METRIC_SIZE].item()
    return total, {"log_spectral": distance.item(), "lsd_2048": lsd, "complex": error.item()}
