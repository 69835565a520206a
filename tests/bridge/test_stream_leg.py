"""Audio over a connection: at whatever pace it comes, the jitter buffer gets it in time; all of it is bounded."""

from __future__ import annotations

import asyncio
import json

import numpy as np

from rtsr.bridge.call import CallOptions
from rtsr.bridge.calls import Calls
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.media import MediaThread
from rtsr.bridge.stream_leg import AHEAD_S, MOST_HELD_S, MOST_MARKS, MOST_QUEUED, Outbox, StreamLeg

MS = 8  # bytes of mu-law


class Bench:
    def __init__(self, null) -> None:
        self.media = MediaThread(null, 4, print)
        self.calls = Calls(self.media, BridgeSettings(), 4)
        self.now_s = 100.0
        self.closed = 0

    def leg(self, codec: str = "pcmu") -> StreamLeg:
        async def close() -> None:
            self.closed += 1

        leg = StreamLeg(self.calls, "r", codec, CallOptions(kind="stream"), close, bytes, json.dumps)
        leg._loop = Clock(self)
        leg._until_s = leg._base_s = self.now_s
        return leg


class Clock:
    """A loop whose time stands still; what is due later is noted."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.later = bench, []

    def time(self) -> float:
        return self.bench.now_s

    def call_later(self, delay_s: float, do):
        self.later.append((self.bench.now_s + delay_s, do))
        return asyncio.get_running_loop().call_later(1_000, print)

    def run(self, until_s: float) -> None:
        while due := sorted((one for one in self.later if one[0] <= until_s), key=lambda one: one[0]):
            self.later.remove(due[0])
            self.bench.now_s = max(self.bench.now_s, due[0][0])
            due[0][1]()
        self.bench.now_s = until_s


def on_a_bench(null, test) -> None:
    async def run() -> None:
        bench = Bench(null)
        try:
            await test(bench)
        finally:
            await bench.calls.drain(0)
            bench.media.stop()

    asyncio.run(run())


def packets(leg: StreamLeg) -> list:
    came = list(leg.leg.speaker.inbox)
    leg.leg.speaker.inbox.clear()
    return came


def test_audio_in_real_time_is_handed_on_at_once(null):
    async def test(bench: Bench) -> None:
        leg = bench.leg()
        for n in range(10):
            leg.hear(bytes(20 * MS), n * 0.02)
            (packet,) = packets(leg)
            assert len(packet.payload) == 160
            bench.now_s += 0.02
        assert not leg._held

    on_a_bench(null, test)


def test_an_answer_that_comes_at_once_is_played_in_its_time(null):
    async def test(bench: Bench) -> None:
        leg = bench.leg()
        leg.hear(bytes(3_000 * MS))
        first = packets(leg)
        assert len(first) == round(AHEAD_S / 0.02) + 1
        came = len(first)
        for _ in range(50):
            leg._loop.run(bench.now_s + 0.06)
            found = packets(leg)
            assert len(found) <= 4
            came += len(found)
        stamps = [packet.stamp for packet in first]
        assert set(np.diff(stamps)) == {160}
        assert came == 150
        assert leg._held_bytes == 0

    on_a_bench(null, test)


def test_a_stall_of_the_connection_does_not_shift_the_stream(null):
    """Five packets at once after 100 ms: their times go on where the last one ended."""

    async def test(bench: Bench) -> None:
        leg = bench.leg()
        stamps = []
        for burst in (1, 1, 5, 1, 1):
            for _ in range(burst):
                leg.hear(bytes(20 * MS))
            bench.now_s += 0.02 if burst == 1 else 0.0
            if burst == 5:
                bench.now_s += 0.1
            stamps += [packet.stamp for packet in packets(leg)]
        assert set(np.diff(stamps)) == {160}

    on_a_bench(null, test)


def test_a_pause_is_a_gap_in_the_time_stamps(null):
    async def test(bench: Bench) -> None:
        leg = bench.leg()
        leg.hear(bytes(20 * MS))
        bench.now_s += 2.0
        leg.hear(bytes(20 * MS))
        one, two = packets(leg)
        assert two.stamp - one.stamp == 16_000

    on_a_bench(null, test)


def test_time_stamps_that_leap_are_followed(null):
    async def test(bench: Bench) -> None:
        leg = bench.leg()
        for at_s in (0.0, 5e6, 3.0, 1e9):
            leg.hear(bytes(20 * MS), at_s)
            (packet,) = packets(leg)
            assert abs(packet.stamp - bench.now_s * 8_000) < 200
            bench.now_s += 0.02

    on_a_bench(null, test)


def test_what_is_held_is_bounded_and_counted(null):
    async def test(bench: Bench) -> None:
        leg = bench.leg()
        for _ in range(100):
            leg.hear(bytes(2_000 * MS))
        assert leg._held_bytes <= MOST_HELD_S * 8_000
        assert leg.refused > 100 * 2_000 * MS - (MOST_HELD_S + 2) * 8_000
        for n in range(1_000):
            leg.mark(str(n))
        assert leg._marks == MOST_MARKS
        for _ in range(10_000):
            leg.hear(b"\xff")

    on_a_bench(null, test)


def test_bytes_that_come_one_by_one_are_whole_packets(null):
    async def test(bench: Bench) -> None:
        leg = bench.leg("l16")
        for n in range(1_600):
            leg.hear(bytes([n % 2]))
        assert b"".join(packet.payload for packet in packets(leg)) == b"\x01\x00" * 800

    on_a_bench(null, test)


def test_a_mark_is_told_when_the_audio_before_it_was_played_or_cleared(null):
    async def test(bench: Bench) -> None:
        leg, told = bench.leg(), []
        leg.outbox.put = lambda message, audio=True: told.append(message)
        leg.hear(bytes(500 * MS))
        leg.mark("first")
        leg.hear(bytes(2_000 * MS))
        leg.mark("second")
        leg._loop.run(100.4)
        assert told == []
        leg._loop.run(100.6)
        assert told == ['"first"']
        leg.clear()
        assert told == ['"first"', '"second"']
        assert leg._held_bytes == 0
        packets(leg)
        leg.hear(bytes(20 * MS))
        assert len(packets(leg)) == 1, "what comes after a clear waits for what was cleared"

    on_a_bench(null, test)


def test_keys_are_listed_and_a_flood_of_them_is_not(null):
    async def test(bench: Bench) -> None:
        leg = bench.leg()
        for key in ("5", "#", "d", "", "55", None, 7, "\u00e9"):
            leg.press(key)
        assert [shown["event"] for shown in leg.call.stats()["events"]] == ["5", "#", "D"]
        for _ in range(1_000):
            leg.press("1")
        assert leg.leg.events.count <= 20

    on_a_bench(null, test)


def test_a_peer_that_does_not_read_loses_the_oldest_audio_and_no_mark():
    box = Outbox()
    for n in range(1_000):
        box.put(bytes([n % 256]))
    box.put("mark", audio=False)
    assert len(box._waiting) == MOST_QUEUED + 1
    assert box.dropped == 1_000 - MOST_QUEUED
    assert box._waiting[-1][0] == "mark"


def test_a_leg_that_ends_closes_its_connection_and_leaves_nothing(null):
    async def test(bench: Bench) -> None:
        leg = bench.leg()
        leg.hear(bytes(3_000 * MS))
        bench.calls.end(leg.call.id, "hung up")
        await bench.calls._tasks.finish()
        assert bench.closed == 1
        assert not leg._held
        assert len(bench.media.pool) == 0

    on_a_bench(null, test)
