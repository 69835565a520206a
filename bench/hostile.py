"""`python -m bench.hostile`: eight honest calls while two hundred peers send the worst that they may.

Each hostile peer joins a room, if the bridge lets it in, and then, for as long as its call is left to it, requests
hundreds of packets again in every report (NACK), floods sound, checks from port after port, names candidates in request
after request, or claims charsets that take long. One that is refused or hung up on claims charsets and calls again.
The bridge takes as many calls as it measures that it can carry (or --calls), and refuses the others. Prints ticks and
lost packets of the honest calls, before and meanwhile, beside their bars; stores one row. With --check it ends with 1
where a figure is over its bar.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from multiprocessing.synchronize import Event
from typing import Annotated, Any, NamedTuple

import aiohttp
import typer

from bench.bars import finish, over_bars
from bench.bridge import tick_quantile
from bench.packets import Listener, Mute, call, take_rtp
from rtsr.bridge.codec import OPUS, PCMU
from rtsr.bridge.rtp import write
from tests.live.bridge.peers import Client, Peer
from tests.live.bridge.server import Bridge

BARS = {"tick_p99_ms": 5.0, "lost": 0, "gaps": 0, "ended": 0}
SETTLED_S = 2.0
STOP_S = 60.0  # that the bridge may take to end: not what is measured here
LOOK_S = 2.0
JOIN_S = 600.0  # that the hostile peers may take until all have called
JOIN_AT_ONCE = 4  # hostile peers: more would not be connected in time, as they share a processor
AGAIN_S = 0.2  # after a call that was refused or ended, before the next one
BURST_S = 0.02  # between two bursts of one hostile peer
REQUESTS = struct.pack("!HH", 1, 0xFFFF) * 300  # to send packets again
TRICKLE = {"Content-Type": "application/trickle-ice-sdpfrag"}
SLOW = {"Content-Type": "application/sdp; charset=punycode"}
BODY = b"-" + b"a" * 60_000


class Hostile:
    """One hostile peer in its call. Each kind of attack takes a number of datagrams, or requests, to send."""

    def __init__(self, client: Client, peer: Peer) -> None:
        self.client, self.peer = client, peer
        self.rtp = peer.connection.getTransceivers()[0].sender.transport
        self.ice = self.rtp.transport._connection
        self.source = peer.connection.getSenders()[0]._ssrc
        self.sent = 0

    async def ask_again(self, count: int) -> None:
        """Request hundreds of packets again, in each report."""
        head = struct.pack("!BBHII", 0x81, 205, 2 + len(REQUESTS) // 4, 1, self.source)
        for _ in range(count):
            await self.rtp._send_rtp(head + REQUESTS)

    async def flood(self, count: int) -> None:
        """Send sound without a pause."""
        for _ in range(count):
            self.sent += 1
            await self.rtp._send_rtp(write(96, self.sent, 960 * self.sent, self.source, bytes(80)))

    async def check(self, count: int) -> None:
        """Check the way from port after port."""
        pair = self.ice._nominated[1]
        request = self.ice.build_request(pair, nominate=False)
        request.add_message_integrity(self.ice.remote_password.encode())
        data = bytes(request)
        for _ in range(count):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
                port.sendto(data, pair.remote_addr)

    async def name_candidates(self, count: int) -> None:
        """Name candidates, as many as a request may hold."""
        lines = [f"a=candidate:1 1 udp 99 192.168.77.{n} {2_000 + n} typ host" for n in range(60)]
        headers = {**TRICKLE, "If-Match": self.peer.etag}
        body = "\r\n".join(lines)
        async with self.client.http.patch(self.peer.location, data=body, headers=headers) as reply:
            await reply.read()

    async def claim_charsets(self, count: int) -> None:
        """Say that a long body is in a charset that takes long to read."""
        await claim_charsets(self.client)


async def claim_charsets(client: Client) -> None:
    """Do so, in a call or in none."""
    async with client.http.post("/whip/hostile", data=BODY, headers=SLOW) as reply:
        await reply.read()


KINDS: tuple[Callable[[Hostile, int], Awaitable[None]], ...] = (
    Hostile.ask_again,
    Hostile.flood,
    Hostile.check,
    Hostile.name_candidates,
    Hostile.claim_charsets,
)


def ignore(data: bytes, sent_s: float) -> None:
    """Leave a packet as it is: what hostile peers hear takes no time that they could send in."""


class Shared(NamedTuple):
    """What the process of the hostile peers and this one tell each other."""

    tried: Any  # multiprocessing.Value: how many have called, and were let in or refused
    begun: Event
    over: Event


async def attack_as(number: int, client: Client, per_s: int, joining: asyncio.Semaphore, shared: Shared) -> None:
    """Be one hostile peer, in call after call; quiet until all have called. One that is refused sends requests."""
    kind, tried = KINDS[number % len(KINDS)], False
    while not shared.over.is_set():
        with contextlib.suppress(AssertionError, aiohttp.ClientError, TimeoutError, ConnectionError, KeyError):
            room = f"hostile-{number // 10}"
            speaks = kind is Hostile.flood
            async with joining:
                try:
                    peer = await (client.call(room, Mute()) if speaks else client.session("whep", room))
                finally:
                    shared.tried.value, tried = shared.tried.value + (not tried), True
            take_rtp(peer, ignore)
            hostile = Hostile(client, peer)
            while not shared.begun.is_set() and not shared.over.is_set():
                await asyncio.sleep(AGAIN_S)
            while not shared.over.is_set() and peer.connection.connectionState == "connected":
                await kind(hostile, max(1, round(per_s * BURST_S)))
                await asyncio.sleep(BURST_S)
        await asyncio.sleep(AGAIN_S)
        if shared.begun.is_set() and not shared.over.is_set():
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                await claim_charsets(client)


def attack(url: str, numbers: range, per_s: int, shared: Shared) -> None:
    """Be many hostile peers; a process of its own, which leaves the processors to the bridge."""
    os.nice(19)

    async def one(number: int, joining: asyncio.Semaphore) -> None:
        async with Client(url) as client:
            await attack_as(number, client, per_s, joining, shared)

    async def all_of_them() -> None:
        joining = asyncio.Semaphore(JOIN_AT_ONCE)
        await asyncio.gather(*(one(number, joining) for number in numbers))

    asyncio.run(all_of_them())


async def look(client: Client, listeners: list[Listener], seconds: float) -> dict[str, Any]:
    """Return what became of the honest calls in so many seconds."""

    async def counts() -> dict[str, float]:
        calls = [one for n in range(-(-len(listeners) // 2)) for one in await client.room(f"honest-{n}")]
        metrics = await client.metrics()
        found = {name: sum(one["speaker"][name] for one in calls) for name in ("lost", "late", "underruns")}
        found |= {f"ticks_{n}": metrics[f"rtsr_bridge_ticks_{n}_total"] for n in ("late", "skipped")}
        found["sent_late"] = sum(one["listener"]["underruns"] for one in calls)
        found["dropped"] = sum(one["listener"]["dropped"] for one in calls)
        found["transport_cpu_s"] = metrics["rtsr_bridge_transport_cpu_seconds_total"]
        found["ended"] = len(listeners) - len(calls)
        return found

    before, since_s, p99 = await counts(), time.time(), 0.0
    while time.time() < since_s + seconds:
        await asyncio.sleep(min(LOOK_S, seconds))
        p99 = max(p99, await tick_quantile(client, "0.99"))
    after, until_s = await counts(), time.time()
    row: dict[str, Any] = {name: after[name] - before[name] for name in after if name != "ended"}
    row["lost"] += row.pop("dropped")
    row["transport_cpu_s"] = round(row["transport_cpu_s"] / (until_s - since_s), 3)  # per second
    return {
        "tick_p99_ms": round(p99, 2),
        "gaps": sum(listener.gaps(since_s, until_s) for listener in listeners),
        "ended": after["ended"],
        **row,
    }


async def opened(client: Client) -> float:
    """Return how many calls there have been."""
    return (await client.metrics())["rtsr_bridge_calls_opened_total"]


async def measure(bridge: Bridge, honest: int, hostile: int, seconds: float, per_s: int) -> dict[str, Any]:
    """Let honest peers talk alone, then with hostile ones, and return the row."""
    async with Client(bridge.url) as client:
        codecs = [(OPUS, PCMU)[number % 2] for number in range(honest)]
        rooms = [f"honest-{number // 2}" for number in range(honest)]
        sender, listeners = await call(client, rooms, codecs, JOIN_S + 2 * seconds)
        await asyncio.sleep(SETTLED_S)
        alone = await look(client, listeners, seconds / 3)
        before_mb, context = bridge.resident_kb() / 1024, multiprocessing.get_context("spawn")
        shared = Shared(context.Value("i", 0), context.Event(), context.Event())
        process = context.Process(target=attack, args=(bridge.url, range(hostile), per_s, shared), daemon=True)
        process.start()
        try:
            async with asyncio.timeout(JOIN_S):
                while shared.tried.value < hostile:
                    await asyncio.sleep(AGAIN_S)
            inside = (await client.metrics())["rtsr_bridge_calls"] - honest
            shared.begun.set()
            meanwhile = await look(client, listeners, seconds)
        finally:
            shared.over.set()
            await asyncio.to_thread(process.join)
            sender.stop()
        calls = await opened(client) - honest
        row = {"honest": honest, "hostile": hostile, "seconds": seconds, "per_s": per_s}
        row |= {"hostile_let_in": inside, "hostile_calls": calls}
        row |= meanwhile | {f"{name}_alone": value for name, value in alone.items()}
        row["hung_up_on"] = sum("it sends too much" in line for line in bridge.lines)
        row["grown_mb"] = round(bridge.resident_kb() / 1024 - before_mb, 1)
        return row


def main(
    honest: Annotated[int, typer.Option(help="Calls that are looked at.")] = 8,
    hostile: Annotated[int, typer.Option(help="Peers that attack.")] = 200,
    seconds: Annotated[float, typer.Option(help="For how long.")] = 30.0,
    per_s: Annotated[int, typer.Option(help="Datagrams a second that each of them sends.")] = 1_000,
    backend: str = "auto",
    calls: Annotated[int | None, typer.Option(help="That the bridge takes; measured by it if not given.")] = None,
    check: Annotated[bool, typer.Option("--check", help="End with 1 where a figure is over its bar.")] = False,
    save: Annotated[bool, typer.Option(help="Append the row to bench/results/hostile.jsonl.")] = True,
) -> None:
    """Measure, print the figures and store the row."""
    bridge = Bridge("--backend", backend, calls=calls)
    try:
        row = asyncio.run(measure(bridge, honest, hostile, seconds, per_s))
        if bridge.process.poll() is not None:
            raise SystemExit("the bridge has ended:\n" + "\n".join(bridge.lines[-20:]))
    finally:
        bridge.stop(limit_s=STOP_S)
    for name, value in row.items():
        print(f"  {name:22} {value:10}" + (f"   bar {BARS[name]:g}" if name in BARS else ""))
    finish("hostile", [{"backend": backend, **row}], over_bars(row, BARS), check, save)


if __name__ == "__main__":
    typer.run(main)
