"""The stages of `device_path` in a few launches of Triton's kernels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..dsp.path import NOTHING_MISSING, path_filters
from ..dsp.windows import FloatArray, analysis_window, synthesis_window
from ..spec import Spec
from .device_path import DevicePath, as_matrix
from .kernels.launch import EXACT, launch, programs, rows_a_program, tile, warps

HEAR_COLUMNS, HEAR_DEPTH, DEPTH = 64, 32, 32  # of tiles
TRACKED, GENERATED = 4, 16  # rows a program
MOST_SUMS = 8192  # elements of one of the overlap-add's two tiles


def transform(window: FloatArray, bins: int) -> FloatArray:
    """Return what the real FFT of a windowed frame does to it as a matrix, (samples, 2 * bins), parts interleaved."""
    samples = len(window)
    angle = 2 * np.pi / samples * (np.arange(samples)[:, None] * np.arange(bins) % samples)
    both = np.stack([np.cos(angle), -np.sin(angle)], axis=-1).reshape(samples, 2 * bins)
    return (both * window.astype(np.float64)[:, None]).astype(np.float32)


def inverse(spec: Spec) -> FloatArray:
    """Return the matrix of the inverse FFT and the synthesis window, (2 * bins_out, synthesis), real parts first."""
    angle = 2 * np.pi / spec.synthesis * np.arange(spec.bins_out)[:, None] * np.arange(spec.synthesis)
    twice = np.full((spec.bins_out, 1), 2.0)
    twice[0] = twice[-1] = 1
    both = np.concatenate([twice * np.cos(angle), -twice * np.sin(angle)]) / spec.synthesis
    return (both * synthesis_window(spec)).astype(np.float32)


class Hearing:
    """All that is linear of the samples heard: one matrix, and where in its columns the parts lie."""

    def __init__(self, spec: Spec, rate: int, rate_out: int, device: torch.device) -> None:
        dry, _ = path_filters(spec, rate, rate_out)
        scale = np.float32(spec.rate / rate)
        self.hop, self.samples = spec.hop_at(rate), spec.history_at(rate)
        self.bins = min(spec.bins_in, self.samples // 2 + 1)
        self.short_bins = min(spec.bins_out, self.hop + 1)
        parts = (
            transform(analysis_window(spec, rate) * scale, self.bins),
            as_matrix(dry, self.hop, spec.hop_at(rate_out)).numpy(),
            transform(synthesis_window(spec, rate) * scale, self.short_bins),
        )
        whole = np.concatenate([np.pad(p, ((self.samples - len(p), 0), (0, 0))) for p in parts], axis=1)
        ends = np.cumsum([p.shape[1] for p in parts])
        self.spectrum, self.received, self.short = (slice(e - p.shape[1], e) for p, e in zip(parts, ends, strict=True))
        blocks = range(0, whole.shape[1], HEAR_COLUMNS)
        first = [np.flatnonzero(whole[:, b : b + HEAR_COLUMNS].any(1))[0] for b in blocks]
        self.starts = torch.tensor([f // HEAR_DEPTH * HEAR_DEPTH for f in first], dtype=torch.int32, device=device)
        self.products = sum(int(self.samples - f) * HEAR_COLUMNS for f in first)
        self.matrix = torch.from_numpy(whole).to(device)


class FusedPath(DevicePath):
    """`DevicePath` with its stages in four launches of kernels; the history is a ring of hops in the same memory."""

    def __init__(self, spec: Spec, rate: int, rate_out: int, rows: int, device: torch.device) -> None:
        super().__init__(spec, rate, rate_out, rows, device)
        from .kernels import signal, tracker  # Triton may not be installed

        self._signal, self._track = signal, tracker.track_kernel
        self.hearing = Hearing(spec, rate, rate_out, device)
        self.resamplers = [one for one in (self.wet_resampler,) if one]  # the ring has the past of the received band
        self.analysed = torch.zeros(rows, self.hearing.matrix.shape[1], device=device)
        self.inverse = torch.from_numpy(inverse(spec)).to(device)

    def analyse(self, hops: Tensor, active: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As in `DevicePath`, but that spectra have only the bins that the input's rate has, (rows, bins, 2).

        What is returned is valid until the next call.
        """
        rows, heard = len(hops), self.hearing
        analysed, columns = self.analysed[:rows], heard.matrix.shape[1]
        ring, slots, block = self.history[:rows], heard.samples // heard.hop, rows_a_program(rows)
        launch(
            self._signal.hear_kernel,
            programs(rows, block) * len(heard.starts),
            (hops.contiguous(), ring, self.counter, heard.matrix, heard.starts, analysed, rows),
            moved=(hops, ring, analysed, heard.matrix),
            operations=2 * rows * heard.products,
            HOP=heard.hop, SLOTS=slots, N=columns, PRECISION=EXACT,
            BLOCK_M=block, BLOCK_N=HEAR_COLUMNS, BLOCK_K=HEAR_DEPTH,
        )  # fmt: skip
        spectrum = analysed[:, heard.spectrum].unflatten(1, (heard.bins, 2))
        return analysed[:, heard.received], spectrum, self._tracked(spectrum, active, fixed)

    def _tracked(self, spectrum: Tensor, active: Tensor, fixed: Tensor) -> Tensor:
        rows, tracker, spec = len(spectrum), self.tracker, self.spec
        state = [whole[:rows] for whole in (tracker.smoothed, tracker.before, tracker.held, tracker.known)]
        cutoff, changed = torch.empty(rows, device=spectrum.device), (state[0], state[2], state[3])
        settle, widen, narrow = tracker.hold
        launch(
            self._track,
            programs(rows, TRACKED),
            (spectrum, active, fixed, *state, cutoff, rows),
            moved=(spectrum[:, : tracker.bands * tracker.per_band], active, fixed, *state, *changed, cutoff),
            operations=rows * tracker.bands * (4 * tracker.per_band + 40),
            STRIDE=self.analysed.shape[1], BANDS=tracker.bands, PER_BAND=tracker.per_band,
            FULL_SCALE=tracker.full_scale, FORGET=tracker.forget, HISS=tracker.hiss, SETTLE=settle, WIDEN=widen,
            NARROW=narrow, LEAST_HZ=tracker.least_hz, MOST_HZ=tracker.most_hz, BEYOND_HZ=NOTHING_MISSING * spec.rate,
            BLOCK_M=TRACKED, BLOCK_B=tile(tracker.bands),
        )  # fmt: skip
        return cutoff

    def synthesise(self, envelope: Tensor, cutoff: Tensor, received: Tensor, active: Tensor, gain: Tensor) -> Tensor:
        """As in `DevicePath`, for the rows that were analysed last."""
        rows, spec = len(envelope), self.spec
        spectra = self._generated(envelope, cutoff)
        held, now = self.held[:rows], self.gain_now[:rows]
        mixes = self.wet_resampler is None
        width = tile(spec.hop)
        out, block = torch.empty(rows, spec.hop, device=held.device), min(rows_a_program(rows), MOST_SUMS // width)
        launch(
            self._signal.overlap_kernel,
            programs(rows, block),
            (spectra, self.inverse, held, active, received, gain, now, out, rows),
            moved=(spectra, self.inverse, held, held, active, *((received, gain, now) if mixes else ()), out),
            operations=2 * rows * self.inverse.numel(),
            K=len(self.inverse), HOP=spec.hop, STRIDE=self.analysed.shape[1], MIX=mixes, PRECISION=EXACT,
            BLOCK_M=block, BLOCK_N=width, BLOCK_K=DEPTH, num_warps=warps(block, 2 * width), num_stages=2,
        )  # fmt: skip
        self.counter[:rows] += active[:, 0]
        if self.wet_resampler:
            return self.mix(received, self.wet_resampler.push(out, active), active, gain)
        torch.where(active[:, 0], gain, now, out=now)
        return out

    def _generated(self, envelope: Tensor, cutoff: Tensor) -> Tensor:
        """Return the generated spectra, (rows, 2 * bins_out), real parts first."""
        rows, spec, made, counter = len(envelope), self.spec, self.structure, self.counter[: len(envelope)]
        short = self.analysed[:rows, self.hearing.short]
        out = torch.empty(rows, 2 * spec.bins_out, device=short.device)
        launch(
            self._signal.generate_kernel,
            programs(rows, GENERATED),
            (short, envelope, cutoff, counter, made.measure, made.interpolate, made.table, out, rows),
            moved=(short, envelope, cutoff, counter, made.measure, made.interpolate, made.table, out),
            operations=rows * spec.bins_out * (6 * spec.bands + 60),
            STRIDE=self.analysed.shape[1], SHORT=self.hearing.short_bins, BINS=spec.bins_out, BANDS=spec.bands,
            BIN_HZ=made.bin_hz, SILENCE=made.silence, PRECISION=EXACT,
            BLOCK_M=GENERATED, BLOCK_K=tile(spec.bins_out), BLOCK_B=tile(spec.bands), num_warps=8,
        )  # fmt: skip
        return out
