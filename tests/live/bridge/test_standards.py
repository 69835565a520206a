"""WHIP and WHEP: their rules, and programs that know nothing of us."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge

pytestmark = pytest.mark.alone

TOKEN = "a secret of the test"
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def guarded():
    """A bridge that asks for a token."""
    one = Bridge("--token", TOKEN, "--token", "another")
    yield one
    assert one.stop() == 0, "\n".join(one.lines)


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 48_000)) / 48_000)).astype(np.float32)


def share(sound: np.ndarray, hz: float) -> float:
    """How much of the last second's energy lies around a tone; none where it is all but silent."""
    end = sound[-48_000:]
    if len(end) < 48_000 or np.sqrt(np.mean(end**2)) < 0.01:
        return 0.0
    power = np.abs(np.fft.rfft(end * np.hanning(len(end)))) ** 2
    return float(power[round(hz) - 40 : round(hz) + 41].sum() / power.sum())


def needs(*programs: str) -> None:
    """Skip where a program is missing, or fail where everything has to be there."""
    lacking = [program for program in programs if shutil.which(program) is None]
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(f"{', '.join(lacking)} not installed, and CI must test with it", pytrace=False)
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)} (.ci/bootstrap test installs them)")


def test_published_by_whip_and_played_by_whep(guarded: Bridge):
    async def call() -> None:
        async with Client(guarded.url, TOKEN) as client:
            player = await client.session("whep", "stage")
            publisher = await client.session("whip", "stage", VoiceTrack(tone(500), loop=True))
            assert publisher.location.startswith("/whip/stage/")
            await asyncio.sleep(2)
            assert share(player.heard, 500) > 0.5
            assert not publisher.blocks
            for one in (player, publisher):
                async with client.http.delete(one.location) as reply:
                    assert reply.status == 200
                async with client.http.delete(one.location) as reply:
                    assert reply.status == 404

    asyncio.run(call())


STATUSES = {
    "no sdp type": 415,
    "nonsense": 400,
    "empty": 400,
    "no bytes of text": 400,
    "a bad room": 404,
    "get": 405,
    "too large": 413,
    "made": 201,
    "trickle": 204,
    "no tag": 428,
    "another tag": 412,
    "restart too early": 400,
    "a bad candidate": 400,
    "a bad type": 415,
    "by another kind": 404,
    "deleted": 200,
}  # by request


def test_the_rules_of_sessions(guarded: Bridge):
    async def call() -> None:
        async with Client(guarded.url, TOKEN) as client:
            offer = await client.offer()
            statuses = {}

            async def ask(name: str, method: str, path: str, **more) -> object:
                async with client.http.request(method, path, **more) as reply:
                    statuses[name] = reply.status
                    return reply

            await ask("no sdp type", "POST", "/whip/rules", data=offer)
            await ask("nonsense", "POST", "/whip/rules", data="v=0\r\nnonsense", headers=SDP)
            await ask("empty", "POST", "/whep/rules", data="", headers=SDP)
            await ask("no bytes of text", "POST", "/whep/rules", data=b"\xff\xfe\x00", headers=SDP)
            await ask("a bad room", "POST", "/whip/..%2f..%2fetc", data=offer, headers=SDP)
            await ask("get", "GET", "/whip/rules")
            await ask("too large", "POST", "/whip/rules", data="v=0\r\n" + "a=x\r\n" * 20_000, headers=SDP)
            reply = await ask("made", "POST", "/whip/rules", data=offer, headers=SDP)
            place, tag = reply.headers["Location"], reply.headers["ETag"]
            assert reply.content_type == "application/sdp"
            candidate = "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
            user = offer.split("a=ice-ufrag:")[1].split("\r\n")[0]
            body = f"a=ice-ufrag:{user}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{candidate}"
            tagged = {**FRAGMENT, "If-Match": tag}
            await ask("trickle", "PATCH", place, data=body, headers=tagged)
            await ask("no tag", "PATCH", place, data=body, headers=FRAGMENT)
            await ask("another tag", "PATCH", place, data=body, headers={**FRAGMENT, "If-Match": '"x"'})
            await ask("restart too early", "PATCH", place, data=body.replace(user, "other"), headers=tagged)
            await ask("a bad candidate", "PATCH", place, data="a=candidate:x", headers=tagged)
            await ask("a bad type", "PATCH", place, data=body, headers={"If-Match": tag})
            await ask("by another kind", "DELETE", place.replace("whip", "whep"))
            await ask("deleted", "DELETE", place)
            assert statuses == STATUSES

    asyncio.run(call())


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "ä"])
def test_without_the_token_every_endpoint_refuses(guarded: Bridge, token: str | None):
    async def call() -> None:
        async with Client(guarded.url, token) as client:
            for method, path in (
                ("POST", "/rooms/x/offer"),
                ("POST", "/whip/x"),
                ("POST", "/whep/x"),
                ("GET", "/rooms/x"),
                ("GET", "/metrics"),
                ("DELETE", "/whip/x/y"),
            ):
                async with client.http.request(method, path) as reply:
                    assert reply.status == 401
                    assert reply.headers["WWW-Authenticate"] == "Bearer"
            for path in ("/", "/healthz", "/readyz"):
                assert (await client.text(path))[0] == 200

    asyncio.run(call())


