"""The figures that a restored voice is judged by, each defined once.

Every function takes the true signal first and the estimate second: one channel, the same length and rate,
already aligned in time. Audio that is empty, not one channel, not finite or of another length raises
`InvalidAudio`.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidAudio, InvalidSetting, MissingDependency

FFT_SIZE = 2048
FFT_HOP = 512
POWER_FLOOR = 1e-8
PESQ_WB_RATE = 16000
# The package writes utterances to an array of 50 unchecked; each takes 0.4 s, so over 20 s it may crash.
PESQ_LONGEST = 19 * PESQ_WB_RATE
STOI_SHORTEST_S = 0.3
VISQOL_MODES = {16000: "speech", 48000: "audio"}
VISQOL_SHORTEST_S = 1.0  # less holds no whole patch of speech


@dataclass(frozen=True)
class Scores:
    """Every figure of one file, or the mean of several: distances in log10 power, ratios in dB."""

    lsd: float
    lsd_lf: float
    lsd_hf: float
    snr_db: float
    si_sdr_db: float
    pesq_wb: float | None
    stoi: float | None
    visqol: float | None = None


def lsd(truth: ArrayLike, estimate: ArrayLike, rate: float = 16000, band: tuple[float, float] | None = None) -> float:
    """Return the log-spectral distance: 0 for equal spectra, 1 where every bin is off by 10 dB.

    Root of the mean over frequency of the squared difference of log10 power, then mean over time. `band` is
    (low, high) in Hz and limits the frequency mean to the bins with low <= f < high; one without a bin raises
    `InvalidSetting`. The power is clamped at 1e-8 before the logarithm, so the figure depends on the level.
    Source: Kuleshov et al. 2017 (arXiv 1708.00853), with the sizes that AP-BWE and its neighbours report.
    """
    true, guess = _pair(truth, estimate)
    difference = _log_power(true) - _log_power(guess)
    if band is not None:
        difference = difference[:, _bins(rate, band)]
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=1))))


def snr(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the signal-to-noise ratio 20 log10(|y| / |estimate - y|) in dB, over the whole signal.

    Infinite for identical signals, minus infinity where only the truth is silent.
    """
    true, guess = _pair(truth, estimate)
    return _ratio_db(_energy(true), _energy(guess - true))


