"""What benchmarks listen to."""

from __future__ import annotations

import numpy as np

from ..dsp.windows import FloatArray


def voice(seconds: float, rate: int, seed: int = 1) -> FloatArray:
    """Return something with a voice's harmonics, level and pauses; float32, shape (samples,)."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(3 * t + seed)) / rate
    harmonics = sum(np.sin(k * pitch) / k for k in range(1, 25))
    pauses = np.sin(2 * np.pi * 0.7 * t) > -0.5
    return ((0.1 * harmonics + 0.01 * rng.standard_normal(len(t))) * pauses).astype(np.float32)


def hops(seconds: float, rate: int, hop: int, seed: int = 1) -> FloatArray:
    """Return a voice cut into hops, shape (count, hop)."""
    whole = voice(seconds, rate, seed)
    return whole[: len(whole) // hop * hop].reshape(-1, hop)