def test_every_token_is_accepted(guarded: Bridge):
    async def call() -> None:
        for token in (TOKEN, "another"):
            async with Client(guarded.url, token) as client:
                assert (await client.text("/rooms/x"))[0] == 200

    asyncio.run(call())


async def gstreamer(bridge: Bridge, kind: str, room: str, seconds: float, recording: Path) -> str:
    """Run a session of GStreamer to its end and return what it printed."""
    needs("gst-launch-1.0")
    arguments = [kind, f"{bridge.url}/{kind}/{room}", TOKEN, str(seconds), str(recording)]
    program = await asyncio.create_subprocess_exec(
        *("/usr/bin/python3", str(HERE / "gst_session.py"), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await asyncio.wait_for(program.communicate(), seconds + 20)
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    return printed.decode()


def test_gstreamer_publishes_by_whip(guarded: Bridge, tmp_path: Path):
    async def call() -> tuple[np.ndarray, str]:
        async with Client(guarded.url, TOKEN) as client:
            player = await client.session("whep", "gst")
            printed = await gstreamer(guarded, "whip", "gst", 4, tmp_path / "none")
            return player.heard, printed

    heard, printed = asyncio.run(call())
    assert "ended: 200" in printed, printed
    loudest = max(range(48_000, len(heard), 9_600), key=lambda end: share(heard[:end], 440))
    assert share(heard[:loudest], 440) > 0.5, printed


def test_gstreamer_plays_by_whep(guarded: Bridge, tmp_path: Path):
    async def call() -> str:
        async with Client(guarded.url, TOKEN) as client:
            await client.session("whip", "gst2", VoiceTrack(tone(600), loop=True))
            return await gstreamer(guarded, "whep", "gst2", 4, tmp_path / "heard.s16")

    printed = asyncio.run(call())
    assert "ended: 200" in printed, printed
    heard = np.fromfile(tmp_path / "heard.s16", np.int16) / 32_768
    assert share(heard, 600) > 0.5, printed


def test_a_page_of_another_origin_is_refused_unless_named(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge(settings='origins = ["https://calls.example"]')

    async def call() -> None:
        async with Client(bridge.url) as client:
            for origin, status in ((bridge.url, 200), ("https://calls.example", 200), ("https://evil.example", 403)):
                async with client.http.get("/rooms/x", headers={"Origin": origin}) as reply:
                    assert reply.status == status
                    allowed = reply.headers.get("Access-Control-Allow-Origin")
                    assert allowed == (origin if origin == "https://calls.example" else None)
            async with client.http.options("/whip/x", headers={"Origin": "https://calls.example"}) as reply:
                assert reply.status == 204
                assert "Authorization" in reply.headers["Access-Control-Allow-Headers"]

    asyncio.run(call())
