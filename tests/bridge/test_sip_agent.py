"""SIP calls with a peer that does what it should not, or nothing: what is sent again, what ends, what is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from rtsr.bridge.sip import path, paths, session_timer, transactions
from rtsr.bridge.sip.message import LONGEST
from tests.bridge.sip_phone import SDP, TURN_S, Bench, Phone
from tests.fuzzed import CORPUS

pytestmark = pytest.mark.realtime


@pytest.fixture
def on_bench(null, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a test against an agent whose timers are ten times as fast."""
    for name in ("T1", "T2", "T4", "LONGEST_S"):
        monkeypatch.setattr(transactions, name, getattr(transactions, name) / 10)
    monkeypatch.setattr(session_timer, "LEAST_SESSION_S", 1)

    def run(test: Callable, **settings: object) -> None:
        async def whole() -> None:
            bench = Bench(null, **settings)
            bench.media.start()
            await bench.agent.open()
            try:
                await test(bench, await Phone(bench.port).open())
                await bench.settled()
                assert bench.media.faults.counts["sip"] == 0
            finally:
                await bench.calls.drain(0)
                await bench.agent.close()
                while Phone.opened:
                    Phone.opened.pop().transport.close()
                await asyncio.sleep(TURN_S)
                bench.media.stop()

        asyncio.run(whole())

    return run


def test_a_request_that_comes_again_is_answered_again_and_makes_one_call(on_bench):
    async def test(bench: Bench, phone: Phone) -> None:
        data = phone.send("INVITE", SDP)
        first = await phone.wait(200)
        phone.transport.sendto(data)
        assert (await phone.wait(200)).recipient.tag == first.recipient.tag
        assert len(bench.calls.by_id) == 1
        phone.remote = f";tag={first.recipient.tag}"
        phone.send("ACK", number=1)
        for _ in range(2):
            phone.send("BYE", number=2)
            await phone.wait(200)
        phone.send("BYE")
        phone.send("BYE", number=9)
        await phone.wait(481)

    on_bench(test)


def test_an_answer_is_sent_until_it_is_acknowledged_and_then_the_call_ends(on_bench):
    async def test(bench: Bench, phone: Phone) -> None:
        phone.send("INVITE", SDP)
        for _ in range(5):
            await phone.wait(200)
        bye = await phone.wait("BYE", 5)
        assert bye.recipient.tag == "a"

    on_bench(test)


def test_a_session_that_is_not_refreshed_ends_and_one_that_is_lasts(on_bench):
    async def test(bench: Bench, phone: Phone) -> None:
        await phone.call("Supported: timer\r\nSession-Expires: 2;refresher=uac")
        for _ in range(2):
            await asyncio.sleep(1)
            phone.send("UPDATE", more="Supported: timer\r\nSession-Expires: 2;refresher=uac")
            await phone.wait(200)
        assert len(bench.calls.by_id) == 1
        await phone.wait("BYE")

    on_bench(test)


def test_the_bridge_refreshes_where_the_peer_does_not(on_bench):
    async def test(bench: Bench, phone: Phone) -> None:
        await phone.call("Session-Expires: 2;refresher=uas\r\nAllow: INVITE, UPDATE")
        update = await phone.wait("UPDATE")
        assert update.get("session-expires") == "2;refresher=uac"
        await phone.wait("BYE", 6)

    on_bench(test)


def test_an_offer_in_the_answer_is_answered_in_the_ack(on_bench):
    async def test(bench: Bench, phone: Phone) -> None:
        phone.send("INVITE")
        answer = await phone.wait(200)
        assert b"opus/48000/2" in answer.body
        assert not bench.calls.by_id
        phone.remote = f";tag={answer.recipient.tag}"
        phone.send("ACK", SDP, number=1)
        await asyncio.sleep(0.1)
        assert [call.leg.codec for call in bench.calls.by_id.values()] == ["pcmu"]
        phone.send("BYE")
        await phone.wait(200)
        phone.number, phone.remote = 10, ""
        phone.send("INVITE", branch="again")
        phone.remote = f";tag={(await phone.wait(200)).recipient.tag}"
        phone.send("ACK", number=11)  # without an answer
        await phone.wait("BYE")

    on_bench(test)


