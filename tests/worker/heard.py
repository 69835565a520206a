"""What the worker is given in these tests, and what is looked for in what it gives."""

from __future__ import annotations

import numpy as np

from rtsr.io import layout as at
from tests.fakehost import FakeHost
from tests.signals import narrowed, voice_like

RATE = 48_000
VOICE = narrowed(voice_like(12, RATE, seed=3), RATE, 3900)
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(12 * RATE) / RATE)).astype(np.float32)


NEVER_DB = -np.inf  # no level is below it: the network does not sleep


def from_array(signal: np.ndarray, start: int, count: int) -> np.ndarray:
    return np.take(signal, np.arange(start, start + count), mode="wrap")


def steps(signal: np.ndarray) -> float:
    """The largest step from sample to sample."""
    return float(np.abs(np.diff(signal)).max())


def counts(fake: FakeHost) -> tuple[int, int]:
    head = fake.worker.shared.head
    return int(head[at.WORKER_UNDERRUNS]), int(head[at.INPUT_UNDERRUNS])
