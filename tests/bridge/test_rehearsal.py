"""What a call would compile or load is there before the first call."""

from __future__ import annotations

import logging
import subprocess
import sys

from rtsr.bridge import rehearsal
from rtsr.bridge.log import log

CALLS = """
import gc
import numpy as np
from numba.core.registry import CPUDispatcher
from rtsr.backend import load
from rtsr.bridge.codec import CODECS
from rtsr.bridge.leg import Leg, Speaker
from rtsr.bridge.media import MediaThread
from rtsr.bridge.recorded_track import RecordedTrack
from rtsr.bridge.rehearsal import rehearse
from tests.bridge.packets import Script, packets, uniform

def compiled() -> dict[str, int]:
    return {{one.__qualname__: len(one.signatures) for one in gc.get_objects() if isinstance(one, CPUDispatcher)}}

model = load("voice-16k", "{backend}")
if {rehearsed}:
    rehearse(model.spec, 20)
media = MediaThread(model, 16, lambda packets: None)
before, coming, legs = compiled(), [], []
sound = 0.1 * np.random.default_rng(0).standard_normal(3 * 48_000).astype(np.float32)
for ppm in (-500, 500):
    for codec in CODECS:
        speaker = Speaker(codec, media.frames_per_s, least_s=0.01, narrow_hz=4_000 if ppm > 0 else None)
        leg = Leg(codec, str(ppm), speaker, lambda packet, stamp: None, codec)
        leg.recording = RecordedTrack(codec, {{}}, 48_000, 240)
        media.join(leg).result()
        legs.append(leg)
        script = Script(loss=0.05, faster_ppm=ppm, late_s=uniform(0.01), pauses=lambda s: 1.0 < s < 1.4)
        coming += [(packet.arrived_s, speaker, packet) for _, packet in packets(sound, codec, script)]
coming.sort(key=lambda one: one[0])
for tick in range(600):
    while coming and coming[0][0] <= tick * 0.005:
        coming[0][1].put(coming.pop(0)[2])
    if tick == 300:
        for leg in legs:
            leg.plain = frozenset(CODECS)
            media.choose(leg).result()
            media.bypass(leg, True).result()
    media.tick((tick + 0.25) * 0.005)
assert not any(media.faults.counts.values()), media.faults.counts
print(*(name for name, count in compiled().items() if count > before.get(name, 0)))
"""


def compiled_in_calls(backend: str, rehearsed: bool) -> list[str]:
    """Which functions the first calls of a process compile, or load from numba's cache."""
    script = CALLS.format(backend=backend, rehearsed=rehearsed)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_calls_compile_nothing():
    assert "period" in compiled_in_calls("null", rehearsed=False)
    assert compiled_in_calls("null", rehearsed=True) == []


def test_a_long_rehearsal_says_why(null, monkeypatch, caplog):
    with caplog.at_level(logging.INFO, logger=log.name):
        monkeypatch.setattr(rehearsal, "NOTICE_S", 1_000)
        rehearsal.rehearse(null.spec, 20)
        assert caplog.messages == []
        monkeypatch.setattr(rehearsal, "NOTICE_S", 0.01)
        rehearsal.rehearse(null.spec, 20)
    assert [message.partition(" ")[0] for message in caplog.messages] == ["event=compiling"]
