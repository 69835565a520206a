"""`python -m bench.bridge`: what a bridge carries on this machine, with real aiortc peers in a process of their own.

Legs that send a voice for a minute: ticks, gaps at listeners, how late the peers themselves are, processor time per
call, split into codec, network and transport. The delay that it adds to a plain aiortc relay, both measured in one
run. Two hundred joins and leaves, and what is left of them. Prints each figure beside its bar and stores one row for
each.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.packets import LATE_S, call
from rtsr.bench.record import store
from rtsr.bridge.codec import OPUS, PCMU
from rtsr.daemon.priority import be_less_nice
from tests.live.bridge.peers import RATE, Client, Peer, VoiceTrack
from tests.live.bridge.server import Bridge

RESULTS = Path(__file__).parent / "results"
SETTLED_S, MORE_S = 2.0, 30.0  # before the time that is measured, and for which packets are there afterwards
BURST_S, EVERY_S, LOUD = 0.02, 0.5, 0.1  # of the sound by which delay is measured
NOTHING = ("gaps", "sent_late", "underruns", "tasks_left", "rows_left", "sockets_left")
BARS = {"added_p95_ms": 45.0, "tick_p99_ms": 5.0, **dict.fromkeys(NOTHING, 0)}


async def load(client: Client, legs: int, seconds: float) -> dict[str, Any]:
    """Let so many legs send a voice, two to a room, half of them over the telephone's codec."""
    codecs = [(OPUS, PCMU)[number % 2] for number in range(legs)]
    sender, listeners = await call(
        client, [f"load-{n // 2}" for n in range(legs)], codecs, SETTLED_S + seconds + MORE_S
    )
    gc.collect()  # now, and not while the peers have packets to send
    gc.freeze()
    await asyncio.sleep(SETTLED_S)
    before, joined = await client.metrics(), await counters(client, legs)
    since_s, began, p99 = time.time(), time.monotonic(), 0.0
    while time.monotonic() - began < seconds:
        await asyncio.sleep(min(5.0, seconds / 2))
        p99 = max(p99, await tick_p99(client))
    after, until_s, passed = await client.metrics(), time.time(), time.monotonic() - began
    counted = await counters(client, legs)
    row: dict[str, Any] = {"key": f"{legs} legs", "legs": legs, "seconds": round(passed, 1), "tick_p99_ms": p99}
    row["tick_p50_ms"] = await tick_quantile(client, "0.5")
    for part in ("codec", "network", "transport"):
        name = f"rtsr_bridge_{part}_cpu_seconds_total"
        row[f"{part}_ms_per_call_s"] = round(1000 * (after[name] - before[name]) / passed / legs, 2)
    for name in ("late", "skipped"):
        row[f"ticks_{name}"] = after[f"rtsr_bridge_ticks_{name}_total"] - before[f"rtsr_bridge_ticks_{name}_total"]
    row["gaps"] = sum(listener.gaps(since_s, until_s) for listener in listeners)
    sender.stop()
    late = np.array([late_s for due_s, late_s in sender.late_s if due_s >= began])
    read = np.array([read_s for one in listeners for read_s in one.read_s])
    row["peers_sent_late"] = int((late > LATE_S).sum())
    for name, times in (("sent", late), ("read", read)):
        row[f"peers_{name}_after_p99_ms"] = round(1000 * float(np.percentile(times, 99)), 1)
    row |= {name: counted[name] - joined[name] for name in ("sent_late", "packets_lost", "packets_late", "underruns")}
    row["waits_ms"] = counted["waits_ms"]
    await asyncio.gather(*(peer.close() for peer in client.peers))
    client.peers.clear()
    return row


