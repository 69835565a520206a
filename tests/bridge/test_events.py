"""Telephone events (RFC 4733): read, listed, passed on, and not heard."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from rtsr.bridge.calls import Calls
from rtsr.bridge.codec import PCMU, make_decoder
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.events import MOST_KEPT, Event, EventLog, parse_event, write_event
from rtsr.bridge.jitter import Packet
from rtsr.bridge.media import MediaThread
from rtsr.bridge.playout import Playout
from rtsr.bridge.rtp import PayloadTypes, Read, parse
from rtsr.bridge.rtp_legs import RtpLegs, RtpOptions
from rtsr.speech.g711 import encode


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (b"\x05\x0a\x01\x40", Event(5, False, 10, 320)),
        (b"\x0b\x8a\x03\x20", Event(11, True, 10, 800)),
        (b"\x05\x0a\x01\x40\x05\x0a\x01\x40", Event(5, False, 10, 320)),
    ],
)
def test_an_event_is_read_and_written(payload, event):
    assert parse_event(payload) == event
    assert write_event(event) == payload[:4]


@pytest.mark.parametrize("payload", [b"", b"\x05\x0a\x01"])
def test_what_is_none_is_none(payload):
    assert parse_event(payload) is None


def test_names_and_clocks():
    assert [Event(n, False, 0, 0).name for n in (0, 10, 11, 15, 16, 200)] == ["0", "*", "#", "D", "flash", "200"]
    assert Event(1, True, 0, 800).at_clock(8_000, 48_000).duration == 4_800
    assert Event(1, True, 0, 60_000).at_clock(8_000, 48_000).duration == 65_535


def test_the_packets_of_an_event_are_one_entry_and_the_list_is_bounded():
    log = EventLog()
    for stamp in range(100):
        for duration in (160, 320, 480, 480, 320):
            log.hear(stamp, Event(stamp % 10, duration == 480, 10, duration), stamp * 0.5)
    assert log.count == 100
    shown = log.stats()
    assert len(shown) == MOST_KEPT
    assert shown[-1] == {"event": "9", "at_s": 49.5, "duration_ms": 60}


class Room:
    """RTP legs of one room whose packets go into lists, without sockets."""

    def __init__(self, null) -> None:
        self.now_s = 1.0
        settings = BridgeSettings()
        self.media = MediaThread(null, 4, print)
        self.calls = Calls(self.media, settings, 4)
        self.legs = RtpLegs(settings, self.calls, lambda: self.now_s)
        self.sent: dict[str, list[bytes]] = {}

    async def add(self, codec: str) -> str:
        call, _ = await self.legs.open("r", RtpOptions(PayloadTypes.of(codec)))
        self.sent[call.id] = []
        call.rtp._send = lambda data: self.sent[call.id].append(data) or True
        return call.id

    def session(self, call_id: str):
        return self.calls.by_id[call_id].rtp

    def events(self, call_id: str) -> list[Read]:
        return [read for read in map(parse, self.sent[call_id]) if read.kind == 101]


def in_a_room(null, test) -> None:
    async def run() -> None:
        room = Room(null)
        try:
            await test(room)
        finally:
            await room.calls.drain(0)
            room.media.stop()

    asyncio.run(run())


def press(room: Room, call_id: str, code: int, stamp: int, durations=(160, 320, 480)) -> None:
    for n, duration in enumerate(durations):
        payload = write_event(Event(code, n == len(durations) - 1, 10, duration))
        room.session(call_id).take(Read(101, stamp + n, stamp, 7, payload), room.now_s)
        room.now_s += 0.02


def test_an_event_is_passed_on_to_the_other_telephones_and_shown(null):
    async def test(room: Room) -> None:
        one, other, wide = [await room.add(codec) for codec in (PCMU, "pcma", "opus")]
        press(room, one, 5, 1_000)
        assert room.events(one) == []
        for call_id, scale in ((other, 1), (wide, 6)):
            found = [parse_event(read.payload) for read in room.events(call_id)]
            assert [event.duration for event in found] == [160 * scale, 320 * scale, 480 * scale]
            assert [event.ends for event in found] == [False, False, True]
            assert {event.code for event in found} == {5}
            assert len({read.stamp for read in room.events(call_id)}) == 1
            marks = [data[1] >> 7 for data in room.sent[call_id]]
            assert marks == [1, 0, 0]
        stats = room.calls.by_id[one].stats()
        assert [shown["event"] for shown in stats["events"]] == ["5"]
        assert stats["events"][0]["duration_ms"] == 60

    in_a_room(null, test)


def test_of_two_events_at_once_a_listener_gets_one(null):
    async def test(room: Room) -> None:
        one, two, listener = [await room.add(PCMU) for _ in range(3)]
        for _ in range(3):
            for call_id, code in ((one, 1), (two, 2)):
                payload = write_event(Event(code, False, 10, 160))
                room.session(call_id).take(Read(101, 1, 50, 7, payload), room.now_s)
            room.now_s += 0.02
        assert {parse_event(read.payload).code for read in room.events(listener)} == {1}

    in_a_room(null, test)


def test_a_flood_of_events_is_not_passed_on(null):
    async def test(room: Room) -> None:
        one, other = [await room.add(PCMU) for _ in range(2)]
        for n in range(5_000):
            payload = write_event(Event(n % 16, False, 10, 160))
            room.session(one).take(Read(101, n, n, 7, payload), room.now_s)
        assert len(room.events(other)) <= 100
        assert len(room.calls.by_id[one].stats()["events"]) <= MOST_KEPT

    in_a_room(null, test)


def test_an_event_is_no_click():
    """A key of 100 ms in a voice: its packets have no sound, and time stamps tell that the voice paused."""
    playout, hops = Playout(make_decoder(PCMU), 200), []
    tone = (0.3 * np.sin(2 * np.pi * 300 * np.arange(16_000) / 8_000)).astype(np.float32)
    for tick in range(400):
        now_s = tick * 0.005
        if tick % 4 == 0:
            n = tick // 4
            block = encode(tone[n * 160 : (n + 1) * 160], "mu").tobytes()
            playout.put(Packet(n, n * 160, b"" if 50 <= n < 55 else block, now_s))
        hops.append(playout.read(now_s + 0.001))
    heard = np.concatenate(hops)
    assert np.abs(np.diff(heard)).max() < 1.5 * 0.3 * 2 * np.pi * 300 / 8_000
    assert playout.counts.lost == playout.counts.underruns == 0
