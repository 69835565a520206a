"""Levels as people read them."""

from __future__ import annotations

import math


def level_db(peak: float) -> float:
    """Return a peak level in dB of full scale, to a tenth, at least -100."""
    return round(20 * math.log10(max(peak, 1e-5)), 1)
