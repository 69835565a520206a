"""Media streams that misbehave, or that are many."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.live.bridge.peers import Client
from tests.live.bridge.server import Bridge
from tests.live.bridge.streams import START, send, stream


def test_fifty_streams_leave_nothing(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge()

    async def call() -> tuple[dict[str, float], int, int]:
        async with Client(bridge.url) as client:
            for n in range(50):
                async with stream(bridge, f"/media/r{n}") as socket:
                    await socket.send_bytes(bytes(640))
                    await socket.receive()
                if n == 5:
                    before = bridge.descriptors()
            await asyncio.sleep(1)
            return await client.metrics(), before, bridge.descriptors()

    metrics, before, after = asyncio.run(asyncio.wait_for(call(), 120))
    assert metrics["rtsr_bridge_calls_opened_total"] == 50
    assert metrics["rtsr_bridge_calls"] == metrics["rtsr_bridge_rows"] == 0
    assert after <= before + 1


async def closed_with(bridge: Bridge, *messages: str | bytes, path: str = "/media/hostile") -> int | None:
    async with stream(bridge, path) as socket:
        with contextlib.suppress(ConnectionError):
            for message in messages:
                await send(socket, message)
        while (await socket.receive()).type not in (
            WSMsgType.CLOSE,
            WSMsgType.CLOSED,
            WSMsgType.CLOSING,
            WSMsgType.ERROR,
        ):
            pass
        return socket.close_code


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (("no json",), 1003),
        (("[]",), 1003),
        (('{"event": "connected"}',) * 20, 1003),
        ((json.dumps(START), "\x00"), 1003),
        ((json.dumps(START), '{"event": "media", "media": {"payload": "!"}}'), 1003),
        ((b"\x00" * 300_000,), 1009),
        ((json.dumps(START), "x" * 300_000), 1009),
        ((json.dumps({"event": "start", "start": {"mediaFormat": {"encoding": "opus"}}}),), 1003),
    ],
)
def test_what_is_no_stream_is_closed_and_nothing_else_happens(bridge: Bridge, messages, code):
    assert asyncio.run(asyncio.wait_for(closed_with(bridge, *messages), 30)) == code


def test_a_stream_needs_a_token_where_there_are_some(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--token", "secret", settings="connect_s = 2.0")
    with_token = json.loads(json.dumps(START))
    with_token["start"]["customParameters"] = {"token": "secret"}

    async def answered(path: str, *messages: str | bytes, **more: Any) -> bool:
        async with stream(bridge, path, **more) as socket:
            for message in messages:
                await send(socket, message)
            return (await socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY)

    async def call() -> None:
        assert await closed_with(bridge, json.dumps(START)) == 1008
        assert await closed_with(bridge, bytes(640)) == 1008
        assert await closed_with(bridge) == 1008, "nothing is said in time"
        for path in ("/media/a?token=wrong", "/middlebox?token=wrong"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await answered(path)
        assert await answered("/media/a", json.dumps(with_token))
        assert await answered("/media/a?token=secret", bytes(640))
        assert await answered("/media/a", bytes(640), headers={"Authorization": "Bearer secret"})

    asyncio.run(asyncio.wait_for(call(), 60))


def test_a_peer_that_does_not_read_costs_no_memory_and_is_let_go(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge(settings="http_s = 2.0\nidle_s = 600.0")

    async def call() -> tuple[int, int, int]:
        async with Client(bridge.url) as client, stream(bridge, "/media/slow", max_msg_size=0) as socket:
            await socket.send_bytes(bytes(640))
            await socket.receive()
            before = bridge.resident_kb()
            socket._response.connection.transport.pause_reading()
            for _ in range(60):
                for _ in range(40):
                    await socket.send_bytes(bytes(32_000))
                await asyncio.sleep(0.1)
                if not await client.room("slow"):
                    break
            return before, bridge.resident_kb(), len(await client.room("slow"))

    before, after, left = asyncio.run(asyncio.wait_for(call(), 60))
    assert after - before < 60_000
    assert left <= 1
