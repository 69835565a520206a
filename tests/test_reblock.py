"""Any block size at any rate: what is due comes, nothing is lost, and memory stays what it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsr import Reblock
from tests.signals import cut, noise, voice_like

ODD = [(4001, 16000), (16000, 16001), (44101, 48000), (11025, 96000), (192000, 16000), (4000, 192000), (22255, 44100)]


@pytest.mark.parametrize(("rate", "rate_out"), ODD)
def test_a_constant_has_no_gap_at_any_rates(null, rate, rate_out):
    """One sample late or lost, or a ring overrun, and there would be a hole."""
    path = Reblock(null, rate, rate_out)
    out = np.concatenate([path.process(b) for b in cut(np.ones(rate // 2, np.float32), "random", 1)])
    assert len(out) == rate // 2 * rate_out // rate
    begins = np.argmax(out >= 0.5)  # between the last sample of silence and the first one
    assert path.latency - rate_out / rate - 1 <= begins <= path.latency + 1
    np.testing.assert_allclose(out[path.latency + rate_out // 100 :], 1, atol=5e-4)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([(8000, 16000), (16000, 16000), (44100, 16000), (16000, 44100)]), st.data())
def test_what_is_due_comes_at_once(null, pair, data):
    rate, rate_out = pair
    path = Reblock(null, rate, rate_out)
    taken = given_out = 0
    for size in data.draw(st.lists(st.integers(0, 1200), max_size=20)):
        given_out += len(path.process(noise(size, size)))
        taken += size
        assert given_out == taken * rate_out // rate


@pytest.mark.parametrize(("rate", "rate_out"), [(8000, 16000), (48000, 16000), (16000, 44100), (44100, 16000)])
def test_blocks_of_any_size_give_the_same_bits(opened, rate, rate_out):
    x = voice_like(0.7, rate)
    path = Reblock(opened, rate, rate_out, cutoff=2000.0)
    whole = path.process(x)
    for size in (1, 441, "random"):
        path.reset()
        np.testing.assert_array_equal(np.concatenate([path.process(b) for b in cut(x, size)]), whole)


def test_memory_does_not_depend_on_the_block(null):
    path = Reblock(null, 8000)
    room = len(path._pending.samples) + len(path._ready.samples)
    path.process(np.zeros(200_000, np.float32))
    assert len(path._pending.samples) + len(path._ready.samples) == room < 10_000


def test_the_models_rate_is_the_default(null):
    path = Reblock(null)
    assert (path.rate, path.rate_out, path.latency) == (16000, 16000, 160)
    assert path.latency_ms == 10


@pytest.mark.parametrize(("value", "counts_as"), [(np.nan, 0), (np.inf, 1), (-np.inf, -1), (1e30, 1)])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_one_sample_that_cannot_be_costs_one_sample(null, rate, value, counts_as):
    """A filter would spread it over all of its taps."""
    x, path = voice_like(0.2, rate), Reblock(null, rate)
    given = x.copy()
    given[rate // 10] = value
    x[rate // 10] = counts_as
    expected = path.process(x)
    path.reset()
    np.testing.assert_array_equal(path.process(given), expected)
    assert not np.isfinite(given[rate // 10]) or given[rate // 10] > 1, "the caller's block was written to"
