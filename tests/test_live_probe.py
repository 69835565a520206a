"""The probe of `rtsr latency`: a burst that a telephone's path passes, found where it begins and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.daemon.probe import BURST_S, LEVEL, RATE, TOP_HZ, Trip, find, probe, table
from tests.signals import noise, power_db


def test_a_burst_lasts_50_ms_and_lies_in_the_band_of_a_telephone():
    burst = probe()
    assert len(burst) == 2400 == BURST_S * RATE
    assert np.abs(burst).max() == pytest.approx(LEVEL)
    assert power_db(burst, RATE, 0, TOP_HZ) > power_db(burst, RATE, TOP_HZ + 100, RATE / 2) + 60
    for low_hz in range(0, TOP_HZ, 500):
        assert power_db(burst, RATE, low_hz, low_hz + 500) > power_db(burst, RATE, 0, TOP_HZ) - 15


@pytest.mark.parametrize("place", [0, 1234, 16_000])
@pytest.mark.parametrize("gain", [1.0, -0.1])
def test_a_burst_is_found_where_it_begins_in_noise(place, gain):
    heard = noise(16_000 + 2400, 3, 0.01)
    heard[place : place + 2400] += gain * probe(1)
    assert find(probe(1), heard) == place


def test_nothing_is_found_in_noise():
    assert [find(probe(0), noise(19_200, 100 + seed, 0.01)) for seed in range(20)] == 20 * [None]


def test_nothing_is_found_in_silence_nor_where_the_burst_is_60_db_down():
    heard = np.zeros(8000, np.float32)
    assert find(probe(), heard) is None
    heard[100:2500] += 1.1e-3 * probe()
    assert find(probe(), heard) == 100
    assert find(probe(), heard * 0.9) is None


def test_the_table_has_what_was_measured_and_what_is_computed():
    computed = {"voice": {"latency_ms": {"device": 2.54, "ring": 3.0}}, "other": {"latency_ms": {"ring": 1.0}}}
    rows = [("computed, voice: device", "2.5 ms"), ("computed, voice: ring", "3.0 ms")]
    rows.append(("computed, other: ring", "1.0 ms"))
    assert table(None, computed) == rows
    measured = table(Trip(20.04, 18.0, 25.06, 7, 8), {})
    assert [value for _, value in measured] == ["20.0 ms", "18.0 and 25.1 ms", "7 of 8"]
    assert table(Trip(20.04, 18.0, 25.06, 7, 8), computed) == measured + rows
