"""The path worked out again over whole signals, from the documents and not from the code it checks.

Nothing here is streamed: frames are a strided view of the signal, filters are whole convolutions, overlap-add is two
sums, the fine structure is made of whole frames. Only the network itself is shared, and for `eager` it runs as one call
over all frames.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, gcd

import numpy as np
from scipy.signal import upfirdn

from rtsr.backend import Backend
from rtsr.dsp.band import CutoffTracker
from rtsr.spec import Spec

INNER = 48_000
STOP_DB = 80.0


def prototype(rate_in: int, rate_out: int, centre: int) -> np.ndarray:
    """The anti-image or anti-alias filter on the fine grid, gain `up`."""
    up, down = rate_out // gcd(rate_in, rate_out), rate_in // gcd(rate_in, rate_out)
    fine = up * rate_in
    stop_width = (STOP_DB - 7.95) / (14.36 * 2 * centre)
    edge = (rate_in if up > down else rate_out) / 2 / fine - (stop_width / 2 if down > up else 0)
    n = np.arange(2 * centre + 1) - centre
    taps = np.sinc(2 * edge * n) * np.kaiser(len(n), 0.1102 * (STOP_DB - 8.7))
    return up * taps / taps.sum()


def resample(x: np.ndarray, rate_in: int, rate_out: int, delay: Fraction | int) -> np.ndarray:
    """The whole signal at another rate, delayed, as many samples as are complete by its end."""
    if rate_in == rate_out:
        return np.concatenate([np.zeros(int(delay)), x])[: len(x)]
    shared = gcd(rate_in, rate_out)
    up, down = rate_out // shared, rate_in // shared
    return upfirdn(prototype(rate_in, rate_out, int(delay * down)), x, up, down)[: ceil(len(x) * up / down)]


def spectra(x: np.ndarray, spec: Spec, rate: int) -> np.ndarray:
    """What the network hears: (frames, bins_in, 2), zero where the rate has no such bin."""
    hop = rate * spec.hop // spec.rate
    history = rate * spec.history // spec.rate
    rise = np.sin(0.5 * np.pi * np.arange(history - hop) / (history - hop))
    fall = np.cos(0.5 * np.pi * np.arange(hop) / hop)
    window = np.concatenate([rise, fall]).astype(np.float32) * np.float32(spec.rate / rate)
    padded = np.concatenate([np.zeros(history - hop), x]).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, history)[::hop]
    bins = np.fft.rfft(frames * window, axis=1)[:, : spec.bins_in]
    out = np.zeros((len(bins), spec.bins_in, 2), np.float32)
    out[:, : bins.shape[1], 0], out[:, : bins.shape[1], 1] = bins.real, bins.imag
    return out


def network_cutoff(heard: np.ndarray, spec: Spec, rate: int, cutoff: float | str) -> np.ndarray:
    """The cutoff in Hz that the network is given with each frame, (frames,)."""
    if cutoff == "auto":
        tracker = CutoffTracker(spec, rate)
        each = np.array([tracker.push(frame[None])[0] for frame in heard])
    else:
        each = np.full(len(heard), float(cutoff))
    return np.where(each > spec.cutoff_max_hz, 2.0 * spec.rate, each).astype(np.float32)


def envelopes(model: Backend, heard: np.ndarray, cutoff: np.ndarray) -> np.ndarray:
    """What the network writes for all frames, (frames, bands)."""
    if model.name == "eager":
        import torch

        with torch.inference_mode():
            frames, cutoffs = torch.from_numpy(heard)[None], torch.from_numpy(cutoff)[None]
            return model.net(frames, cutoffs, model.net.new_state(1))[0][0].numpy()  # type: ignore[attr-defined]
    out = np.zeros((len(heard), 1, model.spec.bands), np.float32)
    state = model.new_state(1)
    for frame, edge, written in zip(heard[:, None], cutoff[:, None], out, strict=True):
        model.step(frame, edge, state, written)
    return out[:, 0]


def short_spectra(x: np.ndarray, spec: Spec, rate: int) -> np.ndarray:
    """The last two hops of each frame through the synthesis window: complex, (frames, bins_out)."""
    hop = rate * spec.hop // spec.rate
    seconds = np.arange(2 * hop) / rate + 0.5 / spec.rate
    window = np.sin(np.pi * seconds * spec.rate / spec.synthesis) * spec.rate / rate
    padded = np.concatenate([np.zeros(hop), x]).astype(np.float32)
    bins = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop] * window, axis=1)
    out = np.zeros((len(bins), spec.bins_out), complex)
    common = min(bins.shape[1], spec.bins_out)
    out[:, :common] = bins[:, :common]
    return out


def triangles(spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """How far each bin belongs to each band, (bins_out, bands), and the same as the weights of a mean over bins.

    Centres lie one equivalent rectangular bandwidth apart from 1 kHz on; what lies outside of all of them belongs to
    the nearest one, but bins more than a bandwidth under 1 kHz count in no mean.
    """
    hz = np.arange(spec.bins_out) * spec.rate / spec.synthesis
    above = 21.4 * (np.log10(1 + 0.00437 * hz) - np.log10(1 + 4.37))
    place = np.clip(above, 0, spec.bands - 1)
    share = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(spec.bands)))
    counted = share * (above > -1)[:, None]
    return share, counted / counted.sum(0)


def noise_phases(frames: np.ndarray, bins: int) -> np.ndarray:
    """The angle of the noise in frames (n,) and every bin, (n, bins), from an integer hash of both."""
    frame, k = np.meshgrid(frames, np.arange(bins), indexing="ij")
    h = (frame.astype(np.uint32) * np.uint32(0x9E3779B1)) + k.astype(np.uint32) * np.uint32(0x85EBCA77)
    for _ in range(2):
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x45D9F3B)
    return 2 * np.pi * ((h ^ (h >> np.uint32(16))) >> np.uint32(24)) / 256


def generate(short: np.ndarray, envelope: np.ndarray, cutoff: np.ndarray, spec: Spec) -> np.ndarray:
    """The generated spectra of all frames, complex (frames, bins_out), from received ones and envelopes.

    Above the cutoff the upper half of the received bins is repeated. Copies have a mean power of 1 in each band, are
    mixed with noise of 0.2 times their amplitude at 1.25 times the cutoff rising to as much at 2.5 times, and get the
    envelope's power. Frames under -108 dB fade out; bins under e^-60 are zero, none is over e^10.
    """
    share, mean = triangles(spec)
    hz = np.arange(spec.bins_out) * spec.rate / spec.synthesis
    phases = noise_phases(np.arange(len(short)), spec.bins_out)
    silence = 10 ** (-108 / 10) * (spec.synthesis / 2) ** 2
    out = np.zeros(short.shape, complex)
    for n, (heard, levels, edge_hz) in enumerate(zip(short, envelope.astype(float), cutoff.astype(float), strict=True)):
        edge = int(edge_hz * spec.synthesis / spec.rate)
        if edge >= spec.bins_out:
            continue
        origin = np.concatenate([np.arange(edge), np.resize(np.arange(edge // 2, edge), spec.bins_out - edge)])
        copies = heard[origin]
        gain = share @ (-0.5 * np.log(np.abs(copies) ** 2 @ mean + 1e-9))
        level = share @ levels
        copies = copies * np.exp(gain) * (-1.0) ** (n * (np.arange(spec.bins_out) - origin))
        ratio = 0.2 + 0.8 * np.clip((hz / edge_hz - 1.25) / 1.25, 0, 1)
        mixed = (copies + ratio * np.exp(1j * phases[n])) / np.sqrt(1 + ratio**2)
        heard_share = min(np.sum(np.abs(heard) ** 2) / silence, 1)
        missing = np.clip((hz - edge_hz) * spec.synthesis / spec.rate + 1, 0, 1) * (np.arange(spec.bins_out) >= edge)
        audible = np.where(level < -60, 0, np.exp(np.minimum(level, 10) / 2))
        out[n] = mixed * audible * missing * heard_share
    return out


def overlap_add(generated: np.ndarray, spec: Spec) -> np.ndarray:
    """Windowed frames, each one hop after the one before; (frames * hop,)."""
    n = np.arange(spec.synthesis)
    frames = np.fft.irfft(generated, n=spec.synthesis, axis=1)
    frames = frames * np.sin(np.pi * (n + 0.5) / spec.synthesis)
    whole = np.zeros((len(frames) + 1, spec.hop))
    whole[:-1] += frames[:, : spec.hop]
    whole[1:] += frames[:, spec.hop :]
    return whole[:-1].ravel()


def stream(model: Backend, x: np.ndarray, rate: int, rate_out: int, cutoff: float | str) -> tuple[np.ndarray, int]:
    """What `Stream` gives for a whole number of hops, and its delay in output samples."""
    spec = model.spec
    wet_delay = 0 if rate_out == spec.rate else rate_out // 1000
    delay = spec.hop * rate_out // spec.rate + wet_delay
    x = np.clip(np.nan_to_num(x), -1, 1)
    heard = spectra(x, spec, rate)
    edges = network_cutoff(heard, spec, rate, cutoff)
    made = overlap_add(generate(short_spectra(x, spec, rate), envelopes(model, heard, edges), edges, spec), spec)
    made = resample(made, spec.rate, rate_out, wet_delay)
    return np.clip(resample(x, rate, rate_out, delay) + made, -1, 1), delay


def reblock(model: Backend, x: np.ndarray, rate: int, rate_out: int, cutoff: float | str, latency: int) -> np.ndarray:
    """What `Reblock` gives for a signal of any length at any rate; `latency` is what it reports."""
    frames_per_s = model.spec.rate // model.spec.hop
    inner, inner_out = (r if r % frames_per_s == 0 else INNER for r in (rate, rate_out))
    path = Fraction(0)  # in output samples
    due = len(x) * rate_out // rate
    x = np.concatenate([np.clip(np.nan_to_num(x), -1, 1), np.zeros(rate // 5)])
    if rate != inner:
        grid = inner // gcd(inner, inner_out)
        entered = ceil(inner / 1000 / grid) * grid
        x = resample(x, rate, inner, entered)
        path += Fraction(entered * inner_out, inner)
    hop = inner // frames_per_s
    out, delay = stream(model, x[: len(x) // hop * hop], inner, inner_out, cutoff)
    path = (path + delay) * Fraction(rate_out, inner_out)
    if rate_out != inner_out:
        whole = ceil(path + Fraction(rate_out, 1000))
        out = resample(out, inner_out, rate_out, whole - path)
        path = Fraction(whole)
    assert path.denominator == 1, "the path's delay is no whole number of output samples"
    return np.concatenate([np.zeros(latency - int(path)), out])[:due]
