"""Signals that tests share: something like a voice, noise with an edge, and where one signal lies in another."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

FloatArray = np.ndarray


def voice_like(seconds: float, rate: int = 16_000, seed: int = 0) -> FloatArray:
    """Return harmonics with vibrato, bursts of noise and pauses, peak 0.5, float32, shape (samples,)."""
    return _voice_like(seconds, rate, seed).copy()


@lru_cache(maxsize=32)
def _voice_like(seconds: float, rate: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 140 * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time + seed) + 0.02 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voiced = np.zeros_like(time)
    for harmonic in range(1, int(rate / 2 / 180)):
        voiced += np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi)) / harmonic
    syllables = 2 * np.pi * 3 * time
    sung = np.clip(4 * np.sin(syllables) + 1, 0, 1)
    hissed = np.clip(4 * np.sin(syllables + 2.2) - 2, 0, 1)
    spoken = (time % 2.0) < 1.6
    signal = spoken * (sung * voiced + 0.3 * hissed * rng.standard_normal(len(time)))
    return (0.5 * signal / (np.abs(signal).max() + 1e-9)).astype(np.float32)


def noise(samples: int, seed: int = 0, level: float = 0.1) -> FloatArray:
    """Return white Gaussian noise, float32; `level` is its standard deviation."""
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def narrowed(signal: FloatArray, rate: int, cutoff_hz: float, width_hz: float = 60.0) -> FloatArray:
    """Return the signal with nothing above the cutoff, by a mask over its whole spectrum; no phase, float32."""
    hz = np.fft.rfftfreq(len(signal), 1 / rate)
    mask = 0.5 * (1 + np.cos(np.pi * np.clip((hz - cutoff_hz + width_hz) / width_hz, 0, 1)))
    return np.fft.irfft(np.fft.rfft(signal) * mask, n=len(signal)).astype(np.float32)


def dropping(signal: FloatArray, samples: int, every: int = 8_000) -> FloatArray:
    """Return the signal of a line that loses `samples` of every so many: a click before and one after."""
    signal = signal.copy()
    for at in range(2 * every // 5, len(signal), every):
        signal[at : at + samples] = 0
    return signal


def power_db(signal: FloatArray, rate: int, low_hz: float, high_hz: float) -> float:
    """Return the energy between two frequencies in dB (Hann over the whole signal)."""
    power = np.abs(np.fft.rfft(np.asarray(signal, np.float64) * np.hanning(len(signal)))) ** 2
    hz = np.fft.rfftfreq(len(signal), 1 / rate)
    return float(10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].sum() + 1e-30))


def shift(reference: FloatArray, delayed: FloatArray) -> int:
    """Return by how many samples `delayed` lags `reference`: the peak of their cross-correlation."""
    size = len(reference) + len(delayed)
    cross = np.fft.irfft(np.fft.rfft(delayed, size) * np.conj(np.fft.rfft(reference, size)), size)
    peak = int(np.argmax(cross))
    return peak if peak < len(delayed) else peak - size


def cut(signal: FloatArray, sizes: object, seed: int = 0, most: int = 1500) -> list[FloatArray]:
    """Cut a signal into blocks of one size, or of random sizes from 0 to `most` where `sizes` is "random"."""
    if sizes != "random":
        return [signal[i : i + int(str(sizes))] for i in range(0, len(signal), int(str(sizes)))]
    rng, blocks, start = np.random.default_rng(seed), [], 0
    while start < len(signal):
        size = int(rng.integers(0, most + 1))
        blocks.append(signal[start : start + size])
        start += size
    return blocks
