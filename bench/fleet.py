"""`python -m bench.fleet`: a Ray cluster of three nodes on this machine, 24 calls by aiortc peers through its gateway.

Where rooms are placed; how much longer a call takes to set up through the gateway than at a bridge; how soon the calls
of a bridge that is killed, of a node that is drained and of a node that is removed are heard again, and whether other
calls lose a packet meanwhile; what joins and leaves leave in any process; how much more two bridges carry than one.
Prints each figure beside its bar and stores a row for each.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.bars import finish, over_bars
from bench.fleet_carry import carry
from bench.fleet_peers import LightCaller, Voices
from rtsr.daemon.priority import be_less_nice
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.fleet.cluster import Cluster, descendants

NODES, CALLS, PEOPLE = 3, 24, 2  # in a room
AT_ONCE = 3  # calls that are set up at the same time
SETUPS = 20
SETTLED_S, WATCHED_S, AGAIN_S = 3.0, 8.0, 60.0
SWITCH_S = 0.0002  # that the thread which speaks waits for the interpreter
SILENCE = np.zeros(960, np.float32)
LEFT = ("tasks", "rows", "descriptors", "threads")
BARS = {
    "uneven": 1,
    "added_p50_ms": 150.0,
    "added_p95_ms": 150.0,
    "heard_again_s": 3.0,
    "lost_calls": 0,
    "lost_elsewhere": 0,  # packets that bridges left out
    "lost_from_peers": 0,  # packets of peers that were not there when their turn came
    **{f"{name}_left": 0 for name in LEFT},
    "one_by_two": 1 / 1.7,  # calls of one bridge, as a share of what two carry
}


async def setups(client: Client, key: str, count: int) -> dict[str, Any]:
    """Set calls up at a bridge and through the gateway in turn, one at a time."""
    urls = [one["url"] for one in (await status(client))["workers"]]
    took: dict[str, list[float]] = {"direct": [], "gateway": []}
    for number in range(count):
        for way, base in (("direct", urls[number % len(urls)]), ("gateway", client.url)):
            async with Client(base) as one:
                began = time.monotonic()
                peer = await one.call(f"setup-{way}-{number}", VoiceTrack(SILENCE))
                took[way].append(1000 * (time.monotonic() - began))
                async with one.http.delete(peer.location):
                    pass
    row: dict[str, Any] = {"key": key}
    for percent in (50, 95):
        direct, gateway = (float(np.percentile(took[way], percent)) for way in ("direct", "gateway"))
        row |= {f"direct_p{percent}_ms": round(direct, 1), f"gateway_p{percent}_ms": round(gateway, 1)}
        row[f"added_p{percent}_ms"] = round(gateway - direct, 1)
    return row


async def status(client: Client) -> dict[str, Any]:
    """Return what the gateway says of the fleet."""
    async with client.http.get("/fleet") as reply:
        return await reply.json()


async def join(client: Client, voices: Voices) -> tuple[list[LightCaller], dict[str, Any]]:
    """Let everyone call, and see where they are."""
    callers = [LightCaller(client, f"room-{number // PEOPLE}", voices) for number in range(CALLS)]
    for first in range(0, CALLS, AT_ONCE):
        await asyncio.gather(*(one.start() for one in callers[first : first + AT_ONCE]))
    await asyncio.sleep(SETTLED_S)
    counts = [one["calls"] for one in (await status(client))["workers"]]
    return callers, {"key": "placement", "calls": sum(counts), "by_worker": counts, "uneven": max(counts) - min(counts)}


async def homes(client: Client, callers: list[LightCaller]) -> dict[str, str]:
    """Return the worker of each room."""
    found = {}
    for one in (await status(client))["workers"]:
        if one["url"]:
            async with Client(one["url"]) as bridge, bridge.http.get("/rooms") as reply:
                found |= dict.fromkeys((await reply.json())["rooms"], one["name"])
    return {room: found.get(room, "") for room in {one.room for one in callers}}


async def lost_packets(client: Client, rooms: set[str]) -> int:
    """How many packets of speakers were not there when their turn came, so far."""
    found = [await client.room(room) for room in sorted(rooms)]
    return sum(call["speaker"]["lost"] for calls in found for call in calls)


async def disturb(
    client: Client, callers: list[LightCaller], voices: Voices, key: str, victim: str, act: Callable[[], Awaitable[Any]]
) -> dict[str, Any]:
    """Do something to a worker that carries calls, and hear what becomes of its calls and of the others."""
    where = await homes(client, callers)
    hit = [one for one in callers if where[one.room] == victim]
    others = [one for one in callers if one not in hit]
    rooms = {one.room for one in others}
    before, calls_before = await lost_packets(client, rooms), sum(one.calls for one in others)
    since_s, since = time.time(), time.monotonic()
    await act()
    await asyncio.sleep(WATCHED_S)
    again = [one.heard_again_s() if one.calls > 1 else float("nan") for one in hit]
    heard = [at for at in again if not np.isnan(at)]
    return {
        "key": key,
        "calls": len(hit),
        "heard_again_s": round(max(again, default=float("nan")), 2) if len(heard) == len(again) else float("nan"),
        "heard_again_p50_s": round(float(np.median(heard)), 2) if heard else float("nan"),
        "lost_calls": len(again) - len(heard),
        "others": len(others),
        "others_called_again": sum(one.calls for one in others) - calls_before,
        "lost_elsewhere": sum(one.skipped(since_s) for one in others),
        "lost_from_peers": await lost_packets(client, rooms) - before,
        "peers_sent_late": voices.sent_late(since),
    }


async def undisturbed(client: Client, callers: list[LightCaller], voices: Voices, seconds: float) -> dict[str, Any]:
    """Leave everyone in peace, to know what this machine loses by itself."""
    rooms = {one.room for one in callers}
    before, since_s, since = await lost_packets(client, rooms), time.time(), time.monotonic()
    await asyncio.sleep(seconds)
    return {
        "key": "undisturbed",
        "seconds": seconds,
        "skipped": sum(one.skipped(since_s) for one in callers),
        "lost": await lost_packets(client, rooms) - before,
        "peers_sent_late": voices.sent_late(since),
    }


async def disturbances(
    client: Client, cluster: Cluster, callers: list[LightCaller], voices: Voices
) -> list[dict[str, Any]]:
    """Kill a bridge, drain a node and remove one, each when all calls are well."""
    rows = []

    async def settled() -> list[str]:
        await asyncio.to_thread(cluster.wait_for_workers, NODES, AGAIN_S)
        await asyncio.sleep(SETTLED_S)
        for one in callers:
            one.calls = 1
        workers = (await status(client))["workers"]
        return [one["name"] for one in sorted(workers, key=lambda one: -one["calls"])]

    async def kill(name: str) -> None:
        os.kill(pids[name], signal.SIGKILL)

    async def drain(body: dict[str, Any]) -> None:
        async with client.http.post("/fleet/drain", json=body) as reply:
            assert reply.status == 200, await reply.text()

    names = await settled()
    pids = cluster.ask("processes", names)
    rows.append(await disturb(client, callers, voices, "bridge killed", names[0], lambda: kill(names[0])))
    names = await settled()
    node = cluster.workers()[names[0]]["node"]
    act = lambda: drain({"node": node, "limit_s": 0})  # noqa: E731
    rows.append(await disturb(client, callers, voices, "node drained", names[0], act))
    await drain({"node": node, "drain": False})
    names = await settled()
    node = cluster.workers()[names[0]]["node"]
    act = lambda: asyncio.to_thread(cluster.ask, "remove", node)  # noqa: E731
    rows.append(await disturb(client, callers, voices, "node removed", names[0], act))
    return rows


async def come_and_go(client: Client, cluster: Cluster, joins: int) -> dict[str, Any]:
    """Join and leave, and see what is left in any process once the first have been forgotten."""

    async def state() -> dict[str, dict[int, float]]:
        await asyncio.sleep(5)
        found: dict[str, dict[int, float]] = {"tasks": {}, "rows": {}, "descriptors": {}, "threads": {}, "mb": {}}
        for number, one in enumerate(cluster.workers().values()):
            async with Client(one["url"]) as bridge:
                metrics = await bridge.metrics()
            found["tasks"][number], found["rows"][number] = metrics["rtsr_bridge_tasks"], metrics["rtsr_bridge_rows"]
        for pid in descendants(cluster.process.pid):
            of = Path(f"/proc/{pid}")
            found["descriptors"][pid] = len(list((of / "fd").iterdir()))
            found["threads"][pid] = len(list((of / "task").iterdir()))
            found["mb"][pid] = int((of / "statm").read_text().split()[1]) * 4096 / 1e6
        return found

    before = await state()
    for number in range(joins):
        if number == joins // 4:
            before = await state()
        peer = await client.call(f"room-{number % 5}", VoiceTrack(SILENCE))
        await peer.close()
        client.peers.clear()
    after = await state()
    row: dict[str, Any] = {"key": "joins", "joins": joins, "processes": len(after["mb"])}
    for name in LEFT:
        row[f"{name}_left"] = max(after[name][one] - before[name].get(one, 0) for one in after[name])
    row["grown_mb"] = round(max(after["mb"][one] - before["mb"].get(one, 0) for one in after["mb"]), 1)
    return row


async def measure(cluster: Cluster, joins: int, seconds: float) -> list[dict[str, Any]]:
    """Everything that takes the cluster, one after the other."""
    voices = Voices()
    async with Client(cluster.url) as client:
        rows = [await setups(client, "set-up, no other calls", SETUPS)]
        rows.append(await come_and_go(client, cluster, joins))
        callers, placed = await join(client, voices)
        rows += [placed, await setups(client, f"set-up beside {CALLS} calls", SETUPS)]
        rows.append(await undisturbed(client, callers, voices, seconds))
        rows += await disturbances(client, cluster, callers, voices)
        await asyncio.gather(*(one.close() for one in callers))
    voices.stop()
    return rows


def main(
    backend: Annotated[str, typer.Option(help="Of the bridges.")] = "auto",
    model: str = "voice-16k",
    joins: Annotated[int, typer.Option(help="Joins and leaves.")] = 500,
    seconds: Annotated[float, typer.Option(help="That calls are left in peace.")] = 20.0,
    calls: Annotated[bool, typer.Option(help="Whether a cluster and its calls are measured.")] = True,
    voices: Annotated[bool, typer.Option(help="Whether what one and two bridges carry is.")] = True,
    save: Annotated[bool, typer.Option(help="Append the rows to bench/results/fleet.jsonl.")] = True,
    check: Annotated[bool, typer.Option(help="Fail where a figure is over its bar.")] = False,
) -> None:
    """Measure, print each figure beside its bar, and store the rows."""
    rows = [carry(model, backend)] if voices else []
    if calls:
        cluster = Cluster(NODES, CALLS // NODES + CALLS // 4, model=model, backend=backend)
        be_less_nice()  # as bridges do: the peers stand for other machines
        sys.setswitchinterval(SWITCH_S)
        try:
            rows += asyncio.run(measure(cluster, joins, seconds))
        finally:
            cluster.close()
    failed = []
    for row in rows:
        row |= {"model": model, "backend": backend}
        print(f"\n{row['key']}")
        for name, value in row.items():
            bar = f"   bar {BARS[name]:.4g}{'' if value <= BARS[name] else '   OVER THE BAR'}" if name in BARS else ""
            print(f"  {name:26} {value}{bar}")
        failed += over_bars(row, {name: bar for name, bar in BARS.items() if name in row}, f"{row['key']}: ")
    finish("fleet", rows, failed, check, save)


if __name__ == "__main__":
    typer.run(main)
