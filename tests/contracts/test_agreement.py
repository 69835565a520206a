"""Every backend writes the envelopes of the reference in plain torch, and a stream over it gives the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import Reblock
from rtsr.backend import BACKENDS
from tests.backends import open_backend
from tests.contracts import oracle
from tests.signals import noise, voice_like

BOUND = 1e-4  # of the range of the reference's envelopes, and of the largest generated sample
ROUNDED = {"native": 5e-3, "native-int8": 0.015}  # the most that these tests find is 0.0034 and 0.011
OTHERS = [b for b in BACKENDS if b not in ("eager", "null")]


def difference(model: object, name: str, rate: int, cutoff: float, x: np.ndarray) -> float:
    """Largest difference from the envelopes of eager over their range."""
    eager, other = open_backend(model, "eager"), open_backend(model, name)
    heard = oracle.spectra(x, eager.spec, rate)
    cutoffs = np.full(len(heard), cutoff, np.float32)
    expected, got = (oracle.envelopes(m, heard, cutoffs) for m in (eager, other))
    assert np.ptp(expected) > 1
    return np.abs(got - expected).max() / np.ptp(expected)


def sample_difference(model: object, name: str, rate: int, cutoff: float, x: np.ndarray) -> float:
    """Largest difference from a stream over eager, relative to the largest sample that it generates."""
    expected, got, plain = (
        Reblock(open_backend(model, backend), rate, cutoff=cutoff).process(x) for backend in ("eager", name, "null")
    )
    made = np.abs(expected - plain).max()
    assert made > 1e-3
    return np.abs(got - expected).max() / made


@pytest.mark.parametrize("cutoff", [1333.0, 2000.0, 4000.0, 7000.0])
@pytest.mark.parametrize("name", OTHERS)
def test_backends_agree_with_eager(model_path, name, cutoff):
    bound = ROUNDED.get(name, BOUND)
    x = voice_like(3.0) + noise(48000, 1, 1e-3)
    assert difference(model_path, name, 16000, cutoff, x) <= bound
    assert sample_difference(model_path, name, 16000, cutoff, x) <= bound


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        ("voice-16k", 8000),
        ("voice-16k", 48000),
        ("voice-16k-small", 8000),
        ("voice-48k", 16000),
        ("voice-48k-small", 16000),
    ],
)
@pytest.mark.parametrize("name", OTHERS)
def test_backends_agree_with_eager_on_the_shipped_models(model, name, rate):
    bound = ROUNDED.get(name, BOUND)
    x = voice_like(2.0, rate) + noise(2 * rate, 1, 1e-3)
    assert difference(model, name, rate, 4000.0, x) <= bound
    assert sample_difference(model, name, rate, 4000.0, x) <= bound


@pytest.mark.needs_speech
@pytest.mark.parametrize("name", OTHERS)
def test_backends_agree_with_eager_on_recorded_speech(model_path, name, speech):
    assert difference(model_path, name, 16000, 4000.0, speech(6.0, which=3)) <= ROUNDED.get(name, BOUND)
