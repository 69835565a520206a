"""The path around the network for many streams in torch, on any device: the counterpart of `dsp.path`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..dsp import band
from ..dsp.band import BandSettings, first_state
from ..dsp.path import NOTHING_MISSING, path_filters
from ..dsp.resample import PolyphaseFilter, polyphase
from ..dsp.windows import analysis_window, synthesis_window
from ..spec import Spec
from .structure import Structure


def as_matrix(fir: PolyphaseFilter, hop: int, hop_out: int) -> Tensor:
    """Return what a filter does to its past and a hop as a matrix, (past + hop, hop_out): its impulse responses."""
    past = fir.past
    matrix = np.zeros((past + hop, hop_out), np.float32)
    for i, impulse in enumerate(np.eye(past + hop, dtype=np.float32)):
        polyphase(impulse, impulse[past:].copy(), fir, 0, matrix[i])
    return torch.from_numpy(matrix)


class HopResampler:
    """`dsp.resample.HopResampler` as a matrix, applied with every hop to it and the recent past, (rows, past)."""

    def __init__(self, fir: PolyphaseFilter, hop: int, hop_out: int, rows: int, device: torch.device) -> None:
        self.matrix = as_matrix(fir, hop, hop_out).to(device)
        self.past = torch.zeros(rows, fir.past, device=device)

    def push(self, hops: Tensor, active: Tensor) -> Tensor:
        """Take hops (rows, hop) and return (rows, hop_out); rows that are not active get something and stand still."""
        past = self.past[: len(hops)]
        heard = torch.cat([past, hops], dim=1)
        torch.where(active, heard[:, hops.shape[1] :], past, out=past)
        return heard @ self.matrix


class CutoffTracker:
    """`dsp.band.CutoffTracker`, with all of its cases computed and one chosen."""

    def __init__(self, spec: Spec, rate: int, rows: int, device: torch.device) -> None:
        one, self.first = BandSettings.of(spec, rate), first_state(spec, rate)
        self.bands, self.per_band, self.full_scale = one.bands, one.per_band, one.full_scale
        self.forget = 10 ** (-band.RELEASE_DB_PER_S / one.frames_per_s / 10)
        self.hiss = band.CLICK_S * one.frames_per_s
        self.hold = tuple(s * one.frames_per_s for s in (band.SETTLE_S, band.WIDEN_S, band.NARROW_S))
        self.hold_frames = torch.tensor(self.hold, dtype=torch.float64, device=device)
        self.least_hz, self.most_hz = one.least_hz, one.most_hz
        self.smoothed = torch.zeros(rows, self.bands, dtype=torch.float64, device=device)
        self.before = torch.zeros_like(self.smoothed)
        self.held = torch.zeros_like(self.smoothed)
        self.known = torch.zeros(rows, len(self.first), dtype=torch.float64, device=device)
        self.index = torch.arange(self.bands, device=device)

    def push(self, spectrum: Tensor, active: Tensor) -> Tensor:
        """Take spectra (rows, bins, 2) and return cutoffs in Hz, (rows,) float64."""
        rows = len(spectrum)
        smoothed, held, known = self.smoothed[:rows], self.held[:rows], self.known[:rows]
        power = spectrum[:, 1 : 1 + self.bands * self.per_band].double().square().sum(-1)
        power = power.view(rows, self.bands, self.per_band).sum(-1) / self.full_scale
        smoothed.copy_(torch.where(active, smoothed + 0.25 * (power - smoothed), smoothed))
        click = self._forget_clicks(power, active, smoothed, held, known)
        total = power.sum(-1, keepdim=True)
        loudest = torch.maximum(known[:, band.LOUDEST, None] * self.forget, total)
        speaks = active & (total >= (loudest * 1e-4).clamp(min=10 ** (band.ACTIVE_DB / 10)))
        held.copy_(torch.where(speaks, torch.maximum(held * self.forget, smoothed), held))
        moved = self._decide(smoothed, held, known, loudest, click)
        moved[:, band.LOUDEST] = loudest[:, 0]
        quiet = torch.cat([loudest, known[:, 1:]], dim=1)
        known.copy_(torch.where(speaks, moved, torch.where(active, quiet, known)))
        known[:, band.CLICK] = click
        return known[:, band.CUTOFF]

    def _forget_clicks(self, power: Tensor, active: Tensor, smoothed: Tensor, held: Tensor, known: Tensor) -> Tensor:
        """Take back what clicks left; returns for how many frames now most bands sound."""
        before, lasting = self.before[: len(power)], known[:, band.CLICK, None]
        level = known[:, band.FLOOR, None] * torch.where(lasting > 0, band.CLICK_END, 1.0)
        full = (power > level).sum(-1, keepdim=True) >= band.CLICK_BANDS * self.bands
        before.copy_(torch.where(active & full & (lasting == 0), held, before))
        over = active & ~full & (lasting > 0) & (lasting < self.hiss)
        held.copy_(torch.where(over, torch.minimum(held, before), held))
        smoothed.copy_(torch.where(over, torch.minimum(smoothed, held), smoothed))
        return torch.where(active, torch.where(full, lasting + 1, 0), lasting)[:, 0]

    def _decide(self, smoothed: Tensor, held: Tensor, known: Tensor, loudest: Tensor, click: Tensor) -> Tensor:
        """Return what would be known if this frame counted: a candidate that stands longer, or a new one."""
        strongest = held.amax(-1, keepdim=True)
        floor = (strongest * 10 ** (band.EMPTY_DB / 10)).clamp(min=10 ** (band.EMPTY_BELOW_DBFS / 10))
        found, evident = self._find(held, strongest, floor, known[:, band.CUTOFF])
        clicks = (click > 0) & (click < self.hiss)
        evident &= ~clicks & (strongest >= loudest * 10 ** (band.REMEMBERED_DB / 10))[:, 0]
        evident &= ~(self._is_tone(smoothed) & (found < known[:, band.CUTOFF]))
        other = (found - known[:, band.CANDIDATE]).abs() > band.SAME_HZ
        candidate = torch.where(other, found, known[:, band.CANDIDATE])
        standing = torch.where(other, 0, known[:, band.STANDING]) + 1
        settle, widen, narrow = self.hold_frames
        later = torch.where(candidate > known[:, band.CUTOFF], widen, narrow)
        believed = standing >= torch.where(known[:, band.SETTLED] > 0, later, settle)
        moves = believed & ((candidate - known[:, band.CUTOFF]).abs() > band.SAME_HZ)
        cutoff = torch.where(moves, candidate, known[:, band.CUTOFF])
        settled = torch.where(believed, 1, known[:, band.SETTLED])
        kept = (known[:, band.FLOOR], known[:, band.CLICK])
        moved = torch.stack([known[:, band.LOUDEST], candidate, standing, cutoff, settled, *kept], dim=1)
        decided = torch.where(evident[:, None], moved, known)
        decided[:, band.FLOOR] = floor[:, 0]
        return decided

    def _is_tone(self, smoothed: Tensor) -> Tensor:
        """Return whether three neighbouring bands hold nearly all power of late, (rows,)."""
        near = smoothed[:, :-2] + smoothed[:, 1:-1] + smoothed[:, 2:]
        return near.amax(-1) > band.TONE * smoothed.sum(-1)

    def _find(self, held: Tensor, strongest: Tensor, floor: Tensor, cutoff: Tensor) -> tuple[Tensor, Tensor]:
        """Return where each row's received band ends in Hz, and whether this frame is evidence of anything."""
        occupied = held > floor
        top = ((self.index + 1) * occupied).amax(-1, keepdim=True)
        after = held[:, (self.index + 1).clamp(max=self.bands - 1)]
        drop = held.roll(1, 1) / (after + 1e-20)  # at b: from the band under edge b to the one above
        near = (self.index >= (top - band.LEAK_BANDS).clamp(min=1)) & (self.index <= top)
        steepest, edge = torch.where(near, drop, 0).max(-1)
        top = top[:, 0]
        cliff = steepest > 10 ** (band.CLIFF_DB / 10)
        edge = torch.where(top == self.bands, self.bands, torch.where(cliff, edge, -top))
        loud = held > torch.maximum(floor, strongest * 10 ** (band.FULL_DB / 10))
        full = (loud & (self.index < edge[:, None])).sum(-1) >= band.OCCUPIED * edge
        ends = (edge > 0) & (edge * band.BAND_HZ >= self.least_hz) & full
        fades_above = (edge <= 0) & (-edge * band.BAND_HZ > cutoff + band.SAME_HZ)
        found = edge * band.BAND_HZ
        whole = (edge <= 0) | (found > self.most_hz)
        return torch.where(whole, self.bands * band.BAND_HZ, found), ends | fades_above

    def clear(self, rows: Tensor) -> None:
        """Forget what rows (n,) heard."""
        self.smoothed[rows] = 0
        self.before[rows] = 0
        self.held[rows] = 0
        self.known[rows] = self.known.new_tensor(self.first)


