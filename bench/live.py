"""`python -m bench.live`: how quick `rtsr live` is on real servers, beside the bars that it has on a calm machine.

Start, stop, coming back after a server or a device did, and what a host adds to the algorithm's latency: the median of
three, as a recorder that lost a block errs to either side. These are measurements and not tests, as whatever else the
machine does counts too. Stores one row.
"""

from __future__ import annotations

import re
import signal
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from rtsr.bench.record import store
from tests.live.running import ANY_S, SETTLED_S, THROUGH, THROUGH_JACK, Running, rtsr, through, voice
from tests.live.servers import Server

RESULTS = Path(__file__).parent / "results"
TRIES = 3
BARS = {
    "ready_s": 3.0,
    "stopped_s": 1.0,
    "server_back_s": 2.0,
    "device_back_s": 2.0,
    "new_default_s": 2.0,
    "sounddevice_added_ms": 40.0,
    "pyaudio_added_ms": 80.0,
    "jack_added_ms": 20.0,
    "pulse_microphone_added_ms": 25.0,
    "jack_microphone_added_ms": 10.0,
    "probe_added_ms": 60.0,  # with the algorithm
}


def run(server: Server, *arguments: str) -> Running:
    """Start one and wait until sound flows."""
    running = Running(server, arguments)
    running.wait_for_event("ready")
    return running


def start_and_stop(pulse: Server) -> dict[str, float]:
    """The second start, as the first compiles."""
    run(pulse, *THROUGH).stop(ANY_S)
    running = run(pulse, *THROUGH)
    ready, began = time.monotonic() - running.asked, time.monotonic()
    running.stop(ANY_S)
    return {"ready_s": ready, "stopped_s": time.monotonic() - began}


def come_back(folder: Path) -> dict[str, float]:
    """A server that was killed, a device that was removed, a default that was moved."""
    server, took = Server("pulse", folder), {}
    server.start()
    running = run(server, *THROUGH)
    server.stop(signal.SIGKILL)
    time.sleep(1.5)
    server.start()
    took["server_back_s"] = wait_for_reconnect(running)
    running.stop(ANY_S)
    make = ("module-null-sink", "sink_name=C", "norewinds=1", "rate=48000", "channels=1")
    number = server.load(*make)
    running = run(server, "--input", "A.monitor", "--output", "C")
    server.pactl("unload-module", number)
    time.sleep(1.5)
    server.load(*make)
    took["device_back_s"] = wait_for_reconnect(running)
    running.stop(ANY_S)
    running = run(server, "--input", "A.monitor")
    server.pactl("set-default-sink", "C")
    took["new_default_s"] = wait_for_reconnect(running)
    running.stop(ANY_S)
    server.stop()
    return took


def wait_for_reconnect(running: Running) -> float:
    """Return how long it took from now."""
    began = time.monotonic()
    running.wait_for_event("reconnect")
    return time.monotonic() - began


def added_ms(server: Server, source: str, *arguments: str) -> float:
    """Return what was added to the algorithm's latency, the median of three."""
    found = []
    for _ in range(TRIES):
        running = run(server, *arguments)
        time.sleep(SETTLED_S)
        _, _, delay_ms = through(server, "A", source, voice(3))
        found.append(delay_ms - running.stats()["latency_ms"]["algorithm"])
        print(f"{' '.join(arguments)}: {found[-1]:.1f} ms, {running.troubles()}", flush=True)
        running.stop(ANY_S)
    return median(found)


def probe_ms(server: Server, *arguments: str) -> float:
    """Return the median round trip that `rtsr latency --loop` prints."""
    printed = rtsr(server, "latency", "--loop", *arguments).stdout
    return float(re.search(r"median\D+([\d.]+) ms", printed)[1])


def probe(pulse: Server) -> dict[str, float]:
    """What a running rtsr adds to a round trip, the algorithm included."""
    alone = probe_ms(pulse, "--output", "A", "--input", "A.monitor")
    running = run(pulse, *THROUGH)
    time.sleep(SETTLED_S)
    with_rtsr = probe_ms(pulse, "--output", "A", "--input", "B.monitor", "--socket", str(running.socket))
    running.stop(ANY_S)
    return {"probe_added_ms": with_rtsr - alone}


def main(save: Annotated[bool, typer.Option(help="Append the row to bench/results/live.jsonl.")] = True) -> None:
    """Measure, print each figure beside its bar, and store the row."""
    servers: list[Server] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for kind in ("pulse", "pipewire"):
                (Path(folder) / kind).mkdir()
                servers.append(Server(kind, Path(folder) / kind))
                servers[-1].start()
            (Path(folder) / "dying").mkdir()
            pulse, pipewire = servers
            row = start_and_stop(pulse) | come_back(Path(folder) / "dying") | probe(pulse)
            row["sounddevice_added_ms"] = added_ms(pulse, "B.monitor", *THROUGH)
            row["pyaudio_added_ms"] = added_ms(pulse, "B.monitor", *THROUGH, "--host", "pyaudio")
            row["jack_added_ms"] = added_ms(pipewire, "B.monitor", *THROUGH_JACK)
            to_microphone = ("--virtual-mic", "rtsr microphone")
            row["pulse_microphone_added_ms"] = added_ms(pulse, "rtsr_microphone", *to_microphone, *THROUGH[:2])
            jack = (*to_microphone, *THROUGH_JACK[:2], "--host", "jack")
            row["jack_microphone_added_ms"] = added_ms(pipewire, "rtsr_microphone", *jack)
        finally:
            for server in servers:
                server.stop()
    for name, bar in BARS.items():
        remark = "" if row[name] <= bar else "   OVER THE BAR"
        print(f"{name:28} {row[name]:7.2f}   bar {bar:5.1f}{remark}")
    if save:
        print(f"row in {store(RESULTS, 'live', [row])}")


if __name__ == "__main__":
    typer.run(main)
