"""How long something took that is done again and again: how often, how often too long, and percentiles."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .dsp.windows import FloatArray

KEPT = 4096  # times that are kept for the percentiles


@dataclass(slots=True)
class Timed:
    """Times so far; written by one thread, read by anyone."""

    counted: int = 0
    late: int = 0  # that took longer than they may
    seconds: FloatArray = field(default_factory=lambda: np.zeros(KEPT, np.float32))

    def count(self, seconds: float, limit_s: float) -> None:
        """Note one time."""
        self.seconds[self.counted % KEPT] = seconds
        self.counted += 1
        self.late += seconds > limit_s

    def percentiles_ms(self, *which: float) -> tuple[float, ...]:
        """Return percentiles of the last times in milliseconds; NaN before the first."""
        return percentiles_ms(self.seconds[: min(self.counted, KEPT)], *which)


def percentiles_ms(seconds: FloatArray, *which: float) -> tuple[float, ...]:
    """Return percentiles of times in milliseconds; NaN where there is none."""
    return tuple(float(np.percentile(seconds, p)) * 1000 if len(seconds) else math.nan for p in which)
