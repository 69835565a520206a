"""`rtsr live --worker`: a voice through each worker, on a real server, steered while it flows."""

from __future__ import annotations

import time

import numpy as np
import pytest

import rtsr
from tests.live.running import SETTLED_S, THROUGH, lag, through, voice
from tests.live.running import rtsr as run
from tests.live.servers import RATE, Server
from tests.signals import power_db

pytestmark = pytest.mark.alone

MODEL = "voice-16k"  # one that hisses in silence would differ where the live network sleeps
LEVEL_DB = 1.5  # as the hops begin elsewhere, and a stall of the machine may cost a moment of the band


def high_bands_db(server: Server, sound: np.ndarray) -> tuple[float, float]:
    """How loud the missing band is in what comes out, and in what the same model makes offline of what went in."""
    heard, given, _ = through(server, "A", "B.monitor", sound)
    offline = rtsr.enhance(heard, RATE, RATE, model=MODEL, cutoff=4000)
    late = lag(offline, given)
    return power_db(given[late:], RATE, 4500, 7500), power_db(offline[: len(given) - late], RATE, 4500, 7500)


@pytest.mark.parametrize("worker", ["native", "python"])
def test_a_voice_is_enhanced_by_either_and_steered(pulse, live, worker, model_path):
    running, sound = live(pulse, *THROUGH, "--worker", worker, "--model", MODEL), voice(2)
    time.sleep(SETTLED_S)
    assert running.stats()["worker"] == worker
    assert running.stats()["backend"] == ("native" if worker == "native" else running.stats()["backend"])
    enhanced, offline = high_bands_db(pulse, sound)
    assert enhanced == pytest.approx(offline, abs=LEVEL_DB)
    assert running.ask("gain", -20.0) == -20.0
    assert high_bands_db(pulse, sound)[0] < enhanced - 10
    assert running.ask("gain", 0.0) == 0.0
    assert running.ask("model", str(model_path)) == "random-16k"
    running.wait_for_event("model")
    assert running.ask("bypass", "on") is True
    assert high_bands_db(pulse, sound)[0] < enhanced - 10
    assert running.ask("mute", "on") is True
    stats = running.stats()
    assert stats["hops"] > 0
    assert stats["model"] == "random-16k"
    assert 0 < stats["compute_ms"]["p50"] < 5
    assert running.stop() == 0


def test_a_worker_without_its_backend_is_refused(pulse):
    done = run(pulse, "live", "--worker", "native", "--backend", "ort")
    assert done.returncode == 1
    assert "expected native, native-int8, native-float32 or auto with the native worker, got 'ort'" in done.stderr
