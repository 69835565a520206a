"""The narrowing filter keeps what it promises to keep, stops the rest, and moves nothing in time."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsr.errors import InvalidAudio, InvalidSetting, MissingDependency
from rtsr.speech.narrow import decimate, narrow, sinc_upsample, spline_upsample

RATE = 16000
EDGE = 1000  # more than half the filter at 16 kHz: what lies inside saw no end of the signal
few = settings(max_examples=20, deadline=None)
factors = st.sampled_from([2, 4, 6])
seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 3000)


def noise(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, length)


def tone(hz: float, length: int = 8000, rate: float = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(length) / rate + 0.7)


def response_db(cutoff_hz: float, rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies of 1 Hz apart and the gain that `narrow` has there."""
    impulse = np.zeros(rate)
    impulse[rate // 2] = 1.0
    gain = np.abs(np.fft.rfft(narrow(impulse, rate, cutoff_hz)))
    return np.fft.rfftfreq(rate, 1 / rate), 20 * np.log10(gain + 1e-12)


def residual_db(truth: np.ndarray, estimate: np.ndarray, edge: int = EDGE) -> float:
    inside = slice(edge, -edge)
    error = np.linalg.norm((estimate - truth)[inside]) / np.linalg.norm(truth[inside])
    return float(20 * np.log10(error))


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("cutoff_hz", [4000, 2000, 1333.3, 7000])
def test_narrow_is_flat_below_and_silent_from_the_cutoff_on(rate, cutoff_hz):
    frequency, gain = response_db(cutoff_hz, rate)
    assert np.abs(gain[frequency <= cutoff_hz - 50]).max() < 0.01
    assert gain[frequency >= cutoff_hz].max() < -75


def test_narrow_is_six_db_down_25_hz_below_the_cutoff():
    assert response_db(4000)[1][3975] == pytest.approx(-6.02, abs=0.02)


def test_narrow_up_to_half_the_rate_keeps_the_rest():
    frequency, gain = response_db(RATE / 2)
    assert np.abs(gain[frequency <= 7950]).max() < 0.01
    assert gain[-1] < -70


def test_narrow_has_no_phase():
    impulse = np.zeros(4001)
    impulse[2000] = 1.0
    answer = narrow(impulse, RATE, 2000)
    assert answer.argmax() == 2000
    np.testing.assert_allclose(answer, answer[::-1], atol=1e-7)


@few
@given(seeds, lengths, st.floats(60, 8000))
def test_narrow_keeps_length_and_gives_float32(seed, length, cutoff_hz):
    answer = narrow(noise(seed, length), RATE, cutoff_hz)
    assert answer.shape == (length,)
    assert answer.dtype == np.float32


@few
@given(seeds, lengths, st.floats(-2, 2), st.floats(-2, 2))
def test_narrow_is_linear(seed, length, a, b):
    x, y = noise(seed, length), noise(seed + 1, length)
    apart = a * narrow(x, RATE, 4000) + b * narrow(y, RATE, 4000)
    np.testing.assert_allclose(narrow(a * x + b * y, RATE, 4000), apart, atol=1e-5)


@few
@given(seeds, st.integers(1, 500))
def test_narrow_follows_a_shift(seed, shift):
    x = noise(seed, 2000)
    later = narrow(np.concatenate([np.zeros(shift), x]), RATE, 2000)
    np.testing.assert_allclose(later[shift:], narrow(x, RATE, 2000), atol=1e-5)


@few
@given(seeds, lengths, factors)
def test_decimate_keeps_every_nth_narrowed_sample_from_the_first(seed, length, factor):
    x = noise(seed, length)
    low = decimate(x, RATE, factor)
    assert len(low) == -(-length // factor)
    np.testing.assert_array_equal(low, narrow(x, RATE, RATE / factor / 2)[::factor])


@few
@given(factors, st.floats(0.05, 0.9))
def test_decimate_samples_a_tone_at_the_same_instants(factor, part):
    x = tone(part * RATE / factor / 2)
    assert residual_db(x[::factor], decimate(x, RATE, factor), EDGE // factor + 1) < -60


@few
@given(factors, st.floats(0.0, 1.0))
def test_decimate_does_not_alias(factor, part):
    nyquist = RATE / factor / 2
    low = decimate(tone(nyquist + part * (0.98 * RATE / 2 - nyquist)), RATE, factor)
    inside = low[EDGE // factor + 1 : -EDGE // factor - 1]
    assert np.abs(inside).max() < 10 ** (-75 / 20)


@few
@given(seeds, st.integers(1, 1000), factors)
def test_upsamplers_give_factor_times_the_length(seed, length, factor):
    low = noise(seed, length + 1)
    for answer in (sinc_upsample(low, RATE / factor, factor), spline_upsample(low, factor)):
        assert answer.shape == (len(low) * factor,)
        assert answer.dtype == np.float32


@few
@given(factors, st.floats(0.05, 0.9))
def test_decimate_then_sinc_upsample_gives_a_tone_back(factor, part):
    x = tone(part * RATE / factor / 2, 8004)  # 8004 divides by every factor
    back = sinc_upsample(decimate(x, RATE, factor), RATE / factor, factor)
    assert len(back) == len(x)
    assert residual_db(x, back, 2 * EDGE) < -60


@few
@given(seeds, factors)
def test_sinc_upsample_adds_nothing_above_the_received_band(seed, factor):
    high = sinc_upsample(noise(seed, 6000 // factor), RATE / factor, factor)
    padded = np.concatenate([np.zeros(EDGE), high[EDGE:-EDGE] * np.blackman(len(high) - 2 * EDGE)])
    power = np.abs(np.fft.rfft(padded)) ** 2
    above = np.fft.rfftfreq(len(padded), 1 / RATE) > RATE / factor / 2 + 10
    assert 10 * np.log10(power[above].sum() / power.sum()) < -70


def test_sinc_upsample_takes_a_rate_that_is_not_whole():
    rate_low = 2666.67
    low = tone(1000, 2000, rate_low)
    assert residual_db(tone(1000, 12000, 6 * rate_low), sinc_upsample(low, rate_low, 6)) < -60


@few
@given(seeds, st.integers(2, 500), factors)
def test_spline_passes_through_every_sample_and_holds_the_last(seed, length, factor):
    low = noise(seed, length)
    high = spline_upsample(low, factor)
    np.testing.assert_allclose(high[::factor], low, atol=1e-6)
    np.testing.assert_allclose(high[(length - 1) * factor :], low[-1], atol=1e-6)


def test_spline_draws_a_cubic_exactly():
    def cubic(t):
        return 0.3 * t**3 - t**2 + 0.5 * t + 0.1

    inside = spline_upsample(cubic(np.arange(20) / 10), 4)[: 19 * 4 + 1]
    np.testing.assert_allclose(inside, cubic(np.arange(19 * 4 + 1) / 40), atol=1e-6)


@pytest.mark.parametrize("audio", [[], np.zeros((100, 2)), [0.0, np.nan], [np.inf, 0.0]])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: narrow(x, RATE, 4000),
        lambda x: decimate(x, RATE, 2),
        lambda x: sinc_upsample(x, 8000, 2),
        lambda x: spline_upsample(x, 2),
    ],
)
def test_audio_that_cannot_be_filtered_is_refused(call, audio):
    with pytest.raises(InvalidAudio):
        call(audio)


@pytest.mark.parametrize("cutoff_hz", [-1, 0, 50, 8001, float("nan")])
def test_a_cutoff_outside_the_band_is_refused(cutoff_hz):
    with pytest.raises(InvalidSetting, match="cutoff"):
        narrow(np.zeros(10), RATE, cutoff_hz)


@pytest.mark.parametrize("factor", [1, 0, -2, 2.5])
@pytest.mark.parametrize(
    "call",
    [
        lambda n: decimate(np.zeros(10), RATE, n),
        lambda n: sinc_upsample(np.zeros(10), 8000, n),
        lambda n: spline_upsample(np.zeros(10), n),
    ],
)
def test_a_factor_that_does_not_change_the_rate_is_refused(call, factor):
    with pytest.raises(InvalidSetting, match="factor"):
        call(factor)


def test_a_spline_needs_two_samples():
    with pytest.raises(InvalidAudio, match="two samples"):
        spline_upsample(np.ones(1), 2)


def test_spline_without_scipy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.interpolate", None)
    with pytest.raises(MissingDependency, match=r"rtsr\[report\]"):
        spline_upsample(np.zeros(10), 2)
