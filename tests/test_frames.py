"""Frames are the windowed past at any rate, and one function of time whatever the rate."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.dsp.frames import Frames
from rtsr.dsp.windows import analysis_window
from rtsr.spec import Spec
from tests.signals import narrowed, noise, voice_like

SPEC = Spec()
RATES = [4000, 8000, 16000, 32000, 48000]


def spectra(x: np.ndarray, rate: int) -> np.ndarray:
    frames = Frames(SPEC, rate)
    whole = x[: len(x) // frames.hop * frames.hop].reshape(-1, frames.hop)
    return np.array([frames.push(hop[None])[0].copy() for hop in whole])


@pytest.mark.parametrize("rate", RATES)
def test_a_frame_is_the_windowed_past(rate):
    x = noise(rate // 10, 1)
    got = spectra(x, rate)
    hop, history = SPEC.hop_at(rate), SPEC.history_at(rate)
    padded = np.concatenate([np.zeros(history - hop), x])
    for k in (0, 3, len(got) - 1):
        frame = padded[k * hop : k * hop + history] * analysis_window(SPEC, rate) * (16000 / rate)
        bins = np.fft.rfft(frame)[: SPEC.bins_in]
        np.testing.assert_allclose(got[k, : len(bins), 0], bins.real, atol=1e-4)
        np.testing.assert_allclose(got[k, : len(bins), 1], bins.imag, atol=1e-4)


@pytest.mark.parametrize("rate", [4000, 8000])
def test_bins_that_a_low_rate_does_not_have_are_zero(rate):
    got = spectra(noise(rate // 10, 1), rate)
    assert got.shape[1:] == (SPEC.bins_in, 2)
    bins = SPEC.history_at(rate) // 2 + 1
    assert not got[:, bins:].any()
    assert got[:, : bins - 1].any(axis=(0, 2)).all()


@pytest.mark.parametrize("rate", [8000, 32000, 48000])
def test_frames_of_one_signal_agree_at_every_rate(rate):
    fine = narrowed(voice_like(2.0, 96000), 96000, 3000)
    same, other = (spectra(fine[:: 96000 // r], r) for r in (16000, rate))
    error = same[10:, :105] - other[10:, :105]  # up to 3500 Hz: at the edge of a low rate the window's tail folds
    assert 20 * np.log10(np.abs(error).max() / np.abs(same).max()) < -55
    assert np.square(error).mean() / np.square(same).mean() < 10**-6


@pytest.mark.parametrize("rate", RATES)
def test_the_window_rises_slowly_and_falls_over_the_newest_hop(rate):
    window = analysis_window(SPEC, rate)
    assert window.shape == (SPEC.history_at(rate),)
    assert window.dtype == np.float32
    peak = len(window) - SPEC.hop_at(rate)
    assert np.argmax(window) == peak
    assert window[peak] == 1
    assert (np.diff(window[: peak + 1]) > 0).all()
    assert (np.diff(window[peak:]) < 0).all()
    assert 0 <= window.min() < 0.01


def test_a_cleared_row_is_a_new_one():
    frames = Frames(SPEC, 8000)
    hop = noise(40, 1)
    first = frames.push(hop[None]).copy()
    frames.push(noise(40, 2)[None])
    frames.clear(0)
    np.testing.assert_array_equal(frames.push(hop[None]), first)
