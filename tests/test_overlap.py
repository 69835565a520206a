"""Overlap-add gives back what windowed frames say, one hop after the frame began."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtsr.dsp.overlap import OverlapAdd
from rtsr.dsp.windows import SYNTHESIS, synthesis_window
from rtsr.spec import Spec
from tests.signals import noise

SPEC = Spec()


def spectrum(frame: np.ndarray) -> np.ndarray:
    bins = np.fft.rfft(frame.astype(np.float32))
    return np.stack([bins.real, bins.imag], axis=-1).astype(np.float32)


def added(frames: np.ndarray) -> np.ndarray:
    overlap = OverlapAdd(SPEC)
    return np.concatenate([overlap.push(spectrum(frame)[None])[0].copy() for frame in frames])


@pytest.mark.parametrize("kind", SYNTHESIS)
def test_squared_windows_of_neighbouring_frames_sum_to_one(kind):
    window = synthesis_window(replace(SPEC, window=kind)).astype(np.float64)
    np.testing.assert_allclose(window[: SPEC.hop] ** 2 + window[SPEC.hop :] ** 2, 1, atol=1e-6)


def test_the_window_is_symmetric_and_positive():
    window = synthesis_window(SPEC)
    assert window.shape == (SPEC.synthesis,)
    assert 0 < window.min() < 0.02
    np.testing.assert_allclose(window, window[::-1], atol=1e-7)


def test_constant_frames_sum_to_the_two_windows():
    window = synthesis_window(SPEC)
    out = added(np.ones((5, SPEC.synthesis)))
    np.testing.assert_allclose(out[: SPEC.hop], window[: SPEC.hop], atol=1e-6)
    expected = np.tile(window[: SPEC.hop] + window[SPEC.hop :], 4)
    np.testing.assert_allclose(out[SPEC.hop :], expected, atol=1e-6)


def test_frames_that_were_windowed_before_give_the_signal_back():
    x = noise(SPEC.hop * 20, 1)
    frames = np.lib.stride_tricks.sliding_window_view(x, SPEC.synthesis)[:: SPEC.hop] * synthesis_window(SPEC)
    out = added(frames)
    np.testing.assert_allclose(out[SPEC.hop :], x[SPEC.hop : len(out)], atol=1e-6)


def test_a_frame_is_heard_for_two_hops_and_no_longer():
    frames = np.zeros((5, SPEC.synthesis))
    frames[1] = 1
    hops = added(frames).reshape(-1, SPEC.hop)
    assert hops.any(axis=1).tolist() == [False, True, True, False, False]


def test_clearing_drops_the_half_frame_that_is_held():
    overlap = OverlapAdd(SPEC)
    overlap.push(spectrum(np.ones(SPEC.synthesis))[None])
    overlap.clear(0)
    assert not overlap.push(np.zeros((1, SPEC.bins_out, 2), np.float32)).any()
