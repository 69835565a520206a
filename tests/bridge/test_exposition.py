"""What Prometheus reads: as many series after a thousand calls as after one, and counters that never fall."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rtsr.bridge.call import Call, CallOptions
from rtsr.bridge.calls import Calls
from rtsr.bridge.codec import OPUS
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.media import MediaThread
from rtsr.bridge.metrics import exposition
from tests.bridge.packets import Script, packets


async def closed() -> None:
    """A call's connection ends."""


def begin(calls: Calls, name: str, received: int = 0) -> Call:
    leg = calls.make_leg(name, f"room-{name}", OPUS, CallOptions())
    sound = np.zeros(960 * max(received, 1), np.float32)
    for _, packet in list(packets(sound, OPUS, Script()))[:received]:
        leg.speaker.put(packet)
    call = Call(name, "call", leg, closed)
    calls.add(call)
    calls.media.join(leg).result()
    calls.media.tick(0.0)
    return call


def samples(calls: Calls) -> dict[tuple, float]:
    families = text_string_to_metric_families(exposition(calls).decode())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


@pytest.fixture
def media(null):
    one = MediaThread(null, 4, lambda packets: None)
    yield one
    one.stop()


def test_calls_that_come_and_go_leave_no_series(media):
    async def come_and_go() -> None:
        calls = Calls(media, BridgeSettings(), 4)
        seen = []
        for number in range(20):
            call = begin(calls, f"{number}-abc", received=3)
            seen.append(set(samples(calls)))
            calls.end(call.id, "hung up")
            await calls._tasks.finish()
        assert set().union(*seen) == seen[0]
        text = " ".join(map(str, seen[-1]))
        assert "abc" not in text
        assert "room-" not in text

    asyncio.run(come_and_go())


def test_counters_are_of_all_calls_and_never_fall(media):
    async def come_and_go() -> list[float]:
        calls, seen = Calls(media, BridgeSettings(), 4), []
        for name in ("x", "y"):
            begin(calls, name, received=5)
        seen.append(samples(calls)[("rtsr_bridge_speaker_received_total",)])
        for name in ("x", "y"):
            calls.end(name, "hung up")
            seen.append(samples(calls)[("rtsr_bridge_speaker_received_total",)])
        await calls._tasks.finish()
        begin(calls, "z", received=2)
        seen.append(samples(calls)[("rtsr_bridge_speaker_received_total",)])
        return seen

    assert asyncio.run(come_and_go()) == [10, 10, 10, 12]


def test_gauges_are_the_middle_and_the_worst_of_all_speakers(media):
    async def look() -> dict[tuple, float]:
        calls = Calls(media, BridgeSettings(), 4)
        for name, delay_s in (("x", 0.010), ("y", 0.020), ("z", 0.090)):
            begin(calls, name).leg.speaker.playout.delay_s = delay_s
        return samples(calls)

    seen = asyncio.run(look())
    assert seen["rtsr_bridge_speaker_delay_ms", ("quantile", "0.5")] == 20
    assert seen["rtsr_bridge_speaker_delay_ms", ("quantile", "1.0")] == 90
    assert seen["rtsr_bridge_faults_total", ("part", "encoder")] == 0
