"""Telephones call numbers of a fleet and are called from it: signalling through the gateway, audio with the worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.live.bridge.baresip import Telephone
from tests.live.bridge.listening import at_48k, demo_voice
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.sip_lines import voice_file
from tests.live.bridge.sipp import answered, call, free_port, pause, play, run
from tests.live.fleet.caller import LOUD, home, idle
from tests.live.fleet.command import SECRET, VOICES, Fleet

pytestmark = pytest.mark.alone


async def telephones(client: Client, room: str, count: int, limit_s: float = 10.0) -> list[dict]:
    """Wait until so many telephones are in a room and return them."""
    async with asyncio.timeout(limit_s):
        while True:
            found = [one for one in await client.room(room) if one["kind"] == "sip"]
            if len(found) == count:
                return found
            await asyncio.sleep(0.1)


async def heard(client: Client, room: str, limit_s: float = 10.0) -> None:
    """Wait until the one telephone in a room is heard."""
    async with asyncio.timeout(limit_s):
        while (await telephones(client, room, 1))[0]["speaker"]["received"] < 50:
            await asyncio.sleep(0.1)


def test_a_telephone_calls_a_number_and_is_heard_in_its_room(fleet: Fleet, tmp_path: Path):
    voice = demo_voice()
    speaking = [play(voice_file(tmp_path)), pause(len(voice) // 8 + 300)]

    async def test() -> None:
        async with Client(fleet.url) as client:
            await idle(client, 2 * VOICES)
            peer = await client.call("desk", VoiceTrack(at_48k(voice, 8_000)))
            calling = asyncio.ensure_future(run(tmp_path, call(*speaking), fleet.open_port, service="desk"))
            await heard(client, "desk")
            assert abs(peer.heard).max() > LOUD
            assert fleet.workers()[await home(client, "desk")]["calls"] == 2, "of the browser's worker"
            code, text = await calling
            assert code == 0, text
            await telephones(client, "desk", 0)

    asyncio.run(test())


def test_a_telephone_calls_over_tls_with_srtp_and_a_password(fleet: Fleet, tmp_path: Path):
    voice = demo_voice()
    account = f"<sip:alice@127.0.0.1;transport=tls>;auth_user=alice;auth_pass={SECRET};regint=0;audio_codecs=pcmu"
    telephone = Telephone(tmp_path, voice, account=f"{account};mediaenc=srtp")

    async def test() -> None:
        async with Client(fleet.url) as client:
            await idle(client, 2 * VOICES)
            to = f"sip:locked@127.0.0.1:{fleet.encrypted_port};transport=tls"
            calling = asyncio.ensure_future(telephone.run(len(voice) / 8_000 + 3, to))
            try:
                await heard(client, "locked")
            finally:
                await calling
                print(telephone.log)
            await telephones(client, "locked", 0)

    asyncio.run(test())


def test_a_room_calls_a_telephone(fleet: Fleet, tmp_path: Path):
    phone = free_port()

    async def test() -> None:
        async with Client(fleet.url) as client:
            await idle(client, 2 * VOICES)
            answering = asyncio.ensure_future(run(tmp_path, answered(ring_ms=300), None, "-p", str(phone)))
            await asyncio.sleep(0.5)
            body = {"to": f"sip:bob@127.0.0.1:{phone}", "line": "open", "name": "Bob"}
            async with client.http.post("/rooms/out/sip", json=body) as reply:
                assert reply.status == 201, await reply.text()
                place = reply.headers["Location"]
            (leg,) = await telephones(client, "out", 1)
            assert leg["name"] == "Bob"
            async with client.http.delete(place) as reply:
                assert reply.status == 200
            code, text = await answering
            assert code == 0, text
            await telephones(client, "out", 0)

    asyncio.run(test())


def test_calls_in_sequence_and_at_once_are_spread_and_leave_nothing(fleet: Fleet, tmp_path: Path):
    async def test() -> None:
        async with Client(fleet.url) as client:
            await idle(client, 2 * VOICES)
            port = fleet.open_port
            for folder, room in (("one", "one"), ("two", "two")):
                code, text = await run(tmp_path / folder, call(pause(20)), port, "-m", "10", "-l", "1", service=room)
                assert code == 0, text
            await idle(client, 2 * VOICES)
            steps = call(pause(2_000))
            both = [
                run(tmp_path / f"{room}-4", steps, port, "-m", "4", "-r", "40", service=room) for room in ("a", "b")
            ]
            together = asyncio.gather(*both)
            await telephones(client, "a", 4)
            await telephones(client, "b", 4)
            assert sorted(one["calls"] for one in fleet.workers().values()) == [4, 4]
            assert [code for code, _ in await together] == [0, 0]
            for room in ("a", "b"):
                await telephones(client, room, 0)

    asyncio.run(test())
