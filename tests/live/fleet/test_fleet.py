"""`rtsr fleet run` with two bridges: calls through the gateway, a bridge that dies, a drain, the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import numpy as np
import pytest

from tests.live.bridge.peers import RATE, Client, VoiceTrack
from tests.live.fleet.caller import Caller, home, idle
from tests.live.fleet.command import VOICES, Fleet

pytestmark = pytest.mark.alone

AGAIN_S = 3.0  # within which calls are heard again
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


async def two_rooms(client: Client, rooms: tuple[str, str] = ("one", "two")) -> list[Caller]:
    """Two callers in each of two rooms, all of whom are heard; once nobody else is there."""
    await idle(client, 2 * VOICES)
    callers = [Caller(client, room, lambda: VoiceTrack(TONE, loop=True)) for room in rooms for _ in range(2)]
    for one in callers:
        await one.start()
    await heard(callers)
    return callers


async def heard(callers: list[Caller], limit_s: float = AGAIN_S) -> None:
    """Wait until everyone hears a voice that comes from now on."""
    since_s = time.monotonic()
    while not all(one.heard_s and one.heard_s[-1] > since_s + 0.2 for one in callers):
        assert time.monotonic() - since_s < limit_s, [one.calls for one in callers]
        await asyncio.sleep(0.05)


async def metrics(client: Client) -> dict[str, float]:
    """Return the sums over all workers, and the fleet's own."""
    _, text = await client.text("/metrics")
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#") and "quantile" not in line:
            name, value = line.partition("{")[0].split()[0], float(line.split()[-1])
            found[name] = found.get(name, 0.0) + value
    return found


def test_calls_through_the_gateway(fleet: Fleet):
    async def run() -> None:
        async with Client(fleet.url) as client:
            callers = await two_rooms(client)
            workers = fleet.workers()
            assert sorted((one["calls"], one["rooms"]) for one in workers.values()) == [(2, 1), (2, 1)]
            assert len(await client.room("one")) == 2
            counted = await metrics(client)
            asked = ("rtsr_bridge_calls", "rtsr_fleet_rooms", "rtsr_fleet_voices")
            assert [counted[name] for name in asked] == [4, 2, 8]
            status, page = await client.text("/")
            assert (status, "<html" in page) == (200, True)
            call = callers[3].peer.location.rpartition("/")[2]
            assert (await client.text(f"/calls/{call}"))[0] == 200, "whichever worker it is on"
            body = {"sdp": await client.offer()}
            for room, status in (*2 * (("three", 201), ("four", 201)), ("five", 503), ("one", 503)):
                async with client.http.post(f"/rooms/{room}/offer", json=body) as reply:
                    assert reply.status == status, await reply.text()
                    assert "Retry-After" in reply.headers or status == 201
            for room in ("three", "four"):
                async with client.http.delete(f"/rooms/{room}") as reply:
                    assert await reply.json() == {"ended": 2}
            async with client.http.get("/rooms/one", headers={"Origin": "http://evil.example"}) as reply:
                assert reply.status == 403
            await asyncio.gather(*(one.close() for one in callers))

    asyncio.run(run())


def test_the_rooms_of_a_worker_that_is_drained_move(fleet: Fleet):
    async def run() -> None:
        async with Client(fleet.url) as client:
            callers = await two_rooms(client, ("drain", "stay"))
            drained = await home(client, callers[0].room)
            done = await asyncio.to_thread(fleet.run, "drain", drained)  # it ends when the worker is empty
            assert (done.returncode, done.stderr) == (0, "")
            await heard(callers)
            assert [one.calls for one in callers] == [2, 2, 1, 1]
            worker = fleet.workers()[drained]
            assert (worker["calls"], worker["drains"]) == (0, 0)
            assert await home(client, callers[0].room) != drained
            done = await asyncio.to_thread(fleet.run, "drain", "x")
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert drained in done.stderr, "it says which there are"
            done = await asyncio.to_thread(fleet.run, "drain", "--end", drained)
            assert (done.returncode, done.stderr) == (0, "")
            assert json.loads(fleet.run("status").stdout) == fleet.status()
            assert fleet.workers()[drained]["drains"] is None
            await asyncio.gather(*(one.close() for one in callers))

    asyncio.run(run())


def test_the_calls_of_a_bridge_that_is_killed_are_heard_again(fleet: Fleet):
    async def run() -> None:
        async with Client(fleet.url) as client:
            callers = await two_rooms(client, ("kill", "other"))
            os.kill(fleet.bridge(await home(client, callers[0].room)), signal.SIGKILL)
            await heard(callers)
            assert [one.calls for one in callers] == [2, 2, 1, 1]
            for call in await client.room(callers[2].room):  # nothing happened to them
                assert (call["speaker"]["lost"], call["listener"]["dropped"]) == (0, 0)
            assert len({await home(client, one.room) for one in callers}) == 1
            assert (await metrics(client))["rtsr_fleet_workers_lost_total"] == 1
            await asyncio.gather(*(one.close() for one in callers))

    asyncio.run(run())
