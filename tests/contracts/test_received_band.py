"""The received band is never touched: the output is the delayed input, and something laid over it above the cutoff."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import Reblock, Stream
from tests.signals import narrowed, noise, power_db, voice_like

RATES = [(8000, 16000), (16000, 16000), (48000, 16000), (16000, 48000), (44100, 16000)]


def heard(model, x: np.ndarray, rate: int, rate_out: int | None = None, **settings) -> np.ndarray:
    return Reblock(model, rate, rate_out, **settings).process(x)


def generated(model, null, x: np.ndarray, rate: int, rate_out: int, **settings) -> np.ndarray:
    """What was laid over the received signal, in double precision."""
    with_it, without = (heard(m, x, rate, rate_out, **settings) for m in (model, null))
    assert np.abs(with_it).max() < 1, "clipped: the difference is not what was generated"
    return with_it.astype(np.float64) - without


@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_what_is_generated_lies_above_the_cutoff(generating, null, rate, rate_out):
    made = generated(generating, null, voice_like(2.0, rate), rate, rate_out, cutoff=4000.0)
    above = power_db(made, rate_out, 4000, rate_out / 2)
    # One bin is 100 Hz and the synthesis window's side lobes fall slowly: measured 43 dB below 3700 Hz, 23 dB in all
    # below 3950 Hz, 57 dB below 3000 Hz.
    for hz, least_db in ((3900, 24), (3700, 40), (3000, 54), (2000, 62)):
        assert above - power_db(made, rate_out, 0, hz) > least_db, f"below {hz} Hz"


@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_no_gain_is_the_null_backend(generating, null, rate, rate_out):
    x = voice_like(0.5, rate)
    expected = heard(null, x, rate, rate_out)
    got = heard(generating, x, rate, rate_out, cutoff=2000.0, gain_db=-np.inf)
    np.testing.assert_array_equal(got, expected)


def test_gain_scales_what_is_generated_and_nothing_else(generating, null):
    x = voice_like(0.5, 8000)
    made, halved = (
        generated(generating, null, x, 8000, 16000, cutoff=4000.0, gain_db=g) for g in (0.0, 20 * np.log10(0.5))
    )
    np.testing.assert_allclose(halved, made / 2, atol=2e-7)
    assert np.abs(made).max() > 0.01


def test_a_new_gain_slides_in_over_one_hop(generating, null):
    x = voice_like(0.5, 8000)
    kept, changed, plain = (Stream(m, 8000, cutoff=4000.0) for m in (generating, generating, null))
    for i, hop in enumerate(x.reshape(-1, kept.hop)):
        if i == 50:
            changed.set_gain(-np.inf)
        full, less, none = (s.process(hop) for s in (kept, changed, plain))
        if i < 50:
            np.testing.assert_array_equal(less, full)
        if i == 50:
            ramp = 1 - np.arange(1, len(full) + 1) / len(full)
            np.testing.assert_allclose(less - none, ramp * (full - none), atol=1e-6)
            assert np.abs(full - none).max() > 1e-3
        if i > 50:
            np.testing.assert_array_equal(less, none)


@pytest.mark.parametrize("cutoff", [7001.0, 8000.0, 16000.0])
def test_a_cutoff_above_the_models_range_passes_everything_through(generating, null, cutoff):
    x = voice_like(0.5)
    np.testing.assert_array_equal(heard(generating, x, 16000, cutoff=cutoff), heard(null, x, 16000))


@pytest.mark.parametrize("cutoff", [1000.0, 7000.0])
def test_a_cutoff_at_the_ends_of_the_models_range_generates(generating, null, cutoff):
    x = voice_like(0.5)
    assert np.abs(heard(generating, x, 16000, cutoff=cutoff) - heard(null, x, 16000)).max() > 1e-3


@pytest.mark.parametrize("rate", [16000, 48000])
def test_wideband_input_passes_through_while_the_cutoff_is_detected(generating, null, rate):
    x = voice_like(2.0, rate) + noise(2 * rate, 1, 3e-3)
    np.testing.assert_array_equal(heard(generating, x, rate), heard(null, x, rate))


def test_narrowband_in_a_wide_container_is_found_and_extended(generating, null):
    x = narrowed(voice_like(3.0) + noise(48000, 1, 1e-3), 16000, 4000)
    made = heard(generating, x, 16000).astype(np.float64) - heard(null, x, 16000)
    assert not made[:1600].any()  # nothing is added before the cutoff was believed
    assert np.abs(made[16000:]).max() > 1e-2
    given = generated(generating, null, x, 16000, 16000, cutoff=4000.0)
    assert power_db(made[16000:], 16000, 4500, 8000) == pytest.approx(power_db(given[16000:], 16000, 4500, 8000), abs=3)


def test_the_cutoff_can_be_changed_between_hops(generating, null):
    x = voice_like(1.0, 16000)
    stream, plain = Stream(generating, cutoff=3000.0), Stream(null)
    parts = []
    for i, hop in enumerate(x.reshape(-1, stream.hop)):
        if i == 100:
            stream.set_cutoff(8000.0)
        parts.append(stream.process(hop) - plain.process(hop))
    assert np.abs(np.concatenate(parts[:100])).max() > 1e-2
    assert np.abs(parts[100]).max() > 1e-5  # the half frame that was begun is finished
    assert not np.concatenate(parts[101:]).any()
