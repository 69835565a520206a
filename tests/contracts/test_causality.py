"""Nothing that leaves before a sample arrived can depend on it."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import Reblock, Stream
from tests.signals import noise, voice_like


@pytest.mark.parametrize("cutoff", ["auto", 2000.0])
@pytest.mark.parametrize(
    ("rate", "rate_out"),
    [(4000, 16000), (8000, 16000), (16000, 16000), (48000, 16000), (16000, 48000), (44100, 16000), (22050, 48000)],
)
def test_what_comes_later_changes_nothing_before(opened, rate, rate_out, cutoff):
    x = voice_like(0.5, rate)
    for n in (rate // 3 + 1, rate // 4 - 7):
        changed = x.copy()
        changed[n:] = noise(len(x) - n, n, 0.3)
        path = Reblock(opened, rate, rate_out, cutoff=cutoff)
        before = path.process(x)
        path.reset()
        after = path.process(changed)
        due = n * rate_out // rate  # what had left when sample n arrived
        np.testing.assert_array_equal(after[:due], before[:due])
        heard = np.flatnonzero(after != before)
        assert len(heard), "the change was never heard"
        assert heard[0] <= due + path.latency + 1


@pytest.mark.parametrize(("rate", "rate_out"), [(8000, 16000), (16000, 16000), (48000, 48000)])
def test_a_hop_changes_the_output_from_its_own_hop_on(generating, rate, rate_out):
    stream = Stream(generating, rate, rate_out, cutoff=2000.0)
    x = voice_like(0.3, rate)
    x = x[: len(x) // stream.hop * stream.hop].reshape(-1, stream.hop)
    changed = x.copy()
    changed[30] = noise(stream.hop, 1, 0.3)
    before = np.array([stream.process(hop) for hop in x])
    stream.reset()
    after = np.array([stream.process(hop) for hop in changed])
    differs = (before != after).any(axis=1)
    assert not differs[:30].any()
    assert differs[30]  # a stream that waits a hop longer than it reports would be quiet here
