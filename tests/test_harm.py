"""What is not a narrowband voice comes out as it went in: tones, their pairs, and wideband sound."""

from __future__ import annotations

import numpy as np
import pytest

import rtsr

# Steady tones of 1 kHz and more, and the keys' pairs, do gain hiss from voice-16k: docs/models.md.
TONES = {"dial": (350, 440), "ringback": (440, 480), "european dial": (425,)}
PARTNER_DB = -50


@pytest.fixture(scope="module")
def voice():
    return rtsr.load("voice-16k", "ort")


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("name", TONES)
def test_a_tone_gains_no_partner(voice, name, rate):
    time = np.arange(2 * rate) / rate
    x = sum(0.25 * np.sin(2 * np.pi * hz * time) for hz in TONES[name]).astype(np.float32)
    x *= np.minimum(1, np.minimum(time, 2 - time) / 0.02)
    y = rtsr.enhance(x, rate, model=voice)[4000:-4000]
    level = 20 * np.log10(np.abs(np.fft.rfft(y * np.hanning(len(y)))) + 1e-9)
    above = np.fft.rfftfreq(len(y), 1 / 16000) > max(TONES[name]) + 300
    assert level[above].max() - level.max() < PARTNER_DB


@pytest.mark.parametrize("rate", [16000, 48000])
def test_wideband_noise_passes_untouched(voice, rate):
    x = (0.05 * np.random.default_rng(3).standard_normal(2 * rate)).astype(np.float32)
    np.testing.assert_array_equal(rtsr.enhance(x, rate, rate, model=voice), x)


@pytest.mark.needs_speech
def test_wideband_speech_passes_untouched(voice, speech):
    x = speech(10.0, which=0)
    np.testing.assert_array_equal(rtsr.enhance(x, 16000, model=voice), x)
