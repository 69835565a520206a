"""The plain RTP leg on a scripted clock: who gets in, who is answered, and what ends a call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from rtsr.bridge.calls import Calls
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.latch import CHANGE_S
from rtsr.bridge.media import MediaThread
from rtsr.bridge.rtcp import BYE, RECEIVER_REPORT
from rtsr.bridge.rtp import parse, write
from rtsr.bridge.service import BridgeService
from rtsr.bridge.telephone import BUSY_S, Telephone
from rtsr.errors import InvalidSetting
from tests.bridge.test_rtp import rtcp

pytestmark = pytest.mark.realtime
HERE, ELSEWHERE = ("127.0.0.1", 9), ("127.0.0.1", 10)
VOICE = b"\x80" * 160


class Bench:
    """A telephone leg with a clock that stands still."""

    def __init__(self, null, **settings) -> None:
        self.now_s = 1.0  # a machine that has just started
        self.settings = BridgeSettings(rtp="127.0.0.1:0", **settings)
        self.media = MediaThread(null, 2, print)
        self.calls = Calls(self.media, self.settings, 2)
        self.telephone = Telephone(self.settings, self.calls, lambda: self.now_s)
        self.number = 0
        self.sent: list[tuple[bytes, tuple]] = []

    def say(self, place=HERE, source: int = 7, kind: int = 0, payload: bytes = VOICE, packets: int = 2) -> None:
        for _ in range(packets):
            self.number += 1
            self.telephone.endpoint.take(write(kind, self.number, self.number * 160, source, payload), place)

    @property
    def call(self):
        return next(iter(self.calls.by_id.values()), None)

    def heard(self) -> int:
        return len(self.call.leg.speaker.inbox)

    def room_speaks(self) -> int:
        """How many packets leave where the room says something."""
        before = len(self.sent)
        if self.call:
            self.call.leg.deliver(b"hello", 160)
        return len(self.sent) - before

    async def later(self, seconds: float) -> None:
        self.now_s += seconds
        await self.telephone.look_after()
        self.calls.sweep()
        await self.calls._tasks.finish()


@asynccontextmanager
async def opened(null, **settings) -> AsyncIterator[Bench]:
    bench = Bench(null, **settings)
    await bench.telephone.open()
    bench.telephone.endpoint.rtp.send = lambda data, place: bench.sent.append((data, place))
    try:
        yield bench
        await bench.later(0)
    finally:
        await bench.calls.drain(0)
        bench.telephone.close()
        bench.media.stop()


def on_a_bench(null, test: Callable, **settings) -> None:
    async def run() -> None:
        async with opened(null, **settings) as bench:
            await test(bench)

    asyncio.run(run())


def test_one_spoofed_packet_starts_no_stream(null):
    async def test(bench: Bench) -> None:
        bench.say(packets=1)
        assert bench.call is None
        bench.say(packets=1)
        assert bench.room_speaks() == 1
        assert bench.sent[0][1] == HERE
        assert parse(bench.sent[0][0]).payload == b"hello"

    on_a_bench(null, test)


def test_nothing_is_sent_to_a_caller_that_has_fallen_silent(null):
    async def test(bench: Bench) -> None:
        bench.say()
        await bench.later(7.9)
        assert bench.room_speaks() == 1
        leg = bench.call.leg
        await bench.later(0.2)
        assert bench.call is None
        assert not leg.joined
        leg.deliver(b"hello", 160)
        assert len(bench.sent) == 1
        bench.say(ELSEWHERE, source=8)
        assert bench.room_speaks() == 1
        assert bench.sent[-1][1] == ELSEWHERE

    on_a_bench(null, test)


def test_comfort_noise_events_and_reports_keep_a_call_and_are_no_sound(null):
    async def test(bench: Bench) -> None:
        bench.say()
        said = bench.heard()
        for kind in (13, 101):
            await bench.later(6)
            bench.say(kind=kind, packets=1)
        await bench.later(6)
        bench.telephone.endpoint.take(rtcp(RECEIVER_REPORT, 7), HERE)
        await bench.later(6)
        bench.telephone.endpoint.take_report(rtcp(RECEIVER_REPORT, 7), ("127.0.0.1", 12))
        await bench.later(6)
        bench.say(ELSEWHERE, source=8)
        assert bench.room_speaks() == 1
        assert bench.sent[-1][1] == HERE
        assert [packet.payload for packet in bench.call.leg.speaker.inbox][said:] == [b"", b""]

    on_a_bench(null, test)


def test_a_caller_that_leaves_ends_its_call_at_once(null):
    async def test(bench: Bench) -> None:
        bench.say()
        bench.telephone.endpoint.take(rtcp(RECEIVER_REPORT, 8) + rtcp(BYE, 8, count=1), HERE)
        assert bench.call
        bench.telephone.endpoint.take(rtcp(RECEIVER_REPORT, 7) + rtcp(BYE, 7, count=1), HERE)
        assert bench.call is None

    on_a_bench(null, test)


def test_a_caller_that_comes_and_leaves_all_the_time_begins_few_calls(null):
    async def test(bench: Bench) -> None:
        for _ in range(1_000):
            bench.say()
            bench.telephone.endpoint.take(rtcp(RECEIVER_REPORT, 7) + rtcp(BYE, 7, count=1), HERE)
            bench.now_s += 0.01
        assert bench.calls.opened <= 10

    on_a_bench(null, test)


def test_a_telephone_whose_address_changes_is_heard_and_answered_there(null):
    async def test(bench: Bench) -> None:
        bench.say()
        call, said = bench.call, bench.heard()
        bench.now_s += CHANGE_S + 0.1
        bench.say(ELSEWHERE)
        assert bench.call is call
        assert bench.heard() == said + 1
        assert bench.room_speaks() == 1
        assert bench.sent[-1][1] == ELSEWHERE

    on_a_bench(null, test)


def test_what_we_sent_ourselves_is_no_caller(null):
    async def test(bench: Bench) -> None:
        bench.say(source=bench.telephone.endpoint.source, packets=9)
        assert bench.call is None

    on_a_bench(null, test)


def test_a_call_that_was_hung_up_leaves_the_port_open_for_the_next(null):
    async def test(bench: Bench) -> None:
        bench.say()
        first = bench.call.id
        bench.calls.end(first, "hung up")
        await bench.later(0)
        bench.say(packets=9)
        assert bench.call is None, "who was hung up on went on"
        bench.say(ELSEWHERE, source=8)
        assert bench.call.id != first

    on_a_bench(null, test)


def test_a_caller_whose_sound_could_not_be_dealt_with_is_heard_again(null):
    async def test(bench: Bench) -> None:
        bench.say()
        await bench.later(0)
        bench.media._leave(bench.call.leg)
        bench.call.leg.failed = True
        first = bench.call.id
        bench.calls.sweep()
        await bench.later(0)
        bench.say()
        assert bench.call.id != first

    on_a_bench(null, test)


def test_a_port_that_was_lost_is_opened_again(null):
    async def test(bench: Bench) -> None:
        place = bench.telephone._place
        bench.telephone.endpoint.rtp._transport.abort()
        await asyncio.sleep(0)
        assert not bench.telephone.is_open
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(place)
            await bench.later(1)
            assert not bench.telephone.is_open
        await bench.later(1)
        assert bench.telephone.is_open
        assert bench.telephone._place == place

    on_a_bench(null, test)


def test_readiness_says_that_the_port_is_closed(null):
    async def test(bench: Bench) -> None:
        service = SimpleNamespace(calls=bench.calls, telephone=bench.telephone)
        assert (await BridgeService.ready(service, None)).status == 200
        bench.telephone.endpoint.rtp._transport.abort()
        await asyncio.sleep(0)
        reply = await BridgeService.ready(service, None)
        assert (reply.status, reply.text) == (503, "the RTP port is closed\n")

    on_a_bench(null, test)


def test_a_caller_is_refused_where_there_is_no_room_and_let_in_when_there_is(null):
    async def test(bench: Bench) -> None:
        bench.calls.limit = 0
        bench.say(packets=200)
        assert bench.call is None
        assert bench.calls.refused == 1
        bench.calls.limit = 1
        bench.now_s += BUSY_S
        bench.say()
        assert bench.room_speaks() == 1

    on_a_bench(null, test)


def test_a_telephone_that_nobody_uses_is_not_waited_for(null):
    async def test(bench: Bench) -> None:
        await asyncio.wait_for(bench.calls.drain(60), 5)

    on_a_bench(null, test)


def test_only_sources_that_are_allowed_are_heard(null):
    async def test(bench: Bench) -> None:
        bench.say()
        assert bench.call is None
        bench.say(("192.0.2.5", 9))
        assert bench.call

    on_a_bench(null, test, rtp_sources=("192.0.2.0/24",))


def test_a_telephone_on_real_sockets(null):
    async def run() -> None:
        bench = Bench(null)
        await bench.telephone.open()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
                caller.setblocking(False)
                caller.connect(bench.telephone._place)
                for number in range(2):
                    caller.send(write(0, number, number * 160, 7, VOICE))
                async with asyncio.timeout(20):
                    while bench.call is None:
                        await asyncio.sleep(0.01)
                    bench.call.leg.deliver(b"hello", 160)
                    came = await asyncio.get_running_loop().sock_recv(caller, 2_048)
                assert parse(came).payload == b"hello"
        finally:
            await bench.calls.drain(0)
            bench.telephone.close()
            bench.media.stop()

    asyncio.run(run())


@pytest.mark.parametrize("place", ["0.0.0.0:4000", "[::]:4000", "192.0.2.1:4000", "bridge.example:4000"])
def test_a_port_that_others_can_reach_needs_sources(place):
    with pytest.raises(InvalidSetting, match="rtp-source"):
        BridgeSettings(rtp=place)
    assert BridgeSettings(rtp=place, rtp_sources=("192.0.2.0/24",))
