"""What arrives is cleaned, and the two bands are added within full scale; rows that are not active stand still."""

from __future__ import annotations

import numpy as np

from rtsr.dsp.mix import Mixer, clean

SECOND = np.array([False, True])


def test_clean_clips_and_takes_what_is_no_number_for_silence():
    hops = np.array(2 * [[0.5, -3, np.nan, np.inf, -np.inf, 1e30]], np.float32)
    before = hops.copy()
    clean(hops, SECOND)
    np.testing.assert_array_equal(hops, [before[0], [0.5, -1, 0, 1, -1, 1]])


def test_the_mixer_slides_the_gain_and_clips():
    received = np.array(2 * [[0.1, 0.1, 0.1, 0.9]], np.float32)
    generated = np.full((2, 4), 0.4, np.float32)
    mixer = Mixer(4, rows=2)
    mixer.gain_now[:] = 0
    out = mixer.push(received, generated, SECOND)
    np.testing.assert_allclose(out, [[0, 0, 0, 0], [0.2, 0.3, 0.4, 1.0]], atol=1e-7)
    out = mixer.push(-received, -generated)
    np.testing.assert_allclose(out, [[-0.2, -0.3, -0.4, -1.0], [-0.5, -0.5, -0.5, -1.0]], atol=1e-7)


def test_a_cleared_row_starts_with_its_gain():
    mixer = Mixer(4, rows=2)
    mixer.gain[:] = 0.5, 0.25
    mixer.clear(0)
    assert mixer.gain_now.tolist() == [0.5, 1]
    mixer.move(0, 1)
    assert (mixer.gain.tolist(), mixer.gain_now.tolist()) == ([0.5, 0.5], [0.5, 0.5])
