"""Wideband speech made narrow, and the plain ways back: baseline rows beside every model, and what networks start from.

Offline and zero-phase: sample 0 stays sample 0. Audio that is empty, not one channel or not finite raises
`InvalidAudio`; a cutoff outside the band and a factor below 2 raise `InvalidSetting`.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..dsp.resample import Resampler, half_or_width, lowpass
from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, InvalidSetting, MissingDependency

TRANSITION_HZ = 50.0
SPLINE_REACH = 7  # input samples after which a cubic spline's weights are 80 dB down (they fall by 2 - sqrt(3) each)
SHORT_SINC = 80  # output samples that `short_sinc` looks ahead


def narrow(audio: ArrayLike, rate: float, cutoff_hz: float) -> NDArray[np.float32]:
    """Return the audio without anything above `cutoff_hz`, at the same rate, length and time.

    A windowed sinc, flat up to 50 Hz below the cutoff, -6 dB at 25 Hz below it and -80 dB from the cutoff on;
    silence is assumed before and after the audio.
    """
    samples, taps = _mono(audio), _lowpass(rate, cutoff_hz)
    return _convolve_centred(samples, taps).astype(np.float32)


def decimate(audio: ArrayLike, rate: float, factor: int) -> NDArray[np.float32]:
    """Return the audio at `rate / factor`, narrowed first: sample k is the narrowed sample k * factor.

    The length is ceil(samples / factor).
    """
    step = _factor(factor)
    return narrow(audio, rate, rate / step / 2)[::step]


def sinc_upsample(low: ArrayLike, rate_low: float, factor: int) -> NDArray[np.float32]:
    """Return the audio at `rate_low * factor` with nothing new above `rate_low / 2`: the sinc baseline.

    The length is samples * factor, and output sample k * factor is input sample k as far as the input keeps
    below the 50 Hz transition of `narrow`, which serves as the interpolator.
    """
    samples, step = _mono(low), _factor(factor)
    stuffed = np.zeros(len(samples) * step)
    stuffed[::step] = samples * step
    return narrow(stuffed, rate_low * step, rate_low / 2)


def spline_upsample(low: ArrayLike, factor: int) -> NDArray[np.float32]:
    """Return the audio at `factor` times its rate, on a cubic spline through it: the spline baseline.

    The length is samples * factor; after the last sample it is held, as a cubic would run away there.
    Fewer than two samples raise `InvalidAudio`, and scipy that is not installed raises `MissingDependency`.
    """
    samples, step = _mono(low), _factor(factor)
    if len(samples) < 2:
        raise InvalidAudio("expected at least two samples to draw a spline through, got one")
    last = len(samples) - 1
    position = np.minimum(np.arange(len(samples) * step) / step, last)
    spline = _interpolate().CubicSpline(np.arange(last + 1), samples)
    return np.asarray(spline(position), np.float32)


def reach(rate: float) -> float:
    """Return how many samples at `rate` the filters here look ahead, and back."""
    return half_or_width(TRANSITION_HZ / rate)


def interpolated(low: FloatArray, starts_from: str, factor: int, rate: int) -> FloatArray:
    """Bring received samples, at `rate / factor`, to what a network starts from; nothing moves in time."""
    if starts_from == "low":
        return low
    if starts_from == "spline":
        return spline_upsample(low, factor)
    if starts_from == "sinc":
        return sinc_upsample(low, rate / factor, factor)
    tail = np.zeros(-(-SHORT_SINC // factor), np.float32)
    return short_sinc(factor).process(np.concatenate([low, tail]))[SHORT_SINC:][: len(low) * factor]


def short_sinc(factor: int) -> Resampler:
    """Return a streaming interpolation, as a causal network starts from; it delays by `SHORT_SINC`."""
    return Resampler(1, factor, SHORT_SINC)


def _mono(audio: ArrayLike) -> NDArray[np.float64]:
    samples = np.asarray(audio, np.float64)
    if samples.ndim != 1 or not samples.size:
        raise InvalidAudio(f"expected one channel of at least one sample, got the shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise InvalidAudio("expected finite samples, got NaN or infinity")
    return samples


def _factor(factor: int) -> int:
    if factor < 2 or factor != int(factor):
        raise InvalidSetting(f"expected a whole factor of at least 2, got {factor}")
    return int(factor)


def _lowpass(rate: float, cutoff_hz: float) -> NDArray[np.float64]:
    """Return an odd number of symmetric taps with gain 1 at 0 Hz, stopping at the cutoff."""
    if not TRANSITION_HZ < cutoff_hz <= rate / 2:
        raise InvalidSetting(f"expected a cutoff in {TRANSITION_HZ:g}..{rate / 2:g} Hz, got {cutoff_hz:g}")
    return lowpass(int(np.ceil(reach(rate))), (cutoff_hz - TRANSITION_HZ / 2) / rate)


def _convolve_centred(samples: NDArray[np.float64], taps: NDArray[np.float64]) -> NDArray[np.float64]:
    size = 1 << (len(samples) + len(taps) - 2).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(taps, size)
    first = len(taps) // 2
    return np.fft.irfft(spectrum, size)[first : first + len(samples)]


def _interpolate() -> Any:
    try:
        return importlib.import_module("scipy.interpolate")
    except ImportError as error:
        raise MissingDependency("scipy", "report", "the cubic-spline baseline") from error
