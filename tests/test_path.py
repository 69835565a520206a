"""The path around the network: the cutoff that the network is given, and rows that move or are made new."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtsr.dsp.path import NOTHING_MISSING, HostPath, path_filters
from rtsr.errors import InvalidSetting
from rtsr.spec import Spec
from tests.signals import noise

SPEC = Spec()


def run(path: HostPath, hops: np.ndarray) -> np.ndarray:
    """Give every row the same hops, (n, hop), with an envelope of 1; returns what comes out, (n, rows, hop_out)."""
    rows, out = np.ones(len(path.out), np.bool_), []
    for hop in hops:
        path.blocks[:] = hop
        path.analyse(rows)
        path.envelope[:] = 0
        path.synthesise(rows)
        out.append(path.out.copy())
    return np.array(out)


def test_the_network_is_given_the_fixed_cutoff_else_the_detected_one_and_none_above_its_range():
    path = HostPath(SPEC, 16_000, 16_000, 4)
    path.fixed_hz[:] = 3000, SPEC.cutoff_max_hz, SPEC.cutoff_max_hz + 1, math.nan
    run(path, np.zeros((1, SPEC.hop), np.float32))
    nothing = NOTHING_MISSING * SPEC.rate
    assert path.network_cutoff_hz.tolist() == [3000, SPEC.cutoff_max_hz, nothing, nothing]
    low = HostPath(SPEC, 4000, 16_000, 1)
    run(low, np.zeros((1, SPEC.hop_at(4000)), np.float32))
    assert low.network_cutoff_hz.tolist() == [2000]


@pytest.mark.parametrize("rate_out", [16_000, 48_000])
def test_a_moved_row_goes_on_and_a_cleared_one_is_new(rate_out):
    hops = noise(8 * SPEC.hop_at(8000), 1).reshape(8, -1)
    path = HostPath(SPEC, 8000, rate_out, 2)
    path.fixed_hz[:] = 2500, 3500
    path.mixer.gain[:] = 1, 0.5
    first = run(path, hops)
    assert np.abs(first[:, 0] - first[:, 1]).max() > 0.01
    path.blocks[1] = 1
    path.analyse(np.array([False, True]))
    path.move(0, 1)
    np.testing.assert_array_equal(path.received[1], path.received[0])
    later = run(path, hops)
    np.testing.assert_array_equal(later[:, 1], later[:, 0])
    assert np.abs(later - first).max() > 0.01
    path.clear(1)
    np.testing.assert_array_equal(run(path, hops)[:, 1], first[:, 0])


def test_an_output_rate_under_the_models_is_refused():
    assert path_filters(SPEC, 8000, SPEC.rate)[1] is None
    with pytest.raises(InvalidSetting, match="16000 Hz, got 15999 Hz"):
        path_filters(SPEC, 8000, SPEC.rate - 1)
