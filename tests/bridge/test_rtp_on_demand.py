"""RTP legs that are opened by request: what is asked for, who is heard, and what is left."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable

import pytest
from aiortc.rtp import RtcpPacket

from rtsr.bridge.calls import Calls
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.media import MediaThread
from rtsr.bridge.rtcp import BYE, RECEIVER_REPORT
from rtsr.bridge.rtp import parse, write
from rtsr.bridge.rtp_legs import RtpLegs, RtpOptions
from rtsr.bridge.srtp import Crypto, Srtp
from rtsr.errors import InvalidSetting, PoolFull, RtsrError
from tests.bridge.test_rtp import rtcp
from tests.bridge.test_srtp import KEY, SUITE

pytestmark = pytest.mark.realtime

VOICE = b"\x80" * 160


class Phone(asyncio.DatagramProtocol):
    """A peer with sockets of its own."""

    def __init__(self) -> None:
        self.came: list[bytes] = []

    @classmethod
    async def call(cls, port: int) -> Phone:
        loop = asyncio.get_running_loop()
        transport, phone = await loop.create_datagram_endpoint(cls, remote_addr=("127.0.0.1", port))
        phone.transport, phone.number = transport, 0
        return phone

    def datagram_received(self, data: bytes, place) -> None:
        self.came.append(data)

    async def say(self, packets: int = 2, kind: int = 0, protect: Callable[[bytes], bytes] = bytes) -> None:
        for _ in range(packets):
            self.number += 1
            self.transport.sendto(protect(write(kind, self.number, self.number * 160, 7, VOICE)))
        await asyncio.sleep(0.05)

    async def close(self) -> None:
        self.transport.close()
        await asyncio.sleep(0)


class Bench:
    def __init__(self, null, limit: int = 3, **settings) -> None:
        self.now_s = 1.0
        self.settings = BridgeSettings(**settings)
        self.media = MediaThread(null, limit, print)
        self.calls = Calls(self.media, self.settings, limit)
        self.legs = RtpLegs(self.settings, self.calls, lambda: self.now_s)

    async def open(self, **body):
        return await self.legs.open("r", RtpOptions.read(body))

    async def later(self, seconds: float) -> None:
        self.now_s += seconds
        self.legs.look_after()
        self.calls.sweep()
        await self.calls._tasks.finish()
        await asyncio.sleep(0.02)


def on_a_bench(null, test, **settings) -> None:
    async def run() -> None:
        bench = Bench(null, **settings)
        try:
            await test(bench)
        finally:
            await bench.calls.drain(0)
            await asyncio.sleep(0)
            bench.media.stop()

    asyncio.run(run())


def test_a_leg_says_where_it_is_and_hears_and_answers_who_sends(null):
    async def test(bench: Bench) -> None:
        call, answer = await bench.open(codec="pcma", name="desk")
        assert answer["payload_types"] == {"audio": 8, "telephone-event": 101, "comfort-noise": 13}
        assert (answer["codec"], answer["crypto"], answer["address"]) == ("pcma", None, "127.0.0.1")
        assert answer["port"] % 2 == 0
        assert answer["rtcp_port"] == answer["port"] + 1
        call.leg.deliver(b"nobody is there yet", 0)
        phone = await Phone.call(answer["port"])
        await phone.say(3, kind=8)
        assert len(call.leg.speaker.inbox) == 2
        call.leg.deliver(b"hello", 160)
        await asyncio.sleep(0.05)
        assert [parse(data).payload for data in phone.came] == [b"hello"]
        assert call.stats()["kind"] == "rtp"
        assert call.stats()["name"] == "desk"
        await phone.close()

    on_a_bench(null, test)


def test_legs_that_end_leave_nothing(null):
    async def test(bench: Bench) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            call, answer = await bench.open()
            phone = await Phone.call(answer["port"])
            await phone.say()
            bench.calls.end(call.id, "hung up")
            await bench.later(0)
            await phone.close()
        assert bench.legs._open == {}
        assert not bench.calls.by_id
        assert len(bench.media.pool) == 0
        gc.collect()
        await asyncio.sleep(0.05)
        assert len(os.listdir("/proc/self/fd")) <= before

    on_a_bench(null, test)


def test_a_leg_that_nobody_uses_ends_and_so_does_one_that_falls_silent(null):
    async def test(bench: Bench) -> None:
        call, _ = await bench.open()
        await bench.later(29)
        assert call.id in bench.calls.by_id
        await bench.later(2)
        assert call.id not in bench.calls.by_id
        call, answer = await bench.open()
        phone = await Phone.call(answer["port"])
        await phone.say()
        await bench.later(7)
        await phone.say(1)
        await bench.later(7)
        assert call.id in bench.calls.by_id
        await bench.later(2)
        assert call.id not in bench.calls.by_id
        assert phone.came == [], "BYE goes to the port of the reports"
        await phone.close()

    on_a_bench(null, test)


def test_reports_go_both_ways_and_bye_ends_a_leg(null):
    async def test(bench: Bench) -> None:
        call, answer = await bench.open()
        phone = await Phone.call(answer["port"])
        await phone.say(3)
        phone.transport.sendto(rtcp(RECEIVER_REPORT, 7))  # RTCP on the port of RTP (RFC 5761)
        await asyncio.sleep(0.05)
        await bench.later(1)
        (report,) = phone.came
        (first, *_) = RtcpPacket.parse(report)
        assert [block.ssrc for block in first.reports] == [7]
        assert call.stats()["rtp"]["lost"] == 0
        assert call.stats()["rtp"]["round_trip_ms"] is None
        phone.transport.sendto(rtcp(RECEIVER_REPORT, 7) + rtcp(BYE, 7, count=1))
        await asyncio.sleep(0.05)
        assert call.id not in bench.calls.by_id
        await phone.close()

    on_a_bench(null, test)


def test_srtp_both_ways_and_nothing_else(null):
    async def test(bench: Bench) -> None:
        call, answer = await bench.open(crypto=f"1 {SUITE} inline:{KEY}")
        theirs, ours = Crypto.parse(f"1 {SUITE} inline:{KEY}"), Crypto.parse(answer["crypto"])
        far = Srtp(theirs, ours)
        phone = await Phone.call(answer["port"])
        await phone.say(4)
        assert len(call.leg.speaker.inbox) == 0, "plain packets are taken"
        await phone.say(3, protect=far.protect)
        assert len(call.leg.speaker.inbox) == 2
        call.leg.deliver(b"hello", 160)
        await asyncio.sleep(0.05)
        assert parse(far.unprotect(phone.came[0])).payload == b"hello"
        assert parse(phone.came[0]).payload != b"hello"
        await phone.close()

    on_a_bench(null, test)


def test_only_the_remote_that_was_named_is_heard(null):
    async def test(bench: Bench) -> None:
        call, answer = await bench.open(remote="192.0.2.7:4000")
        phone = await Phone.call(answer["port"])
        await phone.say(5)
        assert len(call.leg.speaker.inbox) == 0
        bench.calls.limit = 1
        with pytest.raises(PoolFull):
            await bench.open()
        await phone.close()

    on_a_bench(null, test)


def test_a_flood_from_elsewhere_does_not_keep_the_caller_out(null):
    async def test(bench: Bench) -> None:
        call, answer = await bench.open()
        phone = await Phone.call(answer["port"])
        await phone.say(3)
        endpoint = bench.legs._open[call.id].endpoint
        for n in range(5_000):
            endpoint.take(write(0, n, n * 160, 99, VOICE), ("127.0.0.2", 9))
        assert endpoint.refused > 4_000
        await phone.say(2)
        assert len(call.leg.speaker.inbox) == 4
        await phone.close()

    on_a_bench(null, test)


def test_ports_are_taken_from_the_range_and_when_none_is_left_the_request_is_refused(null):
    async def test(bench: Bench) -> None:
        _, one = await bench.open()
        _, two = await bench.open()
        assert {one["port"], two["port"]} == {41_000, 41_002}
        with pytest.raises(PoolFull, match="no two ports"):
            await bench.open()

    on_a_bench(null, test, rtp_ports="41000-41003")


@pytest.mark.parametrize(
    "body",
    [
        {"codec": 7},
        {"codec": "pcmx"},
        {"codec": "pcmu", "payload_type": 8},
        {"codec": "opus", "payload_type": 0},
        {"codec": "opus", "payload_type": 101},
        {"codec": "opus", "payload_type": True},
        {"codec": "opus", "event_type": 5},
        {"codec": "opus", "event_type": None},
        {"remote": "asterisk.example"},
        {"remote": 7},
        {"remote": "1" * 1_000},
        {"crypto": "x"},
        {"name": "x" * 65},
        {"port": 4000},
        {"x" * 10_000: 1},
    ],
)
def test_a_request_that_cannot_be_is_refused(body):
    with pytest.raises(RtsrError):
        RtpOptions.read(body)


@pytest.mark.parametrize("remote", ["192.0.2.7", "192.0.2.7:4000", "2001:db8::1", "[2001:db8::1]:4000"])
def test_a_remote_may_have_a_port(remote):
    assert RtpOptions.read({"remote": remote}).remote in ("192.0.2.7", "2001:db8::1")


def test_where_others_can_reach_the_ports_somebody_has_to_be_named(null):
    async def test(bench: Bench) -> None:
        with pytest.raises(InvalidSetting, match="expected remote"):
            await bench.open()
        await bench.open(remote="127.0.0.1")
        await bench.open(crypto=f"{SUITE} inline:{KEY}")

    on_a_bench(null, test, rtp_host="0.0.0.0")


def test_a_remote_has_to_be_among_the_sources(null):
    async def test(bench: Bench) -> None:
        with pytest.raises(InvalidSetting, match="among rtp_sources"):
            await bench.open(remote="192.0.2.7")

    on_a_bench(null, test, rtp_sources=("198.51.100.0/24",))


def test_a_report_that_cannot_be_sent_ends_nothing(null):
    async def test(bench: Bench) -> None:
        call, answer = await bench.open()
        phone = await Phone.call(answer["port"])
        await phone.say(3)

        def fail(data: bytes) -> None:
            raise RuntimeError("no report")

        call.rtp._send_report = fail
        await bench.later(1)
        assert call.id in bench.calls.by_id
        assert bench.media.faults.counts["send"] == 1
        call.rtp._send_report = lambda data: None
        await phone.close()

    on_a_bench(null, test)
