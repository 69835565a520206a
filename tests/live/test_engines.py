"""`rtsr live --engine`: a voice through each worker, on a real server, steered while it flows."""

from __future__ import annotations

import time

import pytest

from tests.live.running import SETTLED_S, THROUGH, rtsr, voice
from tests.live.servers import RATE, Recorder, play
from tests.signals import power_db


def high_band_db(server, sound) -> float:
    """How loud the missing band is in what comes out while a voice is played, in the middle of it."""
    recorder = Recorder(server, "B.monitor")
    play(server, "A", sound).wait(60)
    heard, _ = recorder.stop()
    return power_db(heard, RATE, 4500, 7500)


@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_voice_is_enhanced_by_either_and_steered(pulse, live, engine):
    running, sound = live(pulse, *THROUGH, "--engine", engine), voice(2)
    time.sleep(SETTLED_S)
    assert running.stats()["engine"] == engine
    assert running.stats()["backend"] == ("native" if engine == "native" else running.stats()["backend"])
    enhanced = high_band_db(pulse, sound)
    assert enhanced > power_db(sound, RATE, 4500, 7500) + 20
    assert running.ask("gain", -20.0) == -20.0
    assert high_band_db(pulse, sound) < enhanced - 10
    assert running.ask("gain", 0.0) == 0.0
    assert running.ask("model", "voice-16k") == "voice-16k"
    running.wait_for_event("model")
    assert running.ask("bypass", "on") is True
    assert high_band_db(pulse, sound) < enhanced - 10
    assert running.ask("mute", "on") is True
    stats = running.stats()
    assert stats["hops"] > 0
    assert stats["model"] == "voice-16k"
    assert 0 < stats["compute_ms"]["p50"] < 5
    assert running.stop() == 0


def test_an_engine_that_cannot_be_is_refused(pulse):
    done = rtsr(pulse, "live", "--engine", "native", "--backend", "ort")
    assert done.returncode == 1
    assert "expected native or auto with the native engine, got 'ort'" in done.stderr
