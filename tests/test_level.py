"""Levels: the largest magnitude of samples, and as people read them."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.dsp.level import level_db, peak


@pytest.mark.parametrize(("samples", "largest"), [([], 0), ([0.25, -0.5], 0.5), ([-0.25, 0.75, 0.5], 0.75)])
def test_the_peak_is_the_largest_magnitude(samples, largest):
    assert peak(np.array(samples, np.float32)) == largest


@pytest.mark.parametrize(("level", "shown"), [(1.0, 0.0), (2.0, 6.0), (0.11, -19.2), (2e-5, -94.0), (0.0, -100.0)])
def test_a_level_is_decibels_of_full_scale_to_a_tenth_and_no_less_than_a_hundred_under_it(level, shown):
    assert level_db(level) == shown
