"""Every backend generates what the reference in plain torch generates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest

from rtsr.backend import BACKENDS, Backend
from tests.backends import open_backend
from tests.contracts import oracle
from tests.signals import noise, voice_like

BOUND = 1e-4
OTHERS = [b for b in BACKENDS if b not in ("eager", "null")]


@contextlib.contextmanager
def phase_lengths(eager: Backend) -> Iterator[list[np.ndarray]]:
    """Gather the lengths (frames, bins_out) of the phase pairs that the reference turns into a band."""
    lengths: list[np.ndarray] = []
    band = eager.net.band

    def watched(raw, power, cutoff):
        _, a, b = raw.detach().float().flatten(0, -2).chunk(3, dim=-1)
        lengths.append(np.hypot(a.numpy(), b.numpy()))
        return band(raw, power, cutoff)

    eager.net.band = watched
    try:
        yield lengths
    finally:
        eager.net.band = band


def difference(model: object, name: str, rate: int, cutoff: float, x: np.ndarray) -> tuple[float, float]:
    """Largest difference from eager over the largest magnitude, and the same for root mean squares.

    The network's pair of numbers for a phase has no direction near zero: rounding turns one of length 0.03 thirty times
    as far as one of length 1, so that a difference counts by the pair's length where that is less than 1.
    """
    eager, other = open_backend(model, "eager"), open_backend(model, name)
    heard = oracle.spectra(x, eager.spec, rate)
    cutoffs = np.full(len(heard), cutoff, np.float32)
    with phase_lengths(eager) as lengths:
        expected = oracle.generate(eager, heard, cutoffs)
    error = oracle.generate(other, heard, cutoffs) - expected
    error *= np.minimum(1, np.concatenate(lengths))[:, :, None]
    assert np.abs(expected).max() > 1e-3
    return np.abs(error).max() / np.abs(expected).max(), np.sqrt(np.square(error).mean() / np.square(expected).mean())


@pytest.mark.parametrize("cutoff", [1333.0, 2000.0, 4000.0, 7000.0])
@pytest.mark.parametrize("name", OTHERS)
def test_backends_agree_with_eager(model_path, name, cutoff):
    x = voice_like(3.0) + noise(48000, 1, 1e-3)
    assert max(difference(model_path, name, 16000, cutoff, x)) <= BOUND


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
    x = voice_like(2.0, rate) + noise(2 * rate, 1, 1e-3)
    assert max(difference(model, name, rate, 4000.0, x)) <= BOUND


@pytest.mark.needs_speech
@pytest.mark.parametrize("name", OTHERS)
def test_backends_agree_with_eager_on_recorded_speech(model_path, name, speech):
    assert max(difference(model_path, name, 16000, 4000.0, speech(6.0, which=3))) <= BOUND
