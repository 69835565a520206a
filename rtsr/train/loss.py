"""The error of an envelope, and what of it discriminators see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..dsp.envelope import Bands
from ..net.structure import Structure, measuring
from ..spec import Spec
from .pairs import Pairs

BELOW = 10  # bands under the envelope's lowest, down to 190 Hz, that discriminators see too
FLOOR_DB = -50.0  # under a row's mean power per bin; how far an envelope lies under that is not heard
FLOOR = 1e-9  # and never less
SPREAD = 4.0  # natural log of the powers that discriminators see as 1


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much the level error counts, and which quantile of what is likely the network is to give.

    Under 0.5 it is rather too quiet than too loud, and the quieter the less sure it is.
    """

    level: float = 0.3
    quantile: float = 0.35


@dataclass(frozen=True, slots=True)
class Target:
    """What a batch's envelopes are compared with; `missing` (rows, 1, bands) is the share of each band to generate.

    envelope (rows, frames, bands) and received (rows, frames, BELOW + bands): natural log of power over `floor`
    (rows, 1, 1), which is added to every power; mean (rows, 1, 1): natural log of the row's mean power.
    """

    envelope: Tensor
    received: Tensor
    missing: Tensor
    floor: Tensor
    mean: Tensor


class EnvelopeLoss:
    """Compares envelopes of one model's frames with those of the true wideband speech."""

    def __init__(self, spec: Spec, weights: LossWeights, device: torch.device) -> None:
        self.weights, self.bands = weights, spec.bands
        self.structure = Structure(spec, device)
        self.measure_all = measuring(Bands.of(spec, BELOW)).to(device)
        self.centre_share = (self.structure.bins * self.structure.measure.T).sum(1) / (spec.bins_out - 1)

    @torch.no_grad()
    def target(self, pairs: Pairs) -> Target:
        """Measure what the envelopes should be."""
        structure = self.structure
        true = structure.short_spectra(pairs.target).abs().square()
        received = structure.short_spectra(pairs.received).abs().square()
        mean = true.mean((1, 2), keepdim=True)
        floor = mean * 10 ** (FLOOR_DB / 10) + FLOOR
        above = structure.bins * structure.bin_hz - pairs.cutoff.unsqueeze(1)
        missing = structure.band_powers((above / structure.bin_hz + 1).clamp(0, 1))
        if pairs.band is not None:
            missing = missing * (self.centre_share <= pairs.band.unsqueeze(1))
        return Target(
            torch.log(structure.band_powers(true) + floor),
            torch.log(received @ self.measure_all + floor),
            missing.unsqueeze(1),
            floor,
            torch.log(mean + FLOOR),
        )

    def over_floor(self, envelope: Tensor, target: Target) -> Tensor:
        """Return a network's envelope (rows, frames, bands) as `Target.envelope` is given."""
        return torch.log(envelope.exp() + target.floor)

    def level_error(self, envelope: Tensor, target: Target) -> Tensor:
        """Return the mean quantile (pinball) error of the levels over what is missing (Koenker and Bassett 1978)."""
        louder = self.over_floor(envelope, target) - target.envelope
        quantile = self.weights.quantile
        error = torch.maximum((1 - quantile) * louder, -quantile * louder)
        return 2 * (error * target.missing).mean() / target.missing.mean().clamp(min=0.1)

    def seen(self, envelope: Tensor, target: Target) -> Tensor:
        """Return what discriminators see, (rows, frames, BELOW + bands): `envelope` only where bands are missing."""
        below = target.received[..., :BELOW]
        kept = target.received[..., BELOW:]
        whole = torch.cat([below, kept + (envelope - kept) * target.missing], dim=-1)
        return (whole - target.mean) / SPREAD

    def where(self, target: Target) -> Tensor:
        """Return which of the bands that discriminators see are generated, (rows, 1, BELOW + bands)."""
        return torch.cat([torch.zeros_like(target.received[:, :1, :BELOW]), target.missing], dim=-1)
