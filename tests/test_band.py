"""The tracker finds where a received band ends, holds on to it, and is not fooled."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.dsp.band import CutoffTracker
from rtsr.dsp.frames import Frames
from rtsr.spec import Spec
from tests.signals import dropping, narrowed, noise, voice_like

SPEC = Spec()
RATE = 16_000
SETTLED_S = 0.5
NEAR_HZ = 200.0
MOVES_PER_S = 0.5  # after it has settled; each is at most a few bands


def tracked(x: np.ndarray, rate: int = RATE) -> np.ndarray:
    """The cutoff after each frame."""
    frames, tracker = Frames(SPEC, rate), CutoffTracker(SPEC, rate)
    whole = x[: len(x) // frames.hop * frames.hop].reshape(-1, frames.hop)
    return np.array([tracker.push(frames.push(hop[None]))[0] for hop in whole])


def speech_like_noise(seconds: float, slope_db: float, seed: int = 0) -> np.ndarray:
    """Noise that falls by `slope_db` an octave above 200 Hz, in three syllables a second."""
    n = int(seconds * RATE)
    hz = np.fft.rfftfreq(n, 1 / RATE)
    spectrum = np.fft.rfft(noise(n, seed, 1.0)) * (np.maximum(hz, 200) / 1000) ** (-slope_db / 6.02)
    x = np.fft.irfft(spectrum, n) * np.clip(np.sin(2 * np.pi * 3 * np.arange(n) / RATE) + 0.6, 0, 1)
    return (0.3 * x / np.abs(x).max()).astype(np.float32)


def check_found(each: np.ndarray, cutoff: float, settled_s: float = SETTLED_S) -> None:
    settled = each[int(settled_s * SPEC.frames_per_s) :]
    assert np.abs(settled - cutoff).max() <= NEAR_HZ, f"from {settled.min():.0f} to {settled.max():.0f} Hz"
    moves = np.count_nonzero(np.diff(settled))
    assert moves <= MOVES_PER_S * len(settled) / SPEC.frames_per_s, f"{moves} moves"


@pytest.mark.parametrize("floor_db", [None, -90, -75])
@pytest.mark.parametrize("slope_db", [3, 6, 9])
@pytest.mark.parametrize("cutoff", [2000, 3400, 4000])
def test_a_narrow_band_in_a_wide_container_is_found(cutoff, slope_db, floor_db):
    x = narrowed(speech_like_noise(6, slope_db), RATE, cutoff)
    if floor_db is not None:
        x = x + noise(len(x), 9, 10 ** (floor_db / 20) / 4)
    settled_s = SETTLED_S if slope_db > 3 else 4.0  # flatter than any voice, it leaks further over the edge
    check_found(tracked(x), cutoff, settled_s)


@pytest.mark.parametrize("cutoff", [2000, 3400, 4000])
def test_a_narrow_voice_in_a_wide_container_is_found(cutoff):
    check_found(tracked(narrowed(voice_like(6), RATE, cutoff)), cutoff)


LOST = [1, 16, 80, 320]  # up to 20 ms


@pytest.mark.parametrize("size", LOST)
@pytest.mark.parametrize("cutoff", [2000, 3400, 4000])
def test_clicks_do_not_widen_a_narrow_band(cutoff, size):
    check_found(tracked(dropping(narrowed(voice_like(6), RATE, cutoff), size)), cutoff, settled_s=1.0)


@pytest.mark.parametrize("size", LOST)
def test_clicks_do_not_narrow_a_wide_voice(size):
    assert (tracked(dropping(voice_like(6), size)) > SPEC.cutoff_max_hz).all()


@pytest.mark.needs_speech
@pytest.mark.parametrize("which", range(0, 30, 5))
def test_clicks_do_not_narrow_wide_recorded_speech(speech, which):
    assert tracked(dropping(speech(10.0, which=which), 80)).min() > SPEC.cutoff_max_hz


@pytest.mark.needs_speech
@pytest.mark.parametrize("which", range(0, 30, 5))
@pytest.mark.parametrize(("cutoff", "share"), [(2000, 0.7), (3400, 0.9), (4000, 0.9)])
def test_clicks_do_not_widen_narrow_recorded_speech(speech, cutoff, share, which):
    """A faint click may stay unseen where it reaches few of the bands; it did so for most of the time once."""
    each = tracked(dropping(narrowed(speech(10.0, which=which), RATE, cutoff), 80))
    assert np.mean(np.abs(each - cutoff) <= NEAR_HZ) > share


@pytest.mark.parametrize("cutoff", [2000, 4000])
def test_narrow_white_noise_is_found_or_left_alone(cutoff):
    each = tracked(narrowed(speech_like_noise(4, 0), RATE, cutoff))[100:]
    assert ((np.abs(each - cutoff) <= NEAR_HZ) | (each == 8000)).all()


@pytest.mark.needs_speech
@pytest.mark.parametrize("which", range(0, 30, 4))
@pytest.mark.parametrize("cutoff", [2000, 3400, 4000])
def test_narrow_recorded_speech_is_found(speech, cutoff, which):
    x = narrowed(speech(10.0, which=which), RATE, cutoff)
    x = x[np.flatnonzero(np.abs(x) > 0.05 * np.abs(x).max())[0] :]
    x[:800] *= np.linspace(0, 1, 800, dtype=np.float32)  # cut off in the middle of a word, it would begin with a click
    check_found(tracked(x), cutoff, settled_s=1.0)


@pytest.mark.parametrize("slope_db", [0, 3, 6, 9, 12])
def test_wide_noise_stays_wide(slope_db):
    assert (tracked(speech_like_noise(6, slope_db)) > SPEC.cutoff_max_hz).all()


def test_a_wide_voice_stays_wide():
    assert (tracked(voice_like(6)) > SPEC.cutoff_max_hz).all()


@pytest.mark.needs_speech
@pytest.mark.parametrize("which", range(0, 30, 3))
def test_wide_recorded_speech_is_never_taken_for_narrow(speech, which):
    assert tracked(speech(10.0, which=which)).min() > SPEC.cutoff_max_hz


@pytest.mark.parametrize("hz", [100, 440, 2500, 3000, 5000])
def test_a_tone_is_not_a_narrow_band(hz):
    """A tone says nothing about where a line's band ends."""
    x = 0.5 * np.sin(2 * np.pi * hz * np.arange(3 * RATE) / RATE)
    assert (tracked(x.astype(np.float32)) > SPEC.cutoff_max_hz).all()


