"""A fleet of two bridges on a Ray cluster of one machine: calls through the gateway, a bridge that dies, a drain."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.live.bridge.peers import RATE, Client, VoiceTrack
from tests.live.fleet.caller import Caller
from tests.live.fleet.cluster import Cluster

pytestmark = pytest.mark.alone

VOICES = 4  # of each worker: the other one has room for those of one that is gone
AGAIN_S = 3.0  # within which calls are heard again
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    one = Cluster(nodes=2, voices=VOICES, backend="null")
    yield one
    one.close()


async def two_rooms(client: Client, rooms: tuple[str, str] = ("one", "two")) -> list[Caller]:
    """Two callers in each of two rooms, all of whom are heard; once nobody else is there."""
    while True:
        async with client.http.get("/fleet") as reply:
            if not (await reply.json())["calls"]:
                break
        await asyncio.sleep(0.05)
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


async def home(client: Client, caller: Caller) -> str:
    """Return the worker of a caller's room."""
    async with client.http.post(f"/fleet/rooms/{caller.room}") as reply:
        return (await reply.json())["worker"]


async def metrics(client: Client) -> dict[str, float]:
    """Return the sums over all workers, and the fleet's own."""
    _, text = await client.text("/metrics")
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#") and "quantile" not in line:
            name, value = line.partition("{")[0].split()[0], float(line.split()[-1])
            found[name] = found.get(name, 0.0) + value
    return found


def test_calls_through_the_gateway(cluster: Cluster):
    async def run() -> None:
        async with Client(cluster.url) as client:
            callers = await two_rooms(client)
            workers = cluster.workers()
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


def test_the_rooms_of_a_worker_that_is_drained_move(cluster: Cluster):
    async def run() -> None:
        async with Client(cluster.url) as client:
            callers = await two_rooms(client, ("drain", "stay"))
            drained = await home(client, callers[0])
            async with client.http.post("/fleet/drain", json={"worker": drained, "limit_s": 0}) as reply:
                assert reply.status == 200
            await asyncio.sleep(1.0)  # it is found due within half of that
            await heard(callers)
            assert [one.calls for one in callers] == [2, 2, 1, 1]
            worker = cluster.workers()[drained]
            assert (worker["calls"], worker["drains"]) == (0, 0)
            assert await home(client, callers[0]) != drained
            async with client.http.post("/fleet/drain", json={"worker": "x"}) as reply:
                assert reply.status == 404
            async with client.http.post("/fleet/drain", json={"worker": drained, "drain": False}) as reply:
                assert reply.status == 200
            await asyncio.gather(*(one.close() for one in callers))

    asyncio.run(run())


def test_the_calls_of_a_bridge_that_is_killed_are_heard_again(cluster: Cluster):
    async def run() -> None:
        async with Client(cluster.url) as client:
            callers = await two_rooms(client, ("kill", "other"))
            pids = cluster.ask("processes", list(cluster.workers()))
            os.kill(pids[await home(client, callers[0])], signal.SIGKILL)
            await heard(callers)
            assert [one.calls for one in callers] == [2, 2, 1, 1]
            for call in await client.room(callers[2].room):  # nothing happened to them
                assert (call["speaker"]["lost"], call["listener"]["dropped"]) == (0, 0)
            assert len({await home(client, one) for one in callers}) == 1
            assert (await metrics(client))["rtsr_fleet_workers_lost_total"] == 1
            await asyncio.gather(*(one.close() for one in callers))

    asyncio.run(run())
