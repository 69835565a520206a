"""`python -m bench.faults`: what a bad network does to calls, and how soon they are as before. Linux, as root.

A bridge is in one network namespace; in the other are a WebRTC peer and a telephone that say a tone each, and a WebRTC
peer that listens to both. The line between them loses, delays, doubles and reorders what is on its way to the bridge,
is cut, or gives the peers another address. Prints for each fault and speaker what was heard and the delay before,
during and after; stores a row for each. With --check it ends with 1 where a figure is over its bar.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer

from bench.bars import finish, over_bars
from bench.heard import TELEPHONE, TONES, WEB, Ear, Packets, Seen, tone
from bench.line import NEAR, NETWORK, Fault, Line
from rtsr.bridge.codec import OPUS, PCMU
from rtsr.bridge.rtp import write
from tests.live.bridge.peers import PACKET_S, Client
from tests.live.bridge.server import Bridge

ROOM, TOKEN = "faults", "secret"
POLL_S = 0.1
SAME_S, SETTLES_S = 1.0, 10.0  # how long counts are the same, and within how long
SWITCH_S = 0.0005  # between threads: the line, the peers and who asks share an interpreter
CALM_S = 3.0  # before a fault
WATCH_S = 3.0  # after it, once it may take no longer to be as before
RECOVERY_S = 5.0
STOP_S = 60.0  # that the bridge may take to end: not what is measured here
CHECK_S = 6.0  # until a WebRTC peer tells that it is somewhere else: it checks its way every 4 to 6 s (RFC 7675)
NEAR_MS = 10.0  # beyond the delay before a fault, and it is as before
SILENT = 2.0  # percent
GROWN = {"grown_mb": 8.0, "tasks_left": 0.0, "sockets_left": 0.0, "threads_left": 0.0, "ended": 0.0}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, and for how long; one that stays is not undone."""

    name: str
    fault: Fault
    lasts_s: float = 10.0
    stays: bool = False

    @property
    def recovery_s(self) -> float:
        """How long speakers, and the listener, may take until all is as before."""
        return RECOVERY_S + CHECK_S * self.fault.moved


SCENARIOS = (
    Scenario("none", Fault()),
    Scenario("loss 1 %", Fault(loss=0.01)),
    Scenario("loss 5 %", Fault(loss=0.05)),
    Scenario("loss 10 %", Fault(loss=0.10)),
    Scenario("bursts", Fault(loss=0.05, burst=5.0)),
    Scenario("60 ms jitter", Fault(late_s=0.06)),
    Scenario("reordering", Fault(held=0.25)),
    Scenario("duplication", Fault(doubled=0.25)),
    Scenario("outage", Fault(cut=True)),
    Scenario("address change", Fault(moved=True), 0.0, stays=True),
)


async def telephone(place: tuple[str, int], payloads: list[bytes]) -> None:
    """Say G.711 until cancelled; what is heard is not looked at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.connect(place)
        began, number = time.monotonic(), 0
        while True:
            await asyncio.sleep(max(0.0, began + number * PACKET_S - time.monotonic()))
            line.send(write(0, number, number * 160, 7, payloads[number % len(payloads)]))
            number += 1


def poll(url: str, seen: Seen, until: Any) -> None:
    """Read the bridge's figures of its speakers, until stopped; called in its namespace."""
    while not until():
        calls = {call["kind"]: call for call in get(url, f"/rooms/{ROOM}")["calls"] if call["name"] != "listener"}
        seen.told.append((time.monotonic(), calls))
        time.sleep(POLL_S)


def get(url: str, path: str) -> Any:
    """Ask the bridge; called in its namespace."""
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        text = reply.read().decode()
    return json.loads(text) if path.startswith("/rooms") else text


def settled(bridge: Bridge) -> dict[str, float]:
    """Return what must not grow once it has been the same for a second; called in the bridge's namespace.

    A call that has just begun, and a request that has just been answered, hold tasks and sockets for a moment.
    """
    began = same_s = time.monotonic()
    found, counts = state(bridge), ("tasks", "sockets", "threads")
    while time.monotonic() - same_s < SAME_S:
        time.sleep(POLL_S)
        last, found = found, state(bridge)
        if any(found[name] != last[name] for name in counts):
            same_s = time.monotonic()
        if time.monotonic() - began > SETTLES_S:
            raise SystemExit(f"expected counts that stay the same within {SETTLES_S:g} s, got {last}, then {found}")
    return found


def state(bridge: Bridge) -> dict[str, float]:
    """Return what must not grow, as it is now; called in the bridge's namespace."""
    found = {"sockets": bridge.descriptors(), "threads": bridge.threads(), "mb": bridge.resident_kb() / 1024}
    text = get(bridge.url, "/metrics")  # last, as this request is a socket of the bridge too
    return {**found, "tasks": float(re.search(r"^rtsr_bridge_tasks (\S+)", text, re.MULTILINE)[1])}


@contextmanager
def running(line: Line, *arguments: str, model: str = "voice-16k") -> Any:
    """A bridge at the near end of a line."""
    near = ("--listen", f"{NEAR}:0", "--token", TOKEN, "--allow-plain-http")
    telephone = ("--rtp", f"{NEAR}:0", "--rtp-source", NETWORK, "--room", ROOM)
    bridge = line.near.run(lambda: Bridge(*near, *telephone, *arguments, model=model))
    try:
        yield bridge
    finally:
        bridge.stop(limit_s=STOP_S)


