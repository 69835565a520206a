"""Calls that the bridge makes, to sipp: answered, and cancelled where nobody answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.sip_lines import SILENCE, Lines, gone, voice_file
from tests.live.bridge.sipp import answered, free_port, play, receive, run

pytestmark = pytest.mark.alone


def test_a_call_from_the_room_is_answered_spoken_and_hung_up(lines: Lines, tmp_path: Path):
    phone, voice = free_port(), demo_voice()
    speaking = [play(voice_file(tmp_path))]

    async def test() -> np.ndarray:
        async with Client(lines.bridge.url) as client:
            peer = await client.call("out", VoiceTrack(SILENCE))
            answering = asyncio.ensure_future(run(tmp_path, answered(*speaking, ring_ms=300), None, "-p", str(phone)))
            await asyncio.sleep(0.5)
            body = {"to": f"sip:bob@127.0.0.1:{phone}", "line": "open", "name": "Bob"}
            async with client.http.post("/rooms/out/sip", json=body) as reply:
                assert reply.status == 201, await reply.text()
                place = reply.headers["Location"]
            await asyncio.sleep(len(voice) / 8_000 + 0.5)
            (leg,) = [leg for leg in await client.room("out") if leg["kind"] == "sip"]
            assert leg["name"] == "Bob"
            async with client.http.delete(place) as reply:
                assert reply.status == 200
            code, text = await answering
            assert code == 0, text
            await gone(client, "out")
            return peer.heard

    sent = as_g711(voice, "pcmu")
    found = compare(asyncio.run(test()), at_48k(sent, 8_000), enhanced(sent, 8_000))
    assert found.pieces >= 3
    assert found.lsd < 0.75 * found.lsd_plain


def test_a_call_that_nobody_answers_is_cancelled(lines: Lines, tmp_path: Path):
    phone = free_port()
    head = "[last_Via:]\n[last_From:]\n[last_To:];tag=7\n[last_Call-ID:]\n"
    steps = [
        receive("INVITE"),
        f"<send><![CDATA[\nSIP/2.0 180 Ringing\n{head}[last_CSeq:]\nContent-Length: 0\n\n]]></send>",
        receive("CANCEL"),
        f"<send><![CDATA[\nSIP/2.0 200 OK\n{head}[last_CSeq:]\nContent-Length: 0\n\n]]></send>",
        f"<send><![CDATA[\nSIP/2.0 487 Terminated\n{head}CSeq: 1 INVITE\nContent-Length: 0\n\n]]></send>",
    ]

    async def test() -> None:
        async with Client(lines.bridge.url) as client:
            answering = asyncio.ensure_future(run(tmp_path, steps, None, "-p", str(phone)))
            await asyncio.sleep(0.5)
            body = {"to": f"sip:bob@127.0.0.1:{phone}", "line": "open"}
            async with client.http.post("/rooms/out/sip", json=body) as reply:
                assert (reply.status, (await reply.json())["status"]) == (502, 408)
            code, text = await answering
            assert code == 0, text
            assert await client.room("out") == []

    asyncio.run(test())
