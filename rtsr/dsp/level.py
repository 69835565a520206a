"""Levels: of samples, and as people read them."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .windows import FloatArray


@njit(cache=True)
def peak(hop: FloatArray) -> float:
    """Return the largest magnitude of samples (samples,), 0 for none.

    Keeps the interpreter lock: for a hop, waiting to get it back would take longer.
    """
    most = np.float32(0)
    for x in hop:
        most = max(most, abs(x))
    return float(most)


def level_db(peak: float) -> float:
    """Return a peak level in dB of full scale, to a tenth, at least -100."""
    return round(20 * math.log10(max(peak, 1e-5)), 1)