async def speak(line: Line, bridge: Bridge, scenarios: Iterable[Scenario], seen: Seen) -> list[dict[str, Any]]:
    """Let all three call, make one fault after the other, and return the rows; runs at the far end."""
    port = int(bridge.wait_for(rf"event=rtp address={NEAR}:(\d+)"))
    speaks = asyncio.ensure_future(telephone((NEAR, port), tone(PCMU, TONES[TELEPHONE])))
    try:
        async with Client(bridge.url, TOKEN) as client:
            await client.call(ROOM, Packets(OPUS, tone(OPUS, TONES[WEB])), name="speaker")
            Ear(await client.call(ROOM, Packets(OPUS, tone(OPUS, 0.0)), name="listener"), seen)
            await asyncio.sleep(CALM_S)
            before = await asyncio.wrap_future(line.near.submit(settled, bridge))
            ends: list[bool] = []
            polling = line.near.submit(poll, bridge.url, seen, lambda: bool(ends))
            rows = []
            try:
                for scenario in scenarios:
                    rows += await suffer(line, scenario, seen)
            finally:
                ends.append(True)
                await asyncio.wrap_future(polling)
            after = await asyncio.wrap_future(line.near.submit(settled, bridge))
            left = {f"{name}_left": after[name] - before[name] for name in ("tasks", "sockets", "threads")}
            ids = [{calls[WEB]["id"] for _, calls in part if WEB in calls} for part in (seen.told[:1], seen.told[-1:])]
            row = {
                "key": "all",
                **left,
                "grown_mb": round(after["mb"] - before["mb"], 1),
                "ended": len(ids[0] - ids[1]),
            }
            rows.append(row)
            return rows
    finally:
        speaks.cancel()


async def suffer(line: Line, scenario: Scenario, seen: Seen) -> list[dict[str, Any]]:
    """Make one fault, wait until it is over, and return a row for each speaker."""
    await asyncio.sleep(CALM_S)
    began, line.fault = time.monotonic(), scenario.fault
    await asyncio.sleep(scenario.lasts_s)
    over = time.monotonic()
    if not scenario.stays:
        line.fault = Fault()
    await asyncio.sleep(scenario.recovery_s + WATCH_S)
    return [row(seen, scenario, kind, began, over) for kind in TONES]


def row(seen: Seen, scenario: Scenario, kind: str, began: float, over: float) -> dict[str, Any]:
    """Return what a fault did to a speaker; shares are in percent of the time that it lasted."""
    ends = over + scenario.recovery_s + WATCH_S
    before, during, after = (
        seen.delays(kind, *span)
        for span in ((began - CALM_S, began), (began, over + scenario.recovery_s), (over, ends))
    )
    usual_ms = float(np.median(before[:, 1])) if len(before) else np.nan
    off = after[after[:, 1] > usual_ms + NEAR_MS]
    silent = [t for t in np.arange(over, ends - 0.5, 0.25) if seen.silent(kind, t, t + 0.5) > 20]
    last_off = max([over, *off[-1:, 0], *silent[-1:]])
    found = {"key": f"{scenario.name}, {kind}", "fault": scenario.name, "speaker": kind}
    span = (began, max(over, began + 1.0))
    found["silent"] = round(seen.silent(kind, *span), 1)
    hops = 200 * (span[1] - span[0])
    found["concealed"] = round(100 * seen.count(kind, "concealed_hops", began, over + 1.0) / hops, 1)
    for name in ("lost", "late", "restarts"):
        found[name] = seen.count(kind, name, began, over + RECOVERY_S)
    found["before_ms"] = round(usual_ms, 1)
    found["during_ms"] = round(float(during[:, 1].max()), 1) if len(during) else np.nan
    found["after_ms"] = round(float(np.median(after[-10:, 1])), 1) if len(after) else np.nan
    found["recovery_s"] = round(last_off - over, 1)
    found["allowed_s"] = scenario.recovery_s
    found["silent_after"] = round(seen.silent(kind, over + scenario.recovery_s, ends), 1)
    return found


def bars_of(row: dict[str, Any]) -> dict[str, float]:
    """Return what a row's figures may be at most."""
    return GROWN if row["key"] == "all" else {"recovery_s": row["allowed_s"], "silent_after": SILENT}


def measure(
    scenarios: Iterable[Scenario], backend: str, model: str = "voice-16k", seed: int = 1
) -> list[dict[str, Any]]:
    """Make a line, a bridge and calls, and return the rows."""
    sys.setswitchinterval(SWITCH_S)
    line, seen = Line(seed), Seen()
    try:
        with running(line, "--backend", backend, model=model) as bridge:
            rows = line.far.run(asyncio.run, speak(line, bridge, scenarios, seen))
            if bridge.process.poll() is not None:
                raise SystemExit("the bridge has ended:\n" + "\n".join(bridge.lines[-20:]))
            return rows
    finally:
        line.close()


def main(
    only: Annotated[list[str] | None, typer.Option(help="The name of a fault; may be repeated.")] = None,
    model: str = "voice-16k",
    backend: str = "auto",
    seed: int = 1,
    check: Annotated[bool, typer.Option("--check", help="End with 1 where a figure is over its bar.")] = False,
    save: Annotated[bool, typer.Option(help="Append the rows to bench/results/faults.jsonl.")] = True,
) -> None:
    """Measure, print the table and store the rows."""
    rows = measure([s for s in SCENARIOS if not only or s.name in only], backend, model, seed)
    names = [name for name in rows[0] if name not in ("key", "fault", "speaker")]
    print(f"{'':24}" + "".join(f"{name:>14}" for name in names))
    for one in rows[:-1]:
        print(f"{one['key']:24}" + "".join(f"{one[name]:14}" for name in names))
    print(", ".join(f"{name} {rows[-1][name]:g}" for name in GROWN))
    failed = [figure for one in rows for figure in over_bars(one, bars_of(one), f"{one['key']}: ")]
    finish("faults", [{"backend": backend, "model": model, **one} for one in rows], failed, check, save)


if __name__ == "__main__":
    typer.run(main)
