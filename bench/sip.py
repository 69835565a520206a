"""`python -m bench.sip`: calls of sipp in sequence and at once, how many failed, and what they leave.

They leave it in the bridge, or with --fleet in all processes of a fleet of two bridges, whose gateway is called.

Prints the figures beside their bars and stores one row. With --check it ends with 1 where a figure is over its bar.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from bench.bars import finish, over_bars
from tests.live.bridge.peers import Client
from tests.live.bridge.server import Bridge, Process
from tests.live.bridge.sipp import call, free_port, pause, run
from tests.live.fleet.command import Fleet

BARS = {"failed": 0, "left_calls": 0, "left_descriptors": 0, "left_threads": 0, "resident_kb": 8_192}
LINE = '[[bridge.sip]]\nname = "bench"\nlisten = "127.0.0.1:PORT"\n'
PEERS = 64
SETTLED_S = 1.0
SAMPLES = 10
HELD_MS = 3_000


async def held(server: Process) -> tuple[int, ...]:
    """Return the descriptors, threads and kB of a server: the least of a while, as a gateway asks its bridges again."""
    await asyncio.sleep(SETTLED_S)
    samples = []
    for _ in range(SAMPLES):
        samples.append((server.descriptors(), server.threads(), server.resident_kb()))
        await asyncio.sleep(SETTLED_S / SAMPLES)
    return tuple(map(min, *samples))


async def measure(server: Process, folder: Path, in_sequence: int, at_once: int) -> dict[str, float]:
    """Return the figures of a bridge or a fleet that has one line."""
    port = int(server.wait_for(r"event=sip name=bench address=127.0.0.1:(\d+)"))

    async def calls(name: str, count: int, together: int, held_ms: int) -> int:
        steps = call(pause(held_ms))
        limits = ("-m", str(count), "-r", str(max(together, 50)), "-l", str(together), "-trace_stat", "-fd", "1")
        code, text = await run(folder / name, steps, port, *limits)
        if code not in (0, 1):
            raise SystemExit(text)
        (table,) = (folder / name).glob("*.csv")
        head, *rows = (line.split(";") for line in table.read_text().splitlines())
        done = int(dict(zip(head, rows[-1], strict=False))["SuccessfulCall(C)"])
        return count - done

    await calls("warm", at_once, at_once, 200)
    await calls("warm-sequence", in_sequence, 1, 50)  # Ray opens connections of its own late
    before = await held(server)
    began = time.monotonic()
    failed = await calls("sequence", in_sequence, 1, 50)
    took_s = time.monotonic() - began
    failed += await calls("together", at_once, at_once, HELD_MS)
    after = await held(server)
    async with Client(server.url) as client, client.http.get("/rooms") as reply:
        left = sum((await reply.json())["rooms"].values())
    grown = [b - a for a, b in zip(before, after, strict=True)]
    return {
        "in_sequence": in_sequence,
        "at_once": at_once,
        "failed": failed,
        "left_calls": left,
        "left_descriptors": max(grown[0], 0),
        "left_threads": grown[1],
        "resident_kb": grown[2],
        "ms_a_call": round(1000 * took_s / in_sequence - 50, 1),
    }


def start(folder: Path, calls: int, *, fleet: bool) -> Process:
    """Start a bridge, or a fleet of two, that carries so many calls."""
    if fleet:
        return Fleet(folder, calls, LINE.replace("PORT", str(free_port())), peers=PEERS)
    config = folder / "bridge.toml"
    config.write_text(f"[bridge]\npeers = {PEERS}\n" + LINE.replace("PORT", "0"))
    return Bridge("--config", str(config), calls=calls)


def main(
    in_sequence: Annotated[int, typer.Option(help="Calls, one after the other.")] = 200,
    at_once: Annotated[int, typer.Option(help="Calls at the same time.")] = 20,
    fleet: Annotated[bool, typer.Option("--fleet", help="Call through the gateway of a fleet.")] = False,
    save: Annotated[bool, typer.Option(help="Store a row.")] = True,
    check: Annotated[bool, typer.Option("--check", help="End with 1 where a figure is over its bar.")] = False,
) -> None:
    """Call, and print what failed and what is left."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = start(folder, 2 * at_once, fleet=fleet)
        try:
            row = {"fleet": fleet, **asyncio.run(measure(server, folder, in_sequence, at_once))}
        finally:
            server.close()
    for key, value in row.items():
        print(f"  {key:22} {value:10}" + (f"   bar {BARS[key]:g}" if key in BARS else ""))
    finish("sip", [row], over_bars(row, BARS), check, save)


if __name__ == "__main__":
    typer.run(main)
