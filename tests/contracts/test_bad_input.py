"""Silence gives silence; whatever else comes in, what goes out is finite, limited, and recovers."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import Reblock, Stream
from rtsr.errors import InvalidAudio, InvalidSetting
from tests.signals import cut, noise, voice_like

RATES = [(4000, 16000), (8000, 16000), (16000, 16000), (16000, 48000), (44100, 16000)]
BIGGEST = np.finfo(np.float32).max


def square(samples: int) -> np.ndarray:
    return np.where(np.arange(samples) % 37 < 18, 1.0, -1.0).astype(np.float32)


JUNK = {
    "nan": lambda n: np.full(n, np.nan, np.float32),
    "inf": lambda n: np.full(n, np.inf, np.float32),
    "-inf and inf": lambda n: np.inf * square(n),
    "1e30": lambda n: np.float32(1e30) * square(n),
    "largest": lambda n: BIGGEST * square(n),
    "square wave": square,
    "smallest": lambda n: np.full(n, 1e-45, np.float32),
    "a bit of each": lambda n: np.resize(np.array([0, np.nan, 1, np.inf, -1e30, -np.inf, 1e-40], np.float32), n),
    "constant": lambda n: np.ones(n, np.float32),
}


@pytest.mark.parametrize("cutoff", ["auto", 2000.0])
@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_silence_gives_exact_silence(opened, rate, rate_out, cutoff):
    path = Reblock(opened, rate, rate_out, cutoff=cutoff)
    out = np.concatenate([path.process(np.zeros(rate // 2, np.float32)), path.flush()])
    assert len(out)
    assert not out.any()


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_junk_gives_finite_limited_samples_and_then_silence(opened, rate, rate_out, kind):
    path = Reblock(opened, rate, rate_out, cutoff=1500.0)
    path.process(voice_like(0.2, rate))
    junk = np.concatenate([path.process(b) for b in cut(JUNK[kind](rate // 4), "random")])
    assert np.isfinite(junk).all()
    assert np.abs(junk).max() <= 1
    after = path.process(np.zeros(rate // 2, np.float32))
    assert np.isfinite(after).all()
    assert not after[rate_out // 4 :].any()
    voice = path.process(voice_like(0.3, rate))
    assert np.isfinite(voice).all()
    assert 0.1 < np.abs(voice).max() <= 1


def test_what_is_no_number_counts_as_silence_and_the_rest_is_clipped(null):
    x = np.array([0.5, np.nan, 2, -2, np.inf, -np.inf, 0.25] * 40, np.float32)
    stream = Stream(null)
    out = np.concatenate([stream.process(hop) for hop in x[:240].reshape(-1, 80)])
    expected = np.resize(np.array([0.5, 0, 1, -1, 1, -1, 0.25], np.float32), 160)
    np.testing.assert_array_equal(out[80:], expected)


def test_a_signal_in_double_precision_is_taken_as_it_is(opened):
    x = voice_like(0.2, 8000)
    stream = Stream(opened, 8000, cutoff=4000.0)
    single = [stream.process(hop) for hop in x.reshape(-1, stream.hop)]
    stream.reset()
    double = [stream.process(hop) for hop in x.astype(np.float64).reshape(-1, stream.hop)]
    np.testing.assert_array_equal(single, double)


@pytest.mark.parametrize("shape", [(0,), (79,), (81,), (80, 1), (1, 80), ()])
def test_a_stream_takes_one_hop_and_nothing_else(null, shape):
    stream = Stream(null)
    with pytest.raises(InvalidAudio, match="one hop of 80"):
        stream.process(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(0,), (79,), (81,), (1_000,), (80, 1)])
def test_an_output_of_another_size_is_refused(null, shape):
    stream = Stream(null, 8000, 16000)
    with pytest.raises(InvalidAudio, match="80"):
        stream.process(np.zeros(40, np.float32), np.zeros(shape, np.float32))


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.complex64])
def test_samples_whose_full_scale_is_unknown_are_refused(null, kind):
    """16-bit samples taken for floats would all be clipped to one, without a word."""
    with pytest.raises(InvalidAudio, match="float"):
        Stream(null).process(np.ones(80, kind))
    with pytest.raises(InvalidAudio, match="float"):
        Reblock(null).process(np.ones(80, kind))


@pytest.mark.parametrize("shape", [(10, 1), (1, 10), ()])
def test_reblock_takes_one_channel(null, shape):
    with pytest.raises(InvalidAudio, match="one channel"):
        Reblock(null).process(np.zeros(shape, np.float32))


def test_an_empty_block_gives_nothing_and_changes_nothing(opened):
    path = Reblock(opened, 8000, cutoff=4000.0)
    x = voice_like(0.1, 8000)
    expected = path.process(x)
    path.reset()
    assert path.process(x[:0]).shape == (0,)
    np.testing.assert_array_equal(path.process(x), expected)


@pytest.mark.parametrize("cutoff", [999.0, 0, -1, 16001, np.nan, np.inf, "wide"])
def test_a_cutoff_that_cannot_be_is_refused(null, cutoff):
    with pytest.raises(InvalidSetting, match="cutoff"):
        Stream(null, cutoff=cutoff)


@pytest.mark.parametrize("gain_db", [24.1, np.inf, np.nan])
def test_a_gain_that_cannot_be_is_refused(null, gain_db):
    with pytest.raises(InvalidSetting, match="gain"):
        Stream(null, gain_db=gain_db)


@pytest.mark.parametrize(("rate", "rate_out"), [(44100, None), (16000, 44100), (16000, 8000), (-8000, None), (0, None)])
def test_a_rate_without_a_whole_hop_is_refused_by_a_stream(null, rate, rate_out):
    with pytest.raises(InvalidSetting, match="rate"):
        Stream(null, rate, rate_out)


@pytest.mark.parametrize(
    ("rate", "rate_out"), [(3999, None), (192001, None), (8000, 3000), (8000, 8000), (-1, None), (0, None), (8000, 0)]
)
def test_a_rate_out_of_bounds_is_refused_by_reblock(null, rate, rate_out):
    with pytest.raises(InvalidSetting, match="rate"):
        Reblock(null, rate, rate_out)


def test_noise_at_full_scale_stays_within_it(opened):
    path = Reblock(opened, 16000, cutoff=1000.0, gain_db=24)
    out = path.process(np.clip(noise(16000, 3, 2.0), -1, 1))
    assert np.isfinite(out).all()
    assert np.abs(out).max() == 1