def swept(seconds: float, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    """A tone that rises from 200 to 3400 Hz in octaves."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(200 * 17 ** (time / seconds)) / rate
    return (level * np.minimum(1, np.minimum(time, seconds - time) / 0.02) * np.sin(phase)).astype(np.float32)


@pytest.mark.parametrize("level", [0.3, 0.003])
@pytest.mark.parametrize("seconds", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_a_swept_tone_is_not_a_narrow_band(rate, seconds, level):
    """It leaves its level in every band it passes, but in each frame it is a tone."""
    assert (tracked(swept(seconds, rate, level), rate) == min(rate, RATE) / 2).all()


def test_a_swept_tone_does_not_narrow_the_band_of_a_voice():
    each = tracked(np.concatenate([narrowed(voice_like(3), RATE, 4000), swept(4), narrowed(voice_like(3), RATE, 4000)]))
    assert np.abs(each[SPEC.frames_per_s :] - 4000).max() <= NEAR_HZ


@pytest.mark.parametrize("cutoff", [500, 800])
def test_a_band_below_the_models_range_is_not_followed(cutoff):
    each = tracked(narrowed(voice_like(4), RATE, cutoff))
    assert each.min() >= SPEC.cutoff_min_hz


def test_silence_keeps_what_was_found():
    x = narrowed(voice_like(3), RATE, 4000)
    x = np.concatenate([x, np.zeros(3 * RATE, np.float32), x[: RATE // 2]])
    each = tracked(x)
    found = each[3 * SPEC.frames_per_s - 1]
    assert abs(found - 4000) <= NEAR_HZ
    assert (each[3 * SPEC.frames_per_s : 6 * SPEC.frames_per_s] == found).all()
    assert np.abs(each[6 * SPEC.frames_per_s :] - 4000).max() <= NEAR_HZ


def test_silence_first_says_nothing():
    each = tracked(np.concatenate([np.zeros(RATE, np.float32), noise(RATE, 1, 1e-5)]))
    assert (each == 8000).all()


def test_a_band_that_opens_is_followed_within_a_second():
    """Nothing may be generated over what is there already, so wider is believed fast."""
    x = np.concatenate([narrowed(voice_like(4), RATE, 4000), voice_like(4, seed=1) + noise(4 * RATE, 1, 3e-3)])
    each = tracked(x)
    assert abs(each[4 * SPEC.frames_per_s - 1] - 4000) <= NEAR_HZ
    assert (each[5 * SPEC.frames_per_s :] > SPEC.cutoff_max_hz).all()


def test_a_band_that_closes_is_followed_within_some_seconds():
    x = np.concatenate([voice_like(3) + noise(3 * RATE, 1, 3e-3), narrowed(voice_like(8, seed=1), RATE, 4000)])
    each = tracked(x)
    assert each[3 * SPEC.frames_per_s - 1] > SPEC.cutoff_max_hz
    assert abs(each[-1] - 4000) <= NEAR_HZ


@pytest.mark.parametrize(("rate", "nyquist"), [(4000, 2000), (8000, 4000), (16000, 8000), (48000, 8000)])
def test_before_anything_is_known_the_band_is_what_the_rate_holds(rate, nyquist):
    tracker = CutoffTracker(SPEC, rate)
    assert tracker.cutoff_hz[0] == nyquist
    assert (tracked(voice_like(2, rate) + noise(2 * rate, 1, 1e-3), rate) == nyquist).all()


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_a_tone_at_full_scale_has_twice_the_unit_of_power(rate):
    frames, tracker = Frames(SPEC, rate), CutoffTracker(SPEC, rate)
    for hop in np.sin(2 * np.pi * 1050 * np.arange(rate // 10) / rate).astype(np.float32).reshape(-1, frames.hop):
        spectrum = frames.push(hop[None])
    tracker.push(spectrum)
    assert tracker.memory[0].sum() / 0.25 == pytest.approx(2, rel=1e-3)  # smoothed over four frames


def test_the_level_does_not_matter():
    x = narrowed(voice_like(4), RATE, 4000)
    for gain in (1.0, 0.1, 0.01):
        assert np.abs(tracked(gain * x)[SPEC.frames_per_s :] - 4000).max() <= NEAR_HZ


def test_a_cleared_row_is_a_new_one():
    frames, tracker = Frames(SPEC, RATE), CutoffTracker(SPEC, RATE)
    spectra = [frames.push(hop[None]).copy() for hop in narrowed(voice_like(2), RATE, 4000).reshape(-1, 80)]
    first = [tracker.push(s)[0] for s in spectra]
    assert first[-1] < 5000
    tracker.clear(0)
    assert tracker.cutoff_hz[0] == 8000
    assert [tracker.push(s)[0] for s in spectra] == first
