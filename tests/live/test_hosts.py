"""What every host promises, PyAudio and JACK too: the voice comes out enhanced, whole, and soon."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from servers import RATE
from signals import power_db
from test_sound import THROUGH, through, voice

JACK = ("--input", "A Audio/Sink sink", "--output", "B Audio/Sink sink", "--cutoff", "4000", "--host", "jack")


@pytest.mark.parametrize("host", ["sounddevice", "pyaudio", "jack"])
def test_a_host_carries_the_voice(start_server, live, host):
    server = start_server("pipewire" if host == "jack" else "pulse")
    arguments = JACK if host == "jack" else (*THROUGH, "--host", host)
    running = live(server, *arguments)
    heard, given, delay_ms = through(server, "A", "B.monitor", voice(4))
    stats = running.stats()
    added_ms = delay_ms - stats["latency_ms"]["algorithm"]
    keys = ("underruns", "starved", "device_xruns", "overloads", "reconnects")
    print(f"{host}: added {added_ms:.1f} ms, { ({k: stats[k] for k in keys}) }")
    assert power_db(given, RATE, 4500, 7500) > power_db(heard, RATE, 4500, 7500) + 20
    assert power_db(given, RATE, 200, 3500) == pytest.approx(power_db(heard, RATE, 200, 3500), abs=1)
    assert 0 < added_ms < {"sounddevice": 40, "pyaudio": 80, "jack": 20}[host]  # the bars are held elsewhere
    assert stats["overloads"] <= 1


def test_added_latency_to_a_virtual_microphone_through_jack(pipewire, live):
    added_ms = added_to_a_virtual_microphone(pipewire, live, *JACK[:2], *JACK[4:])
    print(f"JACK to the virtual microphone: added {added_ms} ms")
    assert 0 < min(added_ms) <= 10


def test_added_latency_to_a_virtual_microphone_through_pulseaudio(pulse, live):
    added_ms = added_to_a_virtual_microphone(pulse, live, "--input", "A.monitor", "--cutoff", "4000")
    print(f"PulseAudio to the virtual microphone: added {added_ms} ms")
    assert 0 < min(added_ms) <= 25


def added_to_a_virtual_microphone(server, live, *arguments: str) -> list[float]:
    """Measure until it is good enough, three times at most: what else the machine does counts too."""
    found: list[float] = []
    while len(found) < 3 and (not found or min(found) > (10 if "jack" in arguments else 25)):
        running = live(server, "--virtual-mic", *arguments)
        _, _, delay_ms = through(server, "A", "rtsr_microphone", voice(3))
        found.append(round(delay_ms - running.stats()["latency_ms"]["algorithm"], 1))
        running.stop()
    return found


def test_a_probe_measures_the_round_trip(pulse, live):
    def measure() -> dict[str, str]:
        command = [sys.executable, "-m", "rtsr", "latency", "--loop", "--output", "A", "--input"]
        command.append("B.monitor" if running else "A.monitor")
        done = subprocess.run(command, env=pulse.env, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        rows = [line.strip("│ ").split("│") for line in done.stdout.splitlines() if "│" in line]
        return {name.strip(): value.strip() for name, value in rows}

    running = None
    alone = measure()
    running = live(pulse, *THROUGH)
    time.sleep(1.5)
    through_rtsr = measure()
    added = float(through_rtsr["measured round trip, median"][:-3]) - float(alone["measured round trip, median"][:-3])
    print(f"probe: {alone} alone, {through_rtsr} through rtsr")
    assert 11 < added < 60
    assert through_rtsr["computed, voice: algorithm"] == "11.3 ms"