async def counters(client: Client, legs: int) -> dict[str, Any]:
    """Return what the calls of `load` have counted since they joined, and how long a packet waits now (median)."""
    rooms = [await client.room(f"load-{number}") for number in range((legs + 1) // 2)]
    calls = [call for room in rooms for call in room]
    speakers = [call["speaker"] for call in calls]
    row = {f"packets_{name}": sum(one[name] for one in speakers) for name in ("lost", "late")}
    row["underruns"] = sum(one["underruns"] for one in speakers)
    row["sent_late"] = sum(call["listener"]["underruns"] for call in calls)
    return {**row, "waits_ms": round(float(np.median([one["delay_ms"] for one in speakers])), 1)}


async def tick_quantile(client: Client, quantile: str) -> float:
    """Return one of the quantiles of a tick's time."""
    _, text = await client.text("/metrics")
    return float(text.split(f'rtsr_bridge_tick_ms{{quantile="{quantile}"}} ')[1].split()[0])


async def tick_p99(client: Client) -> float:
    """Return the 99th percentile of the last ten seconds' ticks."""
    return await tick_quantile(client, "0.99")


def bursts(seconds: float) -> np.ndarray:
    """Short tones in silence."""
    sound, count = np.zeros(round(seconds * RATE), np.float32), round(BURST_S * RATE)
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(count) / RATE)
    for start in range(round(EVERY_S * RATE), len(sound) - count, round(EVERY_S * RATE)):
        sound[start : start + count] = tone
    return sound


def delays_ms(speaker: VoiceTrack, listener: Peer) -> np.ndarray:
    """Time from when a burst was due at the speaker to its arrival at the listener, for each that arrived."""
    ends = np.cumsum([len(block) for block in listener.blocks])
    heard, found, quiet_until = listener.heard, [], 0
    for place in np.flatnonzero(np.abs(heard) > LOUD):
        if place >= quiet_until:
            block = int(np.searchsorted(ends, place, side="right"))
            found.append(listener.arrivals[block] - (ends[block] - place) / RATE - speaker.began)
        quiet_until = place + round(EVERY_S / 2 * RATE)
    said_s = (np.array(found) - 0.02) // EVERY_S * EVERY_S
    return 1000 * (np.array(found) - said_s)


async def added(client: Client, relay: Client, seconds: float) -> dict[str, Any]:
    """The same bursts through both, at the same time; decoded and buffered by the same kind of peer."""
    pairs = []
    for one in (relay, client):
        speaker = VoiceTrack(bursts(seconds))
        await one.call("delay", speaker)
        pairs.append((speaker, await one.call("delay", VoiceTrack(np.zeros(960, np.float32)))))
    await asyncio.sleep(seconds)
    plain, bridged = (delays_ms(*pair) for pair in pairs)
    row: dict[str, Any] = {"key": "delay", "bursts": [len(plain), len(bridged)]}
    for name, delays in (("relay", plain), ("bridge", bridged)):
        for percent in (50, 95):
            row[f"{name}_p{percent}_ms"] = round(float(np.percentile(delays, percent)), 1)
    row["added_p50_ms"] = round(row["bridge_p50_ms"] - row["relay_p50_ms"], 1)
    row["added_p95_ms"] = round(row["bridge_p95_ms"] - row["relay_p95_ms"], 1)
    return row


async def come_and_go(client: Client, bridge: Bridge, joins: int) -> dict[str, Any]:
    """Join and leave, and see what is left once the first have been forgotten."""

    async def state() -> dict[str, float]:
        await asyncio.sleep(3)
        metrics = await client.metrics()
        kinds = {"tasks": metrics["rtsr_bridge_tasks"], "rows": metrics["rtsr_bridge_rows"]}
        return {**kinds, "sockets": bridge.descriptors(), "threads": bridge.threads(), "kb": bridge.resident_kb()}

    before: dict[str, float] = {}
    for number in range(joins):
        if number == joins // 4:
            before = await state()
        peer = await client.call(f"room-{number % 5}", VoiceTrack(bursts(1.0)))
        await peer.close()
        client.peers.clear()
    after = await state()
    left = {f"{name}_left": after[name] - before[name] for name in ("tasks", "rows", "sockets", "threads")}
    return {"key": "joins", "joins": joins, **left, "grown_mb": round((after["kb"] - before["kb"]) / 1024, 1)}


async def measure(bridge: Bridge, relay_url: str, legs: list[int], seconds: float, joins: int) -> list[dict[str, Any]]:
    """Everything, one after the other."""
    rows = []
    async with Client(bridge.url) as client, Client(relay_url) as relay:
        rows.append(await added(client, relay, max(10.0, seconds / 2)))
        await asyncio.gather(*(peer.close() for peer in [*client.peers, *relay.peers]))
        client.peers.clear()
        for count in legs:
            rows.append(await load(client, count, seconds))
            await asyncio.sleep(2)
        rows.append(await come_and_go(client, bridge, joins))
    return rows


def main(
    legs: Annotated[list[int] | None, typer.Option(help="How many talk at once; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="For how long.")] = 60.0,
    joins: Annotated[int, typer.Option(help="Joins and leaves.")] = 200,
    model: str = "voice-16k",
    backend: str = "auto",
    save: Annotated[bool, typer.Option(help="Append the rows to bench/results/bridge.jsonl.")] = True,
) -> None:
    """Measure, print each figure beside its bar, and store the rows."""
    legs = legs or [8, 16]
    bridge = Bridge("--backend", backend, model=model, calls=max(legs) + 4)
    relay = subprocess.Popen(
        [sys.executable, "-m", "bench.relay"], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
    )
    be_less_nice()  # as the bridge does: the peers stand for other machines, so that they must not be late
    try:
        assert relay.stdout
        rows = asyncio.run(measure(bridge, relay.stdout.readline().strip(), legs, seconds, joins))
    finally:
        relay.terminate()
        relay.wait()
        bridge.stop()
    for row in rows:
        print(f"\n{row['key']}")
        for name, value in row.items():
            bar = f"   bar {BARS[name]:g}{'' if value <= BARS[name] else '   OVER THE BAR'}" if name in BARS else ""
            print(f"  {name:26} {value}{bar}")
    if save:
        print(f"rows in {store(RESULTS, 'bridge', rows)}")


if __name__ == "__main__":
    typer.run(main)
