"""A whole recording comes back as long as it was, in step with itself, whatever its shape and rate."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import enhance
from rtsr.enhance import BLOCK, EnhanceSettings, enhance_blocks
from rtsr.errors import InvalidAudio, InvalidSetting, UnknownName
from tests.signals import narrowed, noise, shift, voice_like

RATES = [4000, 8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000]


@pytest.mark.parametrize("rate_out", [None, 16000, 44100, 48000])
@pytest.mark.parametrize("rate", RATES)
def test_the_duration_is_kept_to_the_sample(null, rate, rate_out):
    for samples in (1, 2, 3, 777, rate // 4, rate // 4 + 1):
        out = enhance(noise(samples, 1), rate, rate_out, model=null)
        assert out.dtype == np.float32
        assert len(out) == round(samples * (rate_out or 16000) / rate)


@pytest.mark.parametrize("rate_out", [16000, 44100, 48000])
@pytest.mark.parametrize("rate", RATES)
def test_the_output_is_in_step_with_the_input(null, rate, rate_out):
    common = 192000 if rate % 11025 and rate_out % 11025 else rate * 160 if rate % 11025 else 4 * 44100
    n = common // 5
    hz = np.fft.rfftfreq(n, 1 / common)
    spectrum = np.fft.rfft(noise(n, 1)) * ((hz > 100) & (hz < 0.35 * min(rate, rate_out)))
    x, reference = (resampled(spectrum, n, r, common) for r in (rate, rate_out))
    out = enhance(x, rate, rate_out, model=null)
    assert shift(reference[: len(out)], out) == 0
    inside = slice(rate_out // 20, len(out) - rate_out // 20)
    error = np.square(out[inside] - reference[inside]).mean() / np.square(reference[inside]).mean()
    assert error < 1e-4  # a tenth of a sample off is more


def resampled(spectrum: np.ndarray, samples: int, rate: int, common: int) -> np.ndarray:
    """The band-limited signal of a spectrum at another rate, exactly."""
    n = samples * rate // common
    return (np.fft.irfft(spectrum[: n // 2 + 1], n) * n / samples).astype(np.float32)


def test_null_at_the_models_rate_gives_the_input_back(null):
    x = noise(3 * BLOCK + 1, 1)
    np.testing.assert_array_equal(enhance(x, 16000, model=null), x)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_each_channel_is_a_stream_of_its_own(generating, channels):
    x = np.stack([voice_like(0.6, 8000, seed=c) for c in range(channels)], axis=1)
    out = enhance(x, 8000, model=generating, cutoff=3000.0)
    assert out.shape == (2 * len(x), channels)
    for c in range(channels):
        np.testing.assert_array_equal(out[:, c], enhance(x[:, c], 8000, model=generating, cutoff=3000.0))


def test_one_channel_keeps_its_shape(null):
    assert enhance(noise(100, 1), 8000, model=null).shape == (200,)
    assert enhance(noise(100, 1)[:, None], 8000, model=null).shape == (200, 1)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_any_floating_point_is_taken(null, kind):
    x = noise(200, 1).astype(kind)
    np.testing.assert_array_equal(enhance(x, 16000, model=null), x.astype(np.float32))


def test_lists_and_strided_arrays_are_taken(null):
    x = noise(400, 1)
    np.testing.assert_array_equal(enhance(x[::2], 16000, model=null), x[::2])
    np.testing.assert_allclose(enhance([0.5, 0.25], 16000, model=null), [0.5, 0.25])
    both = np.asfortranarray(np.stack([x, x[::-1]], axis=1))
    np.testing.assert_array_equal(enhance(both, 16000, model=null), both)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(0, np.float32),
        np.zeros((0, 2), np.float32),
        np.zeros((5, 0), np.float32),
        np.zeros((2, 2, 2), np.float32),
        np.float32(1),
        np.zeros(10, np.complex64),
        [],
    ],
    ids=["empty", "no samples", "no channels", "three axes", "scalar", "complex", "empty list"],
)
def test_shapes_that_are_no_recording_are_refused(null, audio):
    with pytest.raises(InvalidAudio, match="expected real samples"):
        enhance(audio, 16000, model=null)


@pytest.mark.parametrize("audio", [np.zeros(10, np.int16), np.zeros(10, bool), [1, 2, 3], ["a", "b"]])
def test_whole_numbers_are_refused_because_their_full_scale_is_unknown(null, audio):
    with pytest.raises(InvalidAudio, match="floating point"):
        enhance(audio, 16000, model=null)


@pytest.mark.parametrize("rate", [0, -8000, 100, 3999, 192001])
def test_rates_that_cannot_be_are_refused(null, rate):
    with pytest.raises(InvalidSetting, match="rate"):
        enhance(noise(100, 1), rate, model=null)


@pytest.mark.parametrize("rate_out", [0, -1, 8000, 192001])
def test_output_rates_that_cannot_be_are_refused(null, rate_out):
    with pytest.raises(InvalidSetting, match="rate"):
        enhance(noise(100, 1), 8000, rate_out, model=null)


def test_settings_reach_the_stream(generating, null):
    x = voice_like(0.5, 8000)
    dry = enhance(x, 8000, model=null)
    np.testing.assert_array_equal(enhance(x, 8000, model=generating, gain_db=-np.inf), dry)
    low, high = (enhance(x, 8000, model=generating, cutoff=c) - dry for c in (2000.0, 4000.0))
    assert np.abs(low - high).max() > 1e-3
    for setting in ({"cutoff": 10}, {"cutoff": "narrow"}, {"gain_db": 99}):
        with pytest.raises(InvalidSetting):
            enhance(x, 8000, model=null, **setting)


def test_a_model_is_opened_by_name(null):
    x = voice_like(0.3, 8000)
    expected = enhance(x, 8000, model=null)
    np.testing.assert_array_equal(enhance(x, 8000, model="voice-16k", backend="null"), expected)
    with pytest.raises(UnknownName):
        enhance(x, 8000, model="no-such-model")
    with pytest.raises(UnknownName):
        enhance(x, 8000, backend="no-such-backend")


def test_a_path_opens_a_model(model_path):
    out = enhance(voice_like(0.3, 8000), 8000, model=model_path, backend="ort")
    np.testing.assert_array_equal(out, enhance(voice_like(0.3, 8000), 8000, model=str(model_path), backend="ort"))


def test_the_block_size_of_the_reader_does_not_matter(generating):
    x = voice_like(1.0, 44100)[:, None]
    whole = enhance(x, 44100, model=generating, cutoff=3000.0)
    for size in (100, 4096, 30000):
        blocks = (x[i : i + size] for i in range(0, len(x), size))
        parts = list(enhance_blocks(blocks, generating, 44100, 1, EnhanceSettings(cutoff=3000.0)))
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_the_last_sample_is_not_made_up(null):
    """A duration that is rounded up still ends with the signal."""
    x = np.ones(44100 // 10 + 2, np.float32)
    ends = [len(x) + k for k in range(20)]
    for samples in ends:
        out = enhance(np.ones(samples, np.float32), 44100, 16000, model=null)
        assert out[-1] > 0.3, f"{samples} samples"


@pytest.mark.needs_speech
def test_recorded_speech_is_in_step_and_its_band_kept(generating, speech):
    x = speech(6.0)
    low = narrowed(x, 16000, 3900)
    out = enhance(low[::2], 8000, model=generating, cutoff=4000.0)
    assert len(out) == len(x)
    assert shift(low, narrowed(out, 16000, 3500)) == 0