def test_who_is_no_source_gets_no_answer_and_the_api_ends_a_call_with_bye(on_bench):
    async def stranger(bench: Bench, phone: Phone) -> None:
        phone.send("OPTIONS")
        await asyncio.sleep(0.2)
        assert not phone.came
        assert bench.line.paths.refused == 1

    async def known(bench: Bench, phone: Phone) -> None:
        phone.send("OPTIONS")
        assert "INVITE" in (await phone.wait(200)).get("allow")
        await phone.call()
        bench.calls.end(next(iter(bench.calls.by_id)), "hung up")
        await phone.wait("BYE")

    on_bench(stranger, sources=("192.0.2.0/24",))
    on_bench(known, sources=("127.0.0.1",))


def test_more_calls_than_there_is_room_for_are_refused(on_bench):
    async def test(bench: Bench, phone: Phone) -> None:
        phones = [await Phone(bench.port).open() for _ in range(4)]
        for one in phones:
            await one.call()
        phone.send("INVITE", SDP)
        assert (await phone.wait(503)).get("retry-after") == "10"
        for one in phones:
            one.send("BYE")
            await one.wait(200)

    on_bench(test)


def test_hostile_messages_leave_nothing_and_a_call_is_answered_meanwhile(on_bench, monkeypatch):
    monkeypatch.setattr(transactions, "MOST", 50)
    monkeypatch.setattr(paths, "HOST_BURST", 5_000)
    known = [path.read_bytes() for path in sorted((CORPUS / "sip").iterdir())]
    rng = random.Random(7)

    async def test(bench: Bench, phone: Phone) -> None:
        stranger = await Phone(bench.port).open()
        stranger.datagram_received = lambda data, place: None
        seeds = [*known, stranger.message("INVITE", SDP), stranger.message("CANCEL"), stranger.message("UPDATE", SDP)]
        for count in range(2_000):
            data = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(data))
                data[at : at + rng.randrange(9)] = rng.choice([rng.randbytes(4), b"\r\n", b"9" * 99, b"<", b'"', b";"])
            stranger.transport.sendto(bytes(data)[:LONGEST])
            if count % 50 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.5)
        assert len(bench.line.transactions.server) <= 50
        assert len(bench.calls.by_id) <= 4
        for call in list(bench.line.by_dialog.values()):
            call.hang_up()
        await asyncio.sleep(4)  # as long as transactions last here
        assert not bench.line.transactions.server
        assert not bench.line.transactions.client
        await phone.call()
        phone.send("BYE")
        await phone.wait(200)

    on_bench(test)


def test_connections_are_bounded_and_too_long_messages_end_them(on_bench, monkeypatch):
    monkeypatch.setattr(path, "SLOW_S", 0.3)
    monkeypatch.setattr(paths, "MOST_PER_HOST", 3)

    async def ended(reader: asyncio.StreamReader) -> bytes:
        try:
            return await asyncio.wait_for(reader.read(), 3)
        except ConnectionError:
            return b""

    async def test(bench: Bench, phone: Phone) -> None:
        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection("127.0.0.1", bench.port)

        kept = [await connect() for _ in range(3)]
        fourth = await connect()
        assert await ended(fourth[0]) == b""
        options = phone.message("OPTIONS").replace(b"UDP", b"TCP")
        kept[0][1].write(b"\r\n\r\n" + options[:40])
        await asyncio.sleep(0.1)
        kept[0][1].write(options[40:] + options)
        kept[1][1].write(b"OPTIONS sip:a SIP/2.0\r\nX: " + b"a" * LONGEST)
        first = await asyncio.wait_for(kept[0][0].readuntil(b"\r\n\r\n"), 3)
        assert first.startswith(b"\r\nSIP/2.0 200")
        assert await ended(kept[1][0]) == b""
        assert await ended(kept[2][0]) == b"", "it has said nothing"
        for _, writer in (*kept, fourth):
            writer.close()
        await asyncio.sleep(0.1)
        assert len(bench.line.paths._connections) == 0

    on_bench(test)