def si_sdr(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the signal-to-distortion ratio in dB that no gain on the estimate can change.

    Minus infinity where one of the two is silent, infinite where both are. The mean is not removed.
    Source: Le Roux et al. 2019, "SDR - half-baked or well done?", equation 3.
    """
    true, guess = _pair(truth, estimate)
    loud, loud_guess = _energy(true), _energy(guess)
    if loud == 0 or loud_guess == 0:
        return math.inf if loud == loud_guess else -math.inf
    target = true * (true @ guess / loud)
    return _ratio_db(_energy(target), _energy(guess - target))


def pesq_wb(truth: ArrayLike, estimate: ArrayLike) -> float | None:
    """Return the wideband PESQ opinion score of 16 kHz audio, 1.04 (bad) to 4.64 (identical).

    Audio over 19 s is judged in equal pieces and the mean returned. None where PESQ finds no speech to judge
    (one of the two is silent, or under a quarter of a second); such a piece is left out of the mean.
    Raises `MissingDependency` without the package pesq. Source: ITU-T P.862.2.
    """
    true, guess = _pair(truth, estimate)
    pesq = _load("pesq", "the PESQ score")
    pieces = math.ceil(true.size / PESQ_LONGEST)
    pairs = zip(np.array_split(true, pieces), np.array_split(guess, pieces), strict=True)
    mark: float | None = _mean([_pesq_of_piece(pesq, *pair) for pair in pairs])
    return mark


def stoi(truth: ArrayLike, estimate: ArrayLike, rate: int) -> float | None:
    """Return the short-time objective intelligibility, about 0 (none) to 1 (all of it).

    None where fewer than 30 frames (about 0.4 s) are left without their silence. Raises `MissingDependency`
    without the package pystoi. Source: Taal et al. 2011.
    """
    true, guess = _pair(truth, estimate)
    pystoi = _load("pystoi", "the STOI score")
    if true.size < STOI_SHORTEST_S * rate:  # pystoi breaks on less than one of its frames
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(pystoi.stoi(true, guess, rate))
        except RuntimeWarning:
            return None


def visqol(truth: ArrayLike, estimate: ArrayLike, rate: int) -> float | None:
    """Return the ViSQOL opinion score of speech at 16 kHz or of audio at 48 kHz, 1 (bad) to about 5 (identical).

    Speech through the deep lattice network, as the original has it. None at any other rate and where there is nothing
    to judge. Raises `MissingDependency` without visqol-python and its lattice. Source: Chinen et al. 2020 (arXiv
    2004.09584).
    """
    true, guess = _pair(truth, estimate)
    if rate not in VISQOL_MODES or not (true.any() and guess.any()) or true.size < VISQOL_SHORTEST_S * rate:
        return None
    return float(_visqol(VISQOL_MODES[rate]).measure_from_arrays(true, guess, rate).moslqo)


@cache
def _visqol(mode: str) -> Any:
    api = _load("visqol", "the ViSQOL score", "visqol").VisqolApi()
    if mode == "speech":
        _load("ai_edge_litert", "ViSQOL's lattice", "visqol")
    api.create(mode=mode, **({"use_lattice_model": True} if mode == "speech" else {}))
    return api


def score(
    truth: ArrayLike,
    estimate: ArrayLike,
    rate: int,
    cutoff_hz: float,
    perceptual: bool = True,
    with_visqol: bool = False,
) -> Scores:
    """Return every figure of one signal whose received band ended at `cutoff_hz`.

    `lsd_lf` covers the bins below the cutoff, `lsd_hf` the rest up to and with half the rate. PESQ and STOI
    are None without `perceptual`, PESQ also at any rate but 16 kHz, ViSQOL unless it is asked for. Raises what the
    single figures raise.
    """
    return Scores(
        lsd=lsd(truth, estimate, rate),
        lsd_lf=lsd(truth, estimate, rate, (0.0, cutoff_hz)),
        lsd_hf=lsd(truth, estimate, rate, (cutoff_hz, math.inf)),
        snr_db=snr(truth, estimate),
        si_sdr_db=si_sdr(truth, estimate),
        pesq_wb=pesq_wb(truth, estimate) if perceptual and rate == PESQ_WB_RATE else None,
        stoi=stoi(truth, estimate, rate) if perceptual else None,
        visqol=visqol(truth, estimate, rate) if with_visqol else None,
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Return the plain mean of each figure over the files that have it, None where no file has.

    One infinite ratio makes its mean infinite. An empty list raises `InvalidSetting`.
    """
    if not scores:
        raise InvalidSetting("a mean needs the scores of at least one file, got none")
    return Scores(*(_mean(column) for column in zip(*map(astuple, scores), strict=True)))


def _pesq_of_piece(pesq: Any, true: NDArray[np.float64], guess: NDArray[np.float64]) -> float | None:
    if not (true.any() and guess.any()):
        return None
    try:
        return float(pesq.pesq(PESQ_WB_RATE, true.astype(np.float32), guess.astype(np.float32), "wb"))
    except (pesq.NoUtterancesError, pesq.BufferTooShortError):
        return None


def _mean(values: Sequence[float | None]) -> Any:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def _pair(truth: ArrayLike, estimate: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, guess = np.asarray(truth, np.float64), np.asarray(estimate, np.float64)
    if true.ndim != 1 or true.shape != guess.shape:
        raise InvalidAudio(f"expected two mono signals of one length, got {true.shape} and {guess.shape}")
    if not true.size:
        raise InvalidAudio("expected at least one sample to measure, got none")
    if not (np.isfinite(true).all() and np.isfinite(guess).all()):
        raise InvalidAudio("expected finite samples to measure, got NaN or infinity")
    return true, guess


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


def _load(package: str, purpose: str, extra: str = "report") -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependency(package, extra, purpose) from error
