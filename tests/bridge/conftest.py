"""The bridge's parts without a network: packets come from scripts, time from loops."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

import numpy as np
import pytest

NEEDED = ("aiortc", "aiohttp", "prometheus_client")

if os.environ.get("CI") != "true" and not all(map(importlib.util.find_spec, NEEDED)):
    collect_ignore_glob = ["test_*.py"]  # with CI=true the missing import is an error


@pytest.fixture
def tone() -> Callable[[float, float, int], np.ndarray]:
    """Call it with a frequency, seconds and a rate."""

    def make(hz: float, seconds: float, rate: int) -> np.ndarray:
        return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)

    return make
