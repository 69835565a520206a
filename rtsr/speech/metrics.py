"""Distances and ratios between a true signal and an estimate of it, each defined once.

Every function takes the true signal first and the estimate second: one channel, the same length and rate,
already aligned in time. Audio that is empty, not one channel, not finite or of another length raises
`InvalidAudio`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidAudio, InvalidSetting

FFT_SIZE = 2048
FFT_HOP = 512
POWER_FLOOR = 1e-8
FRAME_S, BAND_HZ, ACTIVE_DB = 0.032, 500.0, 40.0  # of levels above the cutoff


def lsd(truth: ArrayLike, estimate: ArrayLike, rate: float = 16000, band: tuple[float, float] | None = None) -> float:
    """Return the log-spectral distance: 0 for equal spectra, 1 where every bin is off by 10 dB.

    Root of the mean over frequency of the squared difference of log10 power, then mean over time. `band` is
    (low, high) in Hz and limits the frequency mean to the bins with low <= f < high; one without a bin raises
    `InvalidSetting`. The power is clamped at 1e-8 before the logarithm, so the figure depends on the level.
    Source: Kuleshov et al. 2017 (arXiv 1708.00853), with the sizes that AP-BWE and related papers report.
    """
    true, guess = pair(truth, estimate)
    difference = _log_power(true) - _log_power(guess)
    if band is not None:
        difference = difference[:, _bins(rate, band)]
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=1))))


def snr(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the signal-to-noise ratio 20 log10(|y| / |estimate - y|) in dB, over the whole signal.

    Infinite for identical signals, minus infinity where only the truth is silent.
    """
    true, guess = pair(truth, estimate)
    return _ratio_db(_energy(true), _energy(guess - true))


def level_bias(truth: ArrayLike, estimate: ArrayLike, rate: int, cutoff_hz: float) -> float | None:
    """Return by how many dB the band above the cutoff is too loud (positive) where the true one is loudest.

    Mean over the loudest quarter of active frames of the difference of levels; frames of 32 ms, active within 40 dB of
    the loudest. None where the truth has nothing above the cutoff.
    """
    true, guess = (10 * np.log10(bands.sum(1) + POWER_FLOOR) for bands in _bands(truth, estimate, rate, cutoff_hz))
    active = np.sort(true[true > true.max() - ACTIVE_DB])
    if true.max() <= 10 * math.log10(2 * POWER_FLOOR):
        return None
    loud = true >= active[-max(1, len(active) // 4)]
    return float((guess - true)[loud].mean())


def envelope_error(truth: ArrayLike, estimate: ArrayLike, rate: int, cutoff_hz: float) -> float | None:
    """Return the root mean square difference in dB of levels in bands of 500 Hz above the cutoff, over active frames.

    Levels 60 dB under the loudest count as equally quiet. None where the truth has nothing above the cutoff.
    """
    true, guess = _bands(truth, estimate, rate, cutoff_hz)
    if true.max() <= POWER_FLOOR:
        return None
    floor = true.max() * 1e-6
    active = true.sum(1) > true.sum(1).max() * 10 ** (-ACTIVE_DB / 10)
    difference = 10 * np.log10((guess[active] + floor) / (true[active] + floor))
    return float(np.sqrt(np.mean(difference**2)))


def si_sdr(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the signal-to-distortion ratio in dB that no gain on the estimate can change.

    Minus infinity where one of the two is silent, infinite where both are. The mean is not removed.
    Source: Le Roux et al. 2019, "SDR - half-baked or well done?", equation 3.
    """
    true, guess = pair(truth, estimate)
    loud, loud_guess = _energy(true), _energy(guess)
    if loud == 0 or loud_guess == 0:
        return math.inf if loud == loud_guess else -math.inf
    target = true * (true @ guess / loud)
    return _ratio_db(_energy(target), _energy(guess - target))


def pair(truth: ArrayLike, estimate: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as float64; raises `InvalidAudio` where they cannot be compared."""
    true, guess = np.asarray(truth, np.float64), np.asarray(estimate, np.float64)
    if true.ndim != 1 or true.shape != guess.shape:
        raise InvalidAudio(f"expected two mono signals of one length, got {true.shape} and {guess.shape}")
    if not true.size:
        raise InvalidAudio("expected at least one sample to measure, got none")
    if not (np.isfinite(true).all() and np.isfinite(guess).all()):
        raise InvalidAudio("expected finite samples to measure, got NaN or infinity")
    return true, guess


def _bands(
    truth: ArrayLike, estimate: ArrayLike, rate: int, cutoff_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both signals' power in bands of 500 Hz above the cutoff, (frames, bands); frames of 32 ms, Hann."""
    size = int(FRAME_S * rate)
    edges = np.arange(cutoff_hz, max(rate / 2, cutoff_hz + 1), BAND_HZ)
    place = np.searchsorted(edges, np.fft.rfftfreq(size, 1 / rate), side="right") - 1
    found = []
    for signal in pair(truth, estimate):
        padded = np.pad(signal, size // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 4] * np.hanning(size)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
        found.append(np.stack([power[:, place == b].sum(1) for b in range(len(edges))], axis=1))
    return found[0], found[1]


def _log_power(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log10 of the clamped power, (frames, bins): centred frames, reflected ends, periodic Hann."""
    padded = np.pad(signal, FFT_SIZE // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[::FFT_HOP]
    window = np.hanning(FFT_SIZE + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.asarray(np.log10(np.maximum(power, POWER_FLOOR)))


def _bins(rate: float, band: tuple[float, float]) -> NDArray[np.bool_]:
    frequency = np.fft.rfftfreq(FFT_SIZE, 1 / rate)
    chosen = np.asarray((band[0] <= frequency) & (frequency < band[1]))
    if not chosen.any():
        raise InvalidSetting(f"expected a band with spectrum bins below {rate / 2:g} Hz, got {band} Hz")
    return chosen


def _energy(signal: NDArray[np.float64]) -> float:
    return float(signal @ signal)


def _ratio_db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
