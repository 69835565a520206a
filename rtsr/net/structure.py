"""The generated band in torch, on any device and differentiable: the counterpart of `dsp.structure`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..dsp import structure as host
from ..dsp.envelope import Bands
from ..dsp.windows import synthesis_window
from ..spec import Spec

MASK = 0xFFFFFFFF


def phase_index(frame: Tensor, bins: Tensor) -> Tensor:
    """Return `dsp.structure.phase_index` for int64 frames (n, 1) and bins (bins_out,), shape (n, bins_out)."""
    h = (frame * 0x9E3779B1 + bins * 0x85EBCA77) & MASK
    h = ((h ^ (h >> 16)) * 0x45D9F3B) & MASK
    h = ((h ^ (h >> 16)) * 0x45D9F3B) & MASK
    return (h ^ (h >> 16)) >> 24


def triangles(bands: Bands) -> Tensor:
    """Return how much of each band a bin belongs to, (bins_out, bands)."""
    bins, lower = torch.arange(len(bands.lower)), torch.from_numpy(bands.lower).long()
    share = torch.zeros(len(bins), bands.count)
    share[bins, lower] = 1 - torch.from_numpy(bands.fraction)
    share[bins, lower + 1] = torch.from_numpy(bands.fraction)
    return share


def measuring(bands: Bands) -> Tensor:
    """Return the matrix that makes mean band powers of bin powers, (bins_out, bands)."""
    matrix = triangles(bands) * torch.from_numpy(bands.weight)
    matrix[: bands.first_bin] = 0
    return matrix


class Structure:
    """Generates frames of one model on one device; every tensor given to it lies there."""

    def __init__(self, spec: Spec, device: torch.device | str = "cpu") -> None:
        self.spec, bands = spec, Bands.of(spec)
        self.bin_hz, self.silence = spec.rate / spec.synthesis, host.silence_power(spec)
        self.interpolate = triangles(bands).T.contiguous().to(device)
        self.measure = measuring(bands).to(device)
        self.bins = torch.arange(spec.bins_out, device=device)
        self.table = torch.from_numpy(host.phasors).to(device)
        self.window = torch.from_numpy(synthesis_window(spec)).to(device)

    def band_powers(self, power: Tensor) -> Tensor:
        """Return the mean power of each band, (..., bands), of the bins' powers (..., bins_out)."""
        return power @ self.measure

    def short_spectra(self, signal: Tensor) -> Tensor:
        """Return the complex spectra of a signal's frames through the synthesis window.

        (rows, samples) at the model's rate to (rows, frames, bins_out); frame k ends with sample (k + 1) * hop.
        """
        frames = F.pad(signal, (self.spec.overlap, 0)).unfold(-1, self.spec.synthesis, self.spec.hop)
        return torch.fft.rfft(frames * self.window)

    def generate(self, short: Tensor, envelope: Tensor, cutoff: Tensor, frame: Tensor) -> Tensor:
        """Return generated spectra (n, bins_out, 2), zero below the cutoff.

        short (n, bins, 2): received frames through the synthesis window; envelope (n, bands); cutoff (n,) in Hz; frame
        (n,) int64: how many frames each row had before.
        """
        short = F.pad(short, (0, 0, 0, self.spec.bins_out - short.shape[1]))
        # A row that is not active may have any cutoff, zero included, and must not divide by it.
        cutoff, frame, hz = cutoff.clamp(min=self.bin_hz).unsqueeze(1), frame.unsqueeze(1), self.bins * self.bin_hz
        edge = (cutoff / self.bin_hz).long().clamp(max=self.spec.bins_out)
        start = edge // 2
        copied = self.bins >= edge
        source = torch.where(copied, start + (self.bins - edge).clamp(min=0) % (edge - start), self.bins)
        copies = short.gather(1, source.unsqueeze(-1).expand(-1, -1, 2))
        power = self.band_powers(copies.square().sum(-1))
        gain = torch.log(power + host.POWER_FLOOR) * -0.5 @ self.interpolate
        log_power = envelope @ self.interpolate
        level = 0.5 * log_power.clamp(max=host.ENVELOPE_CEILING)
        along = (hz / cutoff - host.NOISE_FROM) / (host.NOISE_TO - host.NOISE_FROM)
        ratio = host.LEAST_NOISE + (host.MOST_NOISE - host.LEAST_NOISE) * along.clamp(0, 1)
        audible = (short.square().sum((1, 2)) / self.silence).clamp(max=1).unsqueeze(1)
        missing = ((hz - cutoff) / self.bin_hz + 1).clamp(max=1) * audible
        share = torch.where(copied & (log_power >= host.LEAST), missing, 0) * torch.rsqrt(1 + ratio.square())
        turned = 1 - 2 * ((self.bins - source) * frame % 2)
        noise = self.table[phase_index(frame, self.bins)]
        copies = copies * (share * turned * torch.exp(level + gain)).unsqueeze(-1)
        return copies + noise * (share * ratio * torch.exp(level)).unsqueeze(-1)
