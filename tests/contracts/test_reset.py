"""A stream that was reset is a new stream, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import Reblock, Stream
from tests.signals import cut, narrowed, noise, voice_like

RATES = [(8000, 16000), (16000, 16000), (16000, 48000), (44100, 16000), (8000, 44100)]


@pytest.mark.parametrize("cutoff", ["auto", 2000.0])
@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_reset_gives_the_same_bits(opened, rate, rate_out, cutoff):
    x, other = voice_like(0.6, rate), noise(rate // 2 + 13, 1, 0.3)
    other[1000:1100] = np.nan
    path = Reblock(opened, rate, rate_out, cutoff=cutoff)
    first = np.concatenate([path.process(b) for b in cut(x, "random")])
    path.process(other)
    path.reset()
    second = np.concatenate([path.process(b) for b in cut(x, "random")])
    np.testing.assert_array_equal(first.view(np.int32), second.view(np.int32))
    new = Reblock(opened, rate, rate_out, cutoff=cutoff)
    third = np.concatenate([new.process(b) for b in cut(x, "random")])
    np.testing.assert_array_equal(first.view(np.int32), third.view(np.int32))


def test_reset_forgets_a_detected_cutoff(opened):
    stream = Stream(opened, 16000)
    for hop in narrowed(voice_like(2.0), 16000, 4000).reshape(-1, stream.hop):
        stream.process(hop)
    assert stream.cutoff_hz < 5000
    stream.reset()
    assert stream.cutoff_hz == 8000


def test_streams_of_one_model_do_not_hear_each_other(opened):
    x, other = voice_like(0.5, 8000), noise(4000, 2, 0.3)
    alone = Reblock(opened, 8000, cutoff=2000.0).process(x)
    first, second = (Reblock(opened, 8000, cutoff=2000.0) for _ in range(2))
    parts = []
    for mine, foreign in zip(cut(x, 100), cut(other, 100), strict=True):
        parts.append(first.process(mine))
        second.process(foreign)
    np.testing.assert_array_equal(np.concatenate(parts), alone)
