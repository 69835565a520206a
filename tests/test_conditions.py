"""What a telephone does to a voice is done as it is written down, aligned in time, and the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from tests.signals import noise, power_db, shift, voice_like

pytest.importorskip("scipy", reason="the conditions need scipy")

from rtsr.errors import InvalidSetting, UnknownName
from rtsr.speech import codecs, conditions
from rtsr.speech.conditions import CONDITIONS, LINES, Heard, clean, hear
from rtsr.speech.g711 import g711
from rtsr.speech.narrow import decimate

CODED = [name for name in LINES if name.split("-")[0] in ("amr", "opus")]


def needs_av(condition: str) -> None:
    if condition in CODED:
        pytest.importorskip("av", reason="AMR and Opus need PyAV")


@pytest.mark.parametrize("law", ["a", "mu"])
def test_g711_gives_the_256_values_of_the_recommendation(law):
    every = np.arange(-32768, 32768) / 32768
    coded = g711(every.astype(np.float32), law) * 32768
    values = np.unique(coded)
    assert len(values) == (256 if law == "a" else 255)  # mu-law has two zeros
    assert values.max() == (32256 if law == "a" else 32124)
    assert np.all(np.diff(coded) >= 0)
    smallest = 8 if law == "a" else 0
    assert np.abs(values).min() == smallest
    size = np.abs(every * 32768)
    assert np.all(np.abs(coded - every * 32768) <= (size + 132) / 31 + 4 + (size > 32124) * 700)


@pytest.mark.parametrize(("law", "name"), [("a", "pcm_alaw"), ("mu", "pcm_mulaw")])
def test_g711_agrees_with_another_implementation(law, name):
    """All 256 codes decode to the same values there; encoders may differ only where two codes are as near."""
    av = pytest.importorskip("av", reason="compares with PyAV")
    listener = av.CodecContext.create(name, "r")
    listener.sample_rate, listener.layout = 8000, "mono"
    (frame,) = listener.decode(av.Packet(bytes(range(256))))
    theirs = frame.to_ndarray().reshape(-1).astype(np.float32) / 32768
    np.testing.assert_array_equal(g711(theirs, law), theirs)


@pytest.fixture(scope="module")
def voice(speech):
    """Seconds of real speech at 8 kHz: a codec for voices makes something else of anything else."""
    return decimate(speech(4.0, which=2), 16000, 2)


@pytest.mark.needs_speech
@pytest.mark.parametrize("condition", LINES)
def test_a_line_moves_nothing_in_time_and_is_as_long(condition, voice):
    needs_av(condition)
    y = LINES[condition](voice, np.random.default_rng(1))
    assert y.shape == voice.shape
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    assert abs(shift(voice, y)) <= 1


@pytest.mark.needs_speech
@pytest.mark.parametrize("condition", CODED)
def test_a_codec_keeps_the_voice(condition, voice):
    needs_av(condition)
    y = LINES[condition](voice, np.random.default_rng(1))
    assert 0.7 < np.corrcoef(voice, y)[0, 1] < 0.9999
    assert abs(power_db(y, 8000, 200, 3000) - power_db(voice, 8000, 200, 3000)) < 3


@pytest.mark.needs_speech
def test_more_bits_are_nearer(voice):
    pytest.importorskip("av", reason="Opus needs PyAV")
    errors = [np.square(codecs.opus(voice, bits) - voice).mean() for bits in (6000, 10000, 16000)]
    assert errors == sorted(errors, reverse=True)


def test_lost_packets_are_heard_again_at_half_the_level():
    x = noise(16000, 1, 0.3)
    y = conditions.lose(x, 8000, np.random.default_rng(2), share=0.2)
    packets = zip(x.reshape(-1, 160), y.reshape(-1, 160), strict=True)
    lost = [i for i, (before, after) in enumerate(packets) if not np.array_equal(before, after)]
    assert len(lost) == pytest.approx(20, abs=10)
    for i in lost:
        np.testing.assert_array_equal(y.reshape(-1, 160)[i], 0.5 * y.reshape(-1, 160)[i - 1])
    np.testing.assert_array_equal(conditions.lose(x, 8000, np.random.default_rng(2), share=0), x)


def test_the_band_is_300_to_3400_hz():
    x = noise(80000, 3, 0.1)
    y = conditions.band_pass(x, 8000)
    for low, high, least, most in ((0, 150, -99, -25), (500, 3000, -1, 1), (3800, 4000, -99, -12)):
        assert least < power_db(y, 8000, low, high) - power_db(x, 8000, low, high) < most


def test_noise_lies_as_far_below_as_it_says():
    voice, hiss = voice_like(2.0), noise(16000, 4, 0.5)
    under = conditions.with_noise(voice, hiss, np.random.default_rng(5), 12.0) - voice
    assert 10 * np.log10(np.square(voice).mean() / np.square(under).mean()) == pytest.approx(12, abs=0.01)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_gives_a_pair_that_can_be_scored(condition):
    needs_av(condition)
    truth = voice_like(2.0)
    heard = hear(truth, 16000, condition, "a.wav", [noise(40000, 6)])
    assert len(heard.truth) == len(truth)
    assert heard.rate == 8000
    assert len(heard.received) == len(truth) // 2
    assert heard.cutoff_hz == (3400 if condition == "band-pass" else 4000)
    again = hear(truth, 16000, condition, "a.wav", [noise(40000, 6)])
    np.testing.assert_array_equal(heard.received, again.received)


def test_a_low_level_and_noise_are_part_of_the_truth_and_a_codec_is_not():
    truth = voice_like(1.0)
    assert np.abs(hear(truth, 16000, "low-level", "a", []).truth).max() == pytest.approx(0.5 * 10**-1.5, rel=0.01)
    assert not np.array_equal(hear(truth, 16000, "noise", "a", [noise(20000, 1)]).truth, truth)
    np.testing.assert_array_equal(hear(truth, 16000, "a-law", "a", []).truth, truth)


def test_noise_needs_some():
    with pytest.raises(InvalidSetting, match="--noise"):
        hear(voice_like(1.0), 16000, "noise", "a", [])


def test_conditions_are_read_by_name():
    assert conditions.parse("all") == list(CONDITIONS)
    assert conditions.parse("loss, a-law") == ["loss", "a-law"]
    with pytest.raises(UnknownName, match="amr"):
        conditions.parse("amr-12")


@pytest.mark.parametrize(("cutoff_hz", "rate", "factor"), [(4000, 8000, 2), (2000, 4000, 4), (8000 / 6, 16000, 6)])
def test_a_clean_line_has_a_low_rate_for_every_factor(cutoff_hz, rate, factor):
    heard = clean(voice_like(0.6), 16000, cutoff_hz)
    assert heard.rate == rate
    low, found = heard.low(16000)
    assert found == factor
    assert len(low) == 9600 // factor


def test_a_cutoff_between_the_factors_has_none():
    heard = clean(voice_like(0.6), 16000, 3400.0)
    assert heard.rate == 16000
    assert heard.low(16000) is None
    assert Heard(heard.truth, heard.received[::2], 8000, 3400.0).low(16000)[1] == 2
