"""Past its limits a bridge refuses, on request it ends, and those who leave leave nothing behind."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

import numpy as np

from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.live.bridge.test_calls import goes_on_hearing, nobody, until

TONE = (0.3 * np.sin(2 * np.pi * 500 * np.arange(48_000) / 48_000)).astype(np.float32)
SDP = {"Content-Type": "application/sdp"}


def test_past_the_capacity_503_and_the_others_stay(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null", calls=2)

    async def call() -> None:
        async with Client(bridge.url) as client:
            listener = await client.call("r", VoiceTrack(np.zeros(960, np.float32)))
            speaker = await client.call("r", VoiceTrack(TONE, loop=True))
            assert (await client.text("/readyz"))[0] == 503
            body = {"sdp": await client.offer(), "type": "offer"}
            for _ in range(20):
                async with client.http.post("/rooms/r/offer", json=body) as reply:
                    assert reply.status == 503
                    assert int(reply.headers["Retry-After"]) > 0
            await goes_on_hearing(listener)
            await speaker.close()
            await until(lambda: is_ready(client))
            await client.call("r", VoiceTrack(TONE))

    asyncio.run(call())


async def is_ready(client: Client) -> bool:
    return (await client.text("/readyz"))[0] == 200


def test_limits_of_rooms_and_peers(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null", settings="rooms = 2\npeers = 2")

    async def call() -> None:
        async with Client(bridge.url) as client:
            for room in ("one", "two", "two"):
                await client.call(room, VoiceTrack(TONE))
            for room, why in (("two", "full"), ("three", "rooms")):
                body = {"sdp": await client.offer(), "type": "offer"}
                async with client.http.post(f"/rooms/{room}/offer", json=body) as reply:
                    assert reply.status == 503
                    assert why in (await reply.json())["error"]

    asyncio.run(call())


def test_sigterm_lets_calls_end_and_takes_no_new_ones(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null")

    async def call() -> None:
        async with Client(bridge.url) as client:
            peer = await client.call("r", VoiceTrack(TONE, loop=True))
            other = await client.call("r", VoiceTrack(TONE, loop=True))
            bridge.process.send_signal(signal.SIGTERM)
            bridge.wait_for("event=draining")
            assert (await client.text("/readyz"))[0] == 503
            assert (await client.text("/healthz"))[0] == 200
            body = {"sdp": await client.offer(), "type": "offer"}
            async with client.http.post("/rooms/r/offer", json=body) as reply:
                assert reply.status == 503
            await asyncio.sleep(0.5)
            assert len(peer.heard) > 9_600
            assert bridge.process.poll() is None
            for one in (peer, other):
                async with client.http.delete(one.location) as reply:
                    assert reply.status == 200

    asyncio.run(call())
    began = time.monotonic()
    assert bridge.process.wait(10) == 0
    assert time.monotonic() - began < 5


def test_sigterm_ends_those_who_stay_within_its_limit(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null", settings="drain_s = 0.5")

    async def call() -> None:
        async with Client(bridge.url) as client:
            await client.call("r", VoiceTrack(TONE, loop=True))
            bridge.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(bridge.process.wait, 10)

    asyncio.run(call())
    assert bridge.process.returncode == 0
    bridge.wait_for('event=ended .*why="the bridge is being shut down"')


def test_sigterm_does_not_wait_for_a_telephone_that_nobody_uses(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null", "--rtp", "127.0.0.1:0", settings="drain_s = 120.0")
    assert bridge.stop(signal.SIGTERM, 30) == 0


def test_joins_and_leaves_leave_nothing_behind(start_bridge: Callable[..., Bridge]):
    """Thirty here; bench/bridge.py does two hundred."""
    bridge = start_bridge("--backend", "null")

    async def come_and_go() -> tuple[tuple[int, int], tuple[int, int]]:
        async with Client(bridge.url) as client:
            before = (0, 0)
            for number in range(30):
                peer = await client.call(f"room-{number % 3}", VoiceTrack(TONE, loop=True))
                if number % 2:
                    await peer.close()
                else:
                    async with client.http.delete(peer.location):
                        await peer.close()
                client.peers.clear()
                if number == 4:
                    await until(lambda: nobody(client))
                    before = bridge.descriptors(), bridge.threads()
            await until(lambda: nobody(client))
            await asyncio.sleep(1.5)
            return before, (bridge.descriptors(), bridge.threads())

    before, after = asyncio.run(come_and_go())
    assert after[0] <= before[0] + 1, "sockets were left"
    assert after[1] <= before[1] + 1, "threads were left"
