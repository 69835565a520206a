"""The two windows of the path: a long asymmetric one for analysis, a short symmetric one for synthesis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import UnknownName
from ..spec import Spec

FloatArray = NDArray[np.float32]

# kinds of synthesis window by the name in a manifest; each takes angles that run from 0 to pi over the window
SYNTHESIS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {"sqrt-hann": np.sin}


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
    """Return the synthesis window of the model's kind sampled at `rate`, the model's if it is None.

    Shape (2 * spec.hop_at(rate),), float32; one function of time like the analysis window. Raises `UnknownName` for a
    kind that is not in `SYNTHESIS`.
    """
    if spec.window not in SYNTHESIS:
        raise UnknownName("synthesis window", spec.window, SYNTHESIS)
    rate = spec.rate if rate is None else rate
    seconds = np.arange(2 * spec.hop_at(rate)) / rate + 0.5 / spec.rate
    return SYNTHESIS[spec.window](np.pi * seconds * spec.rate / spec.synthesis).astype(np.float32)
