"""The parts of concealment, each alone: the period, the cycle that repeats, its step and fade, and cross-fades."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.bridge.conceal import Concealer, cross_fade, make_cycle, period, repeat
from tests.signals import noise


def rise(count: int) -> np.ndarray:
    """From 0 to 1 as half a cosine, at the middle of each of so many samples."""
    return np.sin(np.pi / 2 * (np.arange(count) + 0.5) / count) ** 2


def test_a_cross_fade_goes_from_the_old_to_the_new_in_place_too():
    old, new = noise(40, 1), noise(40, 2)
    expected = old + (new - old) * rise(40)
    cross_fade(old, new, old)
    np.testing.assert_allclose(old, expected, atol=1e-6)


def test_the_end_of_a_cycle_becomes_what_came_before_it():
    history, cycle = noise(200, 1), np.zeros(64, np.float32)
    make_cycle(history, 50, cycle)
    np.testing.assert_array_equal(cycle[:38], history[150:188])
    end = history[188:]
    np.testing.assert_allclose(cycle[38:50], end + (history[138:150] - end) * rise(12), atol=1e-6)
    assert not cycle[50:].any()


def test_a_cycle_repeats_and_fades_and_its_step_fades_in_half_a_period():
    cycle = noise(64, 1, 0.2)
    whole = np.zeros(300, np.float32)
    repeat(cycle, 50, 0.3, 0, 250, whole)
    step = 0.3 * np.concatenate([np.cos(np.pi / 2 * np.arange(25) / 25) ** 2, np.zeros(275)])
    gain = np.maximum(0, 1 - np.arange(300) / 250)
    np.testing.assert_allclose(whole, gain * (np.resize(cycle[:50], 300) + step), atol=1e-6)
    for start in (0, 10, 240):
        part = np.zeros(40, np.float32)
        repeat(cycle, 50, 0.3, start, 250, part)
        np.testing.assert_array_equal(part, whole[start : start + 40])
    loud = np.zeros(10, np.float32)
    for step in (5.0, -5.0):
        repeat(cycle, 50, step, 0, 10**9, loud)
        np.testing.assert_allclose(loud, np.sign(step), atol=1e-6)


@pytest.mark.parametrize(("stride", "lag"), [(1, 57), (1, 100), (6, 60)])
def test_the_period_is_found_whatever_the_level_was_before(stride, lag):
    history = np.resize(noise(lag, 1), 320) * np.float32(0.99) ** np.arange(320)
    assert period(history.astype(np.float32), 24, 100, stride) == lag
    assert period(np.zeros(320, np.float32), 24, 100, stride) == 24


def test_what_is_made_up_begins_at_the_next_sample_of_the_period():
    """Where the level drifts, too: a step of the last sample is added."""
    concealer = Concealer(8000)
    past = np.resize(noise(60, 1), 320) + np.linspace(0, 0.2, 320, dtype=np.float32)
    for hop in past.reshape(-1, 40):
        assert concealer.hear(hop) is hop
    assert not concealer.active
    made = concealer.make(40)
    assert concealer.active
    assert made[0] == pytest.approx(past[-60] + past[-1] - past[-61], abs=1e-6)
