"""The bridge as a telephone of a PBX: registered at kamailio, called through it by baresip, and calling through it.

Media go through rtpengine here; without it: test_sip_browser.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.live.bridge.baresip import Telephone
from tests.live.bridge.kamailio import Proxy
from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.rtpengine import MediaProxy
from tests.live.bridge.server import Bridge
from tests.live.bridge.sipp import free_port

pytestmark = pytest.mark.alone

SECRET = "correct-horse"


def settings(proxy: Proxy) -> str:
    return f"""
[[bridge.sip]]
name = "pbx"
listen = "127.0.0.1:0"
server = "sip:127.0.0.1:{proxy.port}"
register = true
username = "room"
password = "{SECRET}"
rooms = {{ ".*" = "desk" }}
"""


def telephone(folder: Path, proxy: Proxy) -> Telephone:
    """One that is registered as bob, and answers by itself."""
    account = f'<sip:bob@127.0.0.1>;auth_user=bob;auth_pass={SECRET};outbound="sip:127.0.0.1:{proxy.port}"'
    account += ";audio_codecs=pcmu;regint=60;answermode=auto"
    return Telephone(folder, demo_voice(), account=account, listen=f"127.0.0.1:{free_port()}")


async def until(client: Client, *, there: bool) -> None:
    """Wait until a telephone is in the room, or none."""
    async with asyncio.timeout(10):
        while any(one["kind"] == "sip" for one in await client.room("desk")) != there:
            await asyncio.sleep(0.1)


async def call_both_ways(client: Client, proxy: Proxy, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Let the telephone call the bridge, and then the bridge the telephone; returns what was heard of it."""
    seconds = len(demo_voice()) / 8_000
    peer = await client.call("desk", VoiceTrack(np.zeros(960, np.float32)))
    caller, callee = telephone(folder / "caller", proxy), telephone(folder / "callee", proxy)
    calling = asyncio.ensure_future(caller.run(seconds + 4, f"sip:room@127.0.0.1:{proxy.port}"))
    await until(client, there=True)
    await calling
    await until(client, there=False)
    first, began = peer.heard, len(peer.heard)
    answering = asyncio.ensure_future(callee.run(seconds + 6))
    await asyncio.sleep(2)  # it registers
    async with client.http.post("/rooms/desk/sip", json={"to": "bob"}) as reply:
        assert reply.status == 201, await reply.text()
        place = reply.headers["Location"]
    await asyncio.sleep(seconds + 0.5)
    await client.http.delete(place)
    await answering
    return first, peer.heard[began:]


def test_calls_of_baresip_through_kamailio_and_rtpengine(start_bridge: Callable[..., Bridge], tmp_path: Path):
    media = MediaProxy(tmp_path)
    proxy = Proxy(tmp_path, SECRET, media.control)

    async def test(bridge: Bridge) -> tuple[np.ndarray, np.ndarray]:
        async with Client(bridge.url) as client:
            return await call_both_ways(client, proxy, tmp_path)

    try:
        bridge = start_bridge(settings=settings(proxy))
        bridge.wait_for(r"event=\"?sip registered\"? name=pbx")
        heard = asyncio.run(test(bridge))
        assert bridge.stop() == 0
    finally:
        proxy.stop()
        media.stop()
    assert [line.split("srtp=")[1] for line in bridge.lines if "srtp=" in line] == ["True", "False"]
    assert [count > 50 for count in media.passed()] == [True] * 4, "media have taken another way"
    voice = demo_voice()
    sent = as_g711(voice, "pcmu")
    for way in heard:
        found = compare(way, at_48k(sent, 8_000), enhanced(sent, 8_000))
        print(found)
        assert found.pieces >= 3
        assert found.lsd < 0.75 * found.lsd_plain
