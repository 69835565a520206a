"""Calls that go on over another connection, and what peers are told of STUN and TURN servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.live.bridge.peers import Client, Peer, VoiceTrack
from tests.live.bridge.server import Bridge

pytestmark = pytest.mark.alone

SILENCE = np.zeros(960, np.float32)
TURN = "turn:127.0.0.1:9?transport=tcp"  # where nobody answers


def with_servers(start_bridge: Callable[..., Bridge], *more: str) -> Bridge:
    return start_bridge("--backend", "null", "--no-relay", "--turn", TURN, "--turn-secret", "s", *more)


async def call_again(client: Client, old: Peer, room: str, **wishes: Any) -> Peer:
    """Call in place of another call."""
    return await client.call(room, VoiceTrack(SILENCE), replaces=old.location.rpartition("/")[2], **wishes)


async def offer(client: Client, room: str, /, **wishes: Any) -> tuple[int, str]:
    """The status and the error of an offer that is refused."""
    async with client.http.post(f"/rooms/{room}/offer", json={"sdp": await client.offer(), **wishes}) as reply:
        return reply.status, (await reply.json()).get("error", "")


def test_a_call_takes_the_place_of_another_in_a_full_room(start_bridge):
    bridge = start_bridge("--backend", "null", settings="peers = 2")

    async def run() -> None:
        async with Client(bridge.url) as client:
            first = await client.call("full", VoiceTrack(SILENCE), name="one")
            other = await client.call("full", VoiceTrack(SILENCE), name="two")
            assert (await offer(client, "full"))[0] == 503
            one, two = (await client.room("full"))[0]["id"], (await client.room("full"))[1]["id"]
            for call, body in ((two, {"plain": [one]}), (one, {"plain": [two]}), (one, {"bypass": True})):
                async with client.http.patch(f"/rooms/full/calls/{call}", json=body) as reply:
                    assert reply.status == 200
            again = await call_again(client, first, "full", name="one")
            calls = {call["name"]: call for call in await client.room("full")}
            assert set(calls) == {"one", "two"}
            assert calls["one"]["id"] == again.location.rpartition("/")[2] != one
            assert calls["two"]["plain"] == [calls["one"]["id"]]
            assert calls["one"]["plain"] == [other.location.rpartition("/")[2]]
            assert calls["one"]["speaker"]["bypass"]

    asyncio.run(run())


def test_what_was_hung_up_or_is_elsewhere_cannot_be_continued(bridge: Bridge):
    async def run() -> None:
        async with Client(bridge.url) as client:
            peer = await client.call("gone", VoiceTrack(SILENCE))
            call = peer.location.rpartition("/")[2]
            status, error = await offer(client, "elsewhere", replaces=call)
            assert (status, "of this room" in error) == (400, True)
            assert (await offer(client, "gone", replaces="a/b"))[0] == 400
            async with client.http.delete(peer.location) as reply:
                assert reply.status == 200
            assert await offer(client, "gone", replaces=call) == (410, "hung up")
            await client.call("gone", VoiceTrack(SILENCE), replaces="9-unknown")  # to a bridge that began anew

    asyncio.run(run())


def test_a_call_whose_answer_was_lost_ends_when_its_client_calls_again(start_bridge):
    bridge = start_bridge("--backend", "null", settings="peers = 2")

    async def run() -> None:
        async with Client(bridge.url) as client:
            await client.call("lost", VoiceTrack(SILENCE), client="other")
            assert (await offer(client, "lost", client="me"))[0] == 201  # and its answer is lost
            (lost,) = (one["id"] for one in (await client.room("lost"))[1:])
            peer = await client.call("lost", VoiceTrack(SILENCE), client="me")
            mine = peer.location.rpartition("/")[2]
            assert [one["id"] for one in (await client.room("lost"))[1:]] == [mine]
            bridge.wait_for(f"event=ended call={lost} .*called again", 1.0)
            again = await client.call("lost", VoiceTrack(SILENCE), client="me", replaces=lost)
            assert [one["id"] for one in (await client.room("lost"))[1:]] == [again.location.rpartition("/")[2]]
            assert (await offer(client, "lost"))[0] == 503, "who does not name itself takes nobody's place"
            for bad in ("", "a" * 65, "a b", 5, None, ["me"]):
                assert (await offer(client, "lost", client=bad))[0] == (400 if bad != "" else 503)
            assert "'me'" not in str(await client.room("lost")), "who knows it may take the place"

    asyncio.run(run())
    assert bridge.stop(limit_s=5) == 0, "it waits for calls that have ended"


@pytest.mark.parametrize("kind", ["whip", "whep"])
def test_sessions_are_told_of_turn_servers(start_bridge, kind: str):
    bridge = with_servers(start_bridge, "--stun", "stun:127.0.0.1:9")

    async def run() -> list[str]:
        async with Client(bridge.url) as client:
            headers = {"Content-Type": "application/sdp"}
            async with client.http.post(f"/{kind}/told", data=await client.offer(), headers=headers) as reply:
                assert reply.status == 201, await reply.text()
                return reply.headers.getall("Link")

    stun, turn = asyncio.run(run())
    assert stun == '<stun:127.0.0.1:9>; rel="ice-server"'
    assert turn.startswith(f'<{TURN}>; rel="ice-server"; username="')
    assert 'credential-type="password"' in turn


def test_servers_are_told_to_those_with_a_token_alone(start_bridge):
    bridge = with_servers(start_bridge, "--token", "secret")

    async def run(token: str) -> tuple[int, Any]:
        async with Client(bridge.url, token) as client, client.http.get("/ice") as reply:
            return reply.status, await reply.json()

    assert asyncio.run(run("wrong"))[0] == 401
    status, told = asyncio.run(run("secret"))
    assert status == 200
    assert told["iceServers"][0]["urls"] == [TURN]
    assert set(told["iceServers"][0]) == {"urls", "username", "credential"}
