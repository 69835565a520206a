"""The limiter's gain: how it falls, stays and returns."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.bridge.limiter import HOLD_MS, RELEASE_MS, Limiter

HOP, RATE = 240, 48_000  # 5 ms


def gains(limiter: Limiter, level: float, peak: float = 0.0, at: int = 0) -> np.ndarray:
    """The gain of each sample of a hop of one level, in which one sample is a peak."""
    mix, out = np.full(HOP, level, np.float32), np.zeros(HOP, np.float32)
    mix[at] = peak or level
    limiter.process(mix, out)
    return out / mix


def test_the_gain_falls_no_faster_than_a_peak_demands_stays_and_returns_in_a_line():
    limiter = Limiter(HOP, RATE)
    assert (gains(limiter, 1.0) == 1).all()
    expected = np.maximum(1 - 0.5 * np.arange(1, HOP + 1) / 120, 0.5)
    np.testing.assert_allclose(gains(limiter, 0.5, -2.0, 119), expected, atol=1e-6)
    for _ in range(HOLD_MS // 5):
        assert gains(limiter, 0.5) == pytest.approx(0.5)
    rising = np.concatenate([gains(limiter, 0.5) for _ in range(RELEASE_MS // 5)])
    expected = np.minimum(0.5 + np.arange(1, len(rising) + 1) / (RELEASE_MS * RATE // 1000), 1)
    np.testing.assert_allclose(rising, expected, atol=1e-5)
    assert (gains(limiter, 0.9) == 1).all()


def test_a_peak_while_the_gain_is_held_or_returns_is_held_anew():
    limiter = Limiter(HOP, RATE)
    gains(limiter, 0.5, 4.0, 10)
    for _ in range(HOLD_MS // 5 + 80):
        gains(limiter, 0.5)
    assert limiter.gain == pytest.approx(0.75)
    assert gains(limiter, 0.5, 2.0, HOP - 1)[-1] == pytest.approx(0.5)
    for _ in range(HOLD_MS // 5):
        assert gains(limiter, 0.5) == pytest.approx(0.5)
    assert gains(limiter, 0.5)[-1] > 0.5
