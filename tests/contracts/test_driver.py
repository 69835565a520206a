"""The CUDA driver's functions, through the library that stands in for it."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import BackendFailed
from rtsr.backend import driver
from tests.contracts.cuda_driver import fake_driver

__all__ = ["fake_driver"]


def test_streams_are_made_on_the_card_that_is_asked_for(fake_driver):
    assert [driver.new_stream(card) for card in (0, 1, 1)] == [101, 202, 203]
    assert (fake_driver.depth, fake_driver.current) == (0, -1), "the thread's own card is current again"


def test_a_card_that_is_not_there_is_refused(fake_driver):
    with pytest.raises(BackendFailed, match=r"cuDeviceGet .* failed: OTHER \(101\)"):
        driver.new_stream(2)


def test_bytes_are_copied_and_errors_told(fake_driver):
    source, target = np.arange(5, dtype=np.float32), np.zeros(5, np.float32)
    driver.copy(1, target[1:].ctypes.data, source.ctypes.data, 8)
    np.testing.assert_array_equal(target, [0, 0, 1, 0, 0])
    fake_driver.fail(719)
    with pytest.raises(BackendFailed, match=r"LAUNCH_FAILED \(719\)"):
        driver.copy(1, target.ctypes.data, source.ctypes.data, 8)
    assert fake_driver.depth == 0


def test_pinned_memory_is_released_with_its_array(fake_driver):
    array = np.zeros(10, np.float32)
    driver.pin(0, array)
    assert fake_driver.pinned == 40
    del array
    assert fake_driver.pinned == 0


def test_without_a_driver_it_says_so(monkeypatch):
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-that-is-not.so")
    driver._library.cache_clear()
    with pytest.raises(BackendFailed, match="no NVIDIA driver"):
        driver.new_stream(0)
    driver._library.cache_clear()
