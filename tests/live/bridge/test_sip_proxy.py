"""The bridge as a telephone of a PBX: registered at kamailio, called through it by baresip, and calling through it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.live.bridge.baresip import Telephone
from tests.live.bridge.kamailio import Proxy
from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.live.bridge.sipp import free_port

SECRET = "correct-horse"


def test_calls_of_baresip_through_kamailio_both_ways(start_bridge: Callable[..., Bridge], tmp_path: Path):
    proxy, voice = Proxy(tmp_path, SECRET), demo_voice()
    bridge = start_bridge(
        settings=f"""
[[bridge.sip]]
name = "pbx"
listen = "127.0.0.1:0"
server = "sip:127.0.0.1:{proxy.port}"
register = true
username = "room"
password = "{SECRET}"
rooms = {{ ".*" = "desk" }}
"""
    )
    account = f'<sip:bob@127.0.0.1>;auth_user=bob;auth_pass={SECRET};outbound="sip:127.0.0.1:{proxy.port}"'
    account += ";audio_codecs=pcmu;regint=60;answermode=auto"
    silence = VoiceTrack(np.zeros(960, np.float32))

    async def in_call(client: Client, limit: int = 100) -> list[dict]:
        for _ in range(limit):
            if found := [one for one in await client.room("desk") if one["kind"] == "sip"]:
                return found
            await asyncio.sleep(0.1)
        return []

    async def test() -> tuple[np.ndarray, np.ndarray]:
        async with Client(bridge.url) as client:
            peer = await client.call("desk", silence)
            caller = Telephone(tmp_path / "caller", voice, account=account, listen=f"127.0.0.1:{free_port()}")
            calling = asyncio.ensure_future(caller.run(len(voice) / 8_000 + 4, f"sip:room@127.0.0.1:{proxy.port}"))
            assert await in_call(client), proxy.log.read_text()[-3_000:]
            await calling
            while await in_call(client, 1):
                await asyncio.sleep(0.1)
            first, began = peer.heard, len(peer.heard)

            callee = Telephone(tmp_path / "callee", voice, account=account, listen=f"127.0.0.1:{free_port()}")
            answering = asyncio.ensure_future(callee.run(len(voice) / 8_000 + 6))
            await asyncio.sleep(2)
            async with client.http.post("/rooms/desk/sip", json={"to": "bob"}) as reply:
                assert reply.status == 201, await reply.text()
                place = reply.headers["Location"]
            await asyncio.sleep(len(voice) / 8_000 + 0.5)
            await client.http.delete(place)
            await answering
            print(caller.log[-800:], callee.log[-800:])
            return first, peer.heard[began:]

    try:
        bridge.wait_for(r"event=\"?sip registered\"? name=pbx")
        heard = asyncio.run(test())
        assert bridge.stop() == 0
    finally:
        proxy.stop()
    sent = as_g711(voice, "pcmu")
    for way in heard:
        found = compare(way, at_48k(sent, 8_000), enhanced(sent, 8_000))
        print(found)
        assert found.pieces >= 3
        assert found.lsd < 0.75 * found.lsd_plain
