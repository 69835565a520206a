"""`python -m bench.soak`: `rtsr live` for minutes on a real PulseAudio while another process keeps a core busy.

Starts a server, a live path and a burner of its own, plays a voice all along, and stores one row: underruns, latency,
computing time, how much the path's memory grew after the first minute, and how long the machine itself stalled.
All are counted from when everything runs: to start a program, a monitor too, can stop a machine for 50 ms. A loss in a
second in which no processor stalled for as long as the ring holds is `unexplained`.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from rtsr.bench.record import store
from rtsr.bench.signal import voice
from rtsr.daemon.config import LiveSettings
from rtsr.daemon.process import PathProcess
from tests.live.servers import RATE, Server, play
from tests.live.stall_monitor import Stalls, monitored

RESULTS = Path(__file__).parent / "results"
LOOP_S = 10
BARS = {"lost": 0, "grown_mb": 2.0}
LOST = ("worker_underruns", "input_underruns", "device_xruns", "overloads")
COUNTED = (*LOST, "late_hops", "hops", "reconnects")
SETTLED_S = 2.0
HELD_S = 0.008  # what the ring holds, and less than an output does
NEAR_S = 0.1  # a loss is counted after its cause


def burn(core: int) -> None:
    """Keep one core busy for ever."""
    os.sched_setaffinity(0, {core})
    while True:
        sum(range(10_000))


def resident_kb(process: int) -> int:
    """Return a process's resident memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1])


def main(
    minutes: Annotated[float, typer.Option(help="How long.")] = 10.0,
    core: Annotated[int, typer.Option(help="The core that is kept busy; -1: none, something else keeps one busy.")] = 0,
    model: str = "voice-16k",
    save: Annotated[bool, typer.Option(help="Append the row to bench/results/soak.jsonl.")] = True,
) -> None:
    """Let it run, print the row and store it."""
    burner = multiprocessing.Process(target=burn, args=(core,), daemon=True) if core >= 0 else None
    with tempfile.TemporaryDirectory() as folder:
        server = Server("pulse", Path(folder))
        server.start()
        os.environ.update({k: v for k, v in server.env.items() if k.startswith(("PULSE", "XDG"))})
        settings = LiveSettings(input="A.monitor", output="B", model=model)
        process = PathProcess(settings, lambda kind, line: print(f"{kind}: {line}", flush=True))
        # One player for all the time, started first: writing a sound and starting a program can stop a machine.
        playing = play(server, "A", np.tile(voice(LOOP_S, RATE), int(minutes * 60 / LOOP_S) + 2))
        try:
            if burner:
                burner.start()
            process.start()
            process.wait_until_ready()
            losses: list[tuple[float, int]] = []
            with monitored() as stalls:
                row = soak(process, minutes, losses)
            row |= explain(losses, stalls)
            print(row, flush=True)
            for name, bar in BARS.items():
                print(f"{name:12} {row[name]:7.2f}   bar {bar:5.1f}{'' if row[name] <= bar else '   OVER THE BAR'}")
            assert playing.poll() is None, "the player ended before the time was over"
            if save:
                store(RESULTS, "soak", [row])
        finally:
            playing.terminate()
            process.stop()
            server.stop()
            if burner:
                burner.terminate()


def soak(process: PathProcess, minutes: float, losses: list[tuple[float, int]]) -> dict[str, Any]:
    """Wait until the time is over and return the row; appends how much had been lost at each moment."""
    time.sleep(SETTLED_S)
    before, began, settled_kb = process.ask("stats"), time.monotonic(), 0
    for _ in track(range(round(60 * minutes)), description="soaking"):
        stats = process.ask("stats")
        losses.append((time.monotonic(), sum(stats[k] - before[k] for k in LOST)))
        time.sleep(1)
        if not settled_kb and time.monotonic() - began > min(60, 30 * minutes):
            settled_kb = resident_kb(process.process.pid)
    stats = process.ask("stats")
    losses.append((time.monotonic(), sum(stats[k] - before[k] for k in LOST)))
    row: dict[str, Any] = {"minutes": minutes, **{k: stats[k] - before[k] for k in COUNTED}, "lost": losses[-1][1]}
    row |= {k: stats[k] for k in ("drift_ppm", "latency_ms", "compute_ms", "cpu_s")}
    return row | {"grown_mb": (resident_kb(process.process.pid) - settled_kb) / 1024, "resident_mb": settled_kb / 1024}


def explain(losses: list[tuple[float, int]], stalls: Stalls) -> dict[str, Any]:
    """Say how often and for how long the machine stalled, and how many losses that does not explain."""
    long = [began for began, lasted in stalls if lasted > HELD_S]
    unexplained = sum(
        now - before
        for (since, before), (until, now) in pairwise(losses)
        if not any(since - NEAR_S < at < until for at in long)
    )
    return {
        "unexplained": unexplained,
        "stalls": len(long),
        "longest_stall_ms": 1000 * max((lasted for _, lasted in stalls), default=0.0),
    }


if __name__ == "__main__":
    typer.run(main)