class DevicePath:
    """The stages of `HostPath` for up to `rows` streams on a device."""

    def __init__(self, spec: Spec, rate: int, rate_out: int, rows: int, device: torch.device) -> None:
        self.spec = spec
        dry, wet = path_filters(spec, rate, rate_out)
        hop, hop_out = spec.hop_at(rate), spec.hop_at(rate_out)
        self.dry_resampler = HopResampler(dry, hop, hop_out, rows, device)
        self.wet_resampler = HopResampler(wet, spec.hop, hop_out, rows, device) if wet else None
        self.resamplers = [one for one in (self.dry_resampler, self.wet_resampler) if one]
        self.tracker = CutoffTracker(spec, rate, rows, device)
        self.analysis = torch.from_numpy(analysis_window(spec, rate) * np.float32(spec.rate / rate)).to(device)
        self.synthesis = torch.from_numpy(synthesis_window(spec)).to(device)
        self.history = torch.zeros(rows, spec.history_at(rate), device=device)
        self.structure = Structure(spec, device)
        self.short_window = torch.from_numpy(synthesis_window(spec, rate) * np.float32(spec.rate / rate)).to(device)
        self.counter = torch.zeros(rows, dtype=torch.int64, device=device)
        self.held = torch.zeros(rows, spec.overlap, device=device)
        self.gain_now = torch.zeros(rows, dtype=torch.float64, device=device)
        self.ramp = torch.arange(1, hop_out + 1, dtype=torch.float64, device=device) / hop_out

    def analyse(self, hops: Tensor, active: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take hops (rows, hop), active (rows, 1) and fixed cutoffs in Hz (rows,), NaN where they are detected.

        Returns the received band (rows, hop_out), spectra (rows, bins_in, 2) and cutoffs for the network (rows,).
        """
        rows = len(hops)
        clean = torch.where(hops.isnan(), 0, hops).clamp(-1, 1)
        received = self.dry_resampler.push(clean, active)
        history = self.history[:rows]
        heard = torch.cat([history[:, hops.shape[1] :], clean], dim=1)
        history.copy_(torch.where(active, heard, history))
        spectrum = torch.view_as_real(torch.fft.rfft(heard * self.analysis))[:, : self.spec.bins_in]
        missing = self.spec.bins_in - spectrum.shape[1]
        spectrum = torch.nn.functional.pad(spectrum, (0, 0, 0, missing))
        detected = self.tracker.push(spectrum, active).float()
        cutoff = torch.where(fixed.isnan(), detected, fixed)
        beyond = NOTHING_MISSING * self.spec.rate
        return received, spectrum, torch.where(cutoff <= self.spec.cutoff_max_hz, cutoff, beyond)

    def synthesise(self, envelope: Tensor, cutoff: Tensor, received: Tensor, active: Tensor, gain: Tensor) -> Tensor:
        """Take envelopes (rows, bands), cutoffs and gains (rows,); returns the finished hops (rows, hop_out)."""
        rows, hop = len(envelope), self.spec.hop
        newest = self.history[:rows, -len(self.short_window) :] * self.short_window
        short = torch.view_as_real(torch.fft.rfft(newest))[:, : self.spec.bins_out]
        counter = self.counter[:rows]
        generated = self.structure.generate(short, envelope, cutoff, counter)
        counter += active[:, 0]
        frames = torch.fft.irfft(torch.view_as_complex(generated.contiguous()), n=self.spec.synthesis) * self.synthesis
        held = self.held[:rows]
        made = held + frames[:, :hop]
        held.copy_(torch.where(active, frames[:, hop:], held))
        if self.wet_resampler:
            made = self.wet_resampler.push(made, active)
        return self.mix(received, made, active, gain)

    def mix(self, received: Tensor, made: Tensor, active: Tensor, gain: Tensor) -> Tensor:
        """Add the generated band to the received one, both (rows, hop_out), with a gain that slides to a new one."""
        now = self.gain_now[: len(made)]
        sliding = now.unsqueeze(1) + (gain - now).unsqueeze(1) * self.ramp
        torch.where(active[:, 0], gain, now, out=now)
        return (received + sliding.float() * made).clamp(-1, 1)

    def remembered(self) -> list[Tensor]:
        """Return everything that rows remember, each with the row as its first axis."""
        tracker = self.tracker
        own = [*(one.past for one in self.resamplers), self.history, self.counter, self.held, self.gain_now]
        return [*own, tracker.smoothed, tracker.before, tracker.held, tracker.known]

    def clear(self, rows: Tensor, gain: Tensor) -> None:
        """Make rows (n,) those of new streams with these gains (n,)."""
        for whole in self.remembered():
            whole[rows] = 0
        self.tracker.clear(rows)
        self.gain_now[rows] = gain
