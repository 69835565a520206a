"""The bridge's media thread on a card: nothing is recorded once calls go on, and they outlive the card."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.bridge.codec import OPUS, PCMA
from rtsr.net.weights import Weights
from tests.bridge.test_media import TONES, Played

torch = pytest.importorskip("torch")

from rtsr.backend import replays  # noqa: E402
from rtsr.backend.graph import GraphBackend  # noqa: E402
from tests.contracts.cuda import FakeCuda  # noqa: E402


@pytest.fixture
def on_card(model_path, monkeypatch):
    """A media thread and what stands in for its card."""
    cuda = FakeCuda(monkeypatch)
    played = Played(GraphBackend(Weights.find(model_path), "cpu"), limit=2)
    yield played, cuda
    played.media.stop()


def test_no_call_waits_for_another_rates_recording(on_card, tone):
    played, cuda = on_card
    recorded = len(cuda.keys)
    assert recorded
    for name, codec in (("a", OPUS), ("b", PCMA)):
        played.leg(name, tone(TONES[name], 0.3, 48_000), codec)
        played.run(0.15)
    assert played.media.pool.running_on == ["graph"]
    assert cuda.replayed > 30
    assert len(cuda.keys) == recorded


def test_calls_outlive_a_card_that_hangs(on_card, tone, monkeypatch):
    played, cuda = on_card
    monkeypatch.setattr(replays, "HANG_S", 0.02)
    for name in "ab":
        played.leg(name, tone(TONES[name], 1.0, 48_000))
    played.run(0.3)
    cuda.hanging.update(range(1, 1 + cuda.streams))
    played.run(0.7)
    assert played.media.pool.running_on == ["null"]
    assert played.levels("a", 0.3)["b"] == pytest.approx(0.3, abs=0.05)
    assert np.isfinite(played.sound("b")).all()
