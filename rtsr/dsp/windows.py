"""The two windows of the path: long and lopsided to look back, short and symmetric to write."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..spec import Spec

FloatArray = NDArray[np.float32]


def analysis_window(spec: Spec, rate: int) -> FloatArray:
    """Return the analysis window sampled at `rate`: a slow sine rise, then a cosine fall over the newest hop.

    Shape (spec.history_at(rate),), float32. It is one function of time, so frames taken at 8 kHz and at 16 kHz
    have the same spectrum up to a scale (which `Frames` removes).
    """
    fall = spec.hop_at(rate)
    rise = spec.history_at(rate) - fall
    up = np.sin(0.5 * np.pi * np.arange(rise) / rise)
    down = np.cos(0.5 * np.pi * np.arange(fall) / fall)
    return np.concatenate([up, down]).astype(np.float32)


def synthesis_window(spec: Spec, rate: int | None = None) -> FloatArray:
    """Return the square-root Hann synthesis window sampled at `rate`, the model's if it is None.

    Shape (2 * spec.hop_at(rate),), float32; one function of time like the analysis window.
    """
    rate = spec.rate if rate is None else rate
    seconds = np.arange(2 * spec.hop_at(rate)) / rate + 0.5 / spec.rate
    return np.sin(np.pi * seconds * spec.rate / spec.synthesis).astype(np.float32)
