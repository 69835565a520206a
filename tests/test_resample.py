"""The resampler delays by exactly what it says, keeps what fits, stops what does not, and has no seams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsr.dsp.resample import MOST_PHASES, Resampler
from rtsr.errors import InvalidSetting
from tests.signals import cut, noise

PAIRS = [
    (8000, 16000),
    (4000, 16000),
    (48000, 16000),
    (16000, 48000),
    (44100, 48000),
    (48000, 44100),
    (22050, 48000),
    (16000, 16000),
    (32000, 16000),
]


def delay_for(rate_out: int, ms: int = 5) -> int:
    return rate_out * ms // 1000


def tone(hz: float, rate: int, start: float, samples: int) -> np.ndarray:
    """A tone whose sample i lies at start + i of the rate's grid."""
    return np.sin(2 * np.pi * hz * (start + np.arange(samples)) / rate + 0.3)


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.square(x.astype(np.float64)).mean() + 1e-30))


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_any_blocks_give_the_same_bits(rate_in, rate_out):
    x = noise(rate_in // 5 + 17, 3, 0.3)
    resampler = Resampler(rate_in, rate_out, delay_for(rate_out))
    whole = resampler.process(x)
    for size in (1, 7, 441, "random"):
        resampler.reset()
        parts = np.concatenate([resampler.process(b) for b in cut(x, size, seed=1)])
        np.testing.assert_array_equal(parts, whole)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 700), min_size=1, max_size=20), st.integers(0, 1000))
def test_count_tells_what_comes(pair, blocks, seed):
    resampler = Resampler(*pair, delay_for(pair[1]))
    taken = given_out = 0
    for size in blocks:
        expected = resampler.count(size)
        got = resampler.process(noise(size, seed))
        assert got.shape == (expected,)
        taken, given_out = taken + size, given_out + len(got)
        assert given_out == -(-taken * pair[1] // pair[0])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PAIRS), st.integers(1, 20), st.integers(0, 50))
def test_an_impulse_comes_out_after_exactly_the_delay(pair, ms, place):
    rate_in, rate_out = pair
    delay = max(1, delay_for(rate_out, ms))
    resampler = Resampler(rate_in, rate_out, delay)
    period = rate_in // np.gcd(rate_in, rate_out)  # inputs that fall on an output sample
    x = np.zeros(rate_in // 10 + place * period, np.float32)
    x[place * period] = 1
    out = resampler.process(x)
    due = place * (rate_out // np.gcd(rate_in, rate_out)) + delay
    assert np.argmax(np.abs(out)) == due
    half = min(delay, len(out) - due - 1, due)
    np.testing.assert_allclose(out[due - half : due][::-1], out[due + 1 : due + 1 + half], atol=1e-6)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
@pytest.mark.parametrize("part", [0.02, 0.25, 0.6, 0.8])
def test_a_tone_in_the_band_stays_that_tone(rate_in, rate_out, part):
    hz = part * min(rate_in, rate_out) / 2
    delay = delay_for(rate_out)
    out = Resampler(rate_in, rate_out, delay).process(tone(hz, rate_in, 0, rate_in // 2).astype(np.float32))
    expected = tone(hz, rate_out, -delay, len(out))
    settled = slice(3 * delay, None)
    assert level_db((out - expected)[settled]) - level_db(expected[settled]) < -70


def test_a_delay_may_be_a_fraction_on_the_common_grid():
    delay = 5 + 3 / 160  # 48000 to 44100 has a grid of 1/160
    out = Resampler(48000, 44100, delay).process(tone(1000, 48000, 0, 24000).astype(np.float32))
    expected = tone(1000, 44100, -delay, len(out))
    assert level_db((out - expected)[100:]) < -60


@pytest.mark.parametrize(("rate_in", "rate_out"), [(48000, 16000), (44100, 16000), (32000, 16000), (48000, 44100)])
def test_what_does_not_fit_is_stopped(rate_in, rate_out):
    for hz in (1.001 * rate_out / 2, 0.6 * rate_out / 2 + 0.4 * rate_in / 2, 0.999 * rate_in / 2):
        x = tone(hz, rate_in, 0, rate_in // 2).astype(np.float32)
        out = Resampler(rate_in, rate_out, delay_for(rate_out)).process(x)
        assert level_db(out[3 * delay_for(rate_out) :]) - level_db(x) < -75


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 16000), (4000, 16000), (16000, 48000), (22050, 48000)])
def test_no_image_of_a_tone_is_heard(rate_in, rate_out):
    hz = 0.8 * rate_in / 2
    out = Resampler(rate_in, rate_out, delay_for(rate_out)).process(tone(hz, rate_in, 0, rate_in).astype(np.float32))
    out = out[3 * delay_for(rate_out) :]
    power = np.abs(np.fft.rfft(out * np.blackman(len(out)))) ** 2
    frequency = np.fft.rfftfreq(len(out), 1 / rate_out)
    assert 10 * np.log10(power[frequency > rate_in / 2].max() / power.max()) < -75


def test_equal_rates_are_a_delay_bit_for_bit():
    x = np.random.default_rng(0).uniform(-1, 1, 3000).astype(np.float32)
    x[5:50] = 1e-42
    out = Resampler(16000, 16000, 80).process(x)
    np.testing.assert_array_equal(out[80:].view(np.int32), x[:-80].view(np.int32))
    assert not out[:80].any()


def test_a_constant_stays_that_constant():
    for pair in PAIRS:
        out = Resampler(*pair, delay_for(pair[1])).process(np.ones(pair[0] // 2, np.float32))
        np.testing.assert_allclose(out[3 * delay_for(pair[1]) :], 1, atol=2e-4)


def test_out_is_written_and_the_rest_of_it_left_alone():
    resampler = Resampler(8000, 16000, 16)
    out = np.full(100, 7, np.float32)
    got = resampler.process(noise(40, 1), out)
    assert got.base is out
    assert len(got) == 80
    assert (out[80:] == 7).all()


def test_reset_forgets():
    resampler, x = Resampler(44100, 48000, 48), noise(1001, 1)
    first = resampler.process(x)
    resampler.process(noise(333, 2))
    resampler.reset()
    np.testing.assert_array_equal(resampler.process(x), first)


@pytest.mark.parametrize(("rates", "delay"), [((0, 16000), 10), ((8000, -1), 10)])
def test_rates_that_cannot_be_are_refused(rates, delay):
    with pytest.raises(InvalidSetting, match="positive rates"):
        Resampler(*rates, delay)


def test_rates_without_a_common_divisor_are_refused():
    for rates in ((1, MOST_PHASES + 1), (MOST_PHASES + 1, 1)):
        with pytest.raises(InvalidSetting, match="simpler ratio"):
            Resampler(*rates, 10)
    assert Resampler(1, MOST_PHASES, 10).filter.up == MOST_PHASES


@pytest.mark.parametrize(("rates", "delay"), [((8000, 16000), 0), ((8000, 16000), 0.5), ((48000, 16000), 1 / 7)])
def test_delays_off_the_grid_are_refused(rates, delay):
    with pytest.raises(InvalidSetting, match="delay"):
        Resampler(*rates, delay)
