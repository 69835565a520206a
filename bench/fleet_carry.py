"""How many calls one bridge carries on this machine, and two at once: media threads that tick in real time.

`python -m bench.fleet_carry MODEL BACKEND` is one of them: it reads a number of calls from stdin, prints the 99th
percentile of a tick's time in hops, and so on.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rtsr.backend import load
from rtsr.backend.base import Backend
from rtsr.bridge.capacity import SHARE
from rtsr.bridge.codec import OPUS
from rtsr.bridge.media import MediaThread
from rtsr.bridge.simulated import PACKET_MS, SimulatedLeg, noise
from rtsr.daemon.priority import ask_for_real_time, be_less_nice

MOST = 128
TRIES = 3
WARM_UP_S, MEASURED_S = 0.5, 2.0


class Bridges:
    """So many processes that measure at the same time."""

    def __init__(self, count: int, model: str, backend: str) -> None:
        command = [sys.executable, "-m", "bench.fleet_carry", model, backend]
        pipe = subprocess.PIPE
        root = Path(__file__).parents[1]
        start = partial(subprocess.Popen, command, cwd=root, stdin=pipe, stdout=pipe, text=True)
        self._processes = [start(start_new_session=True) for _ in range(count)]
        self.fit(1)  # each is ready, and has compiled what it runs

    def fit(self, calls: int) -> bool:
        """Whether each carries so many calls while the others do."""
        for _ in range(TRIES):  # a passing disturbance is not the limit
            for one in self._processes:
                assert one.stdin
                one.stdin.write(f"{calls}\n")
                one.stdin.flush()
            if max(float(one.stdout.readline()) for one in self._processes if one.stdout) <= SHARE:
                return True
        return False

    def most(self) -> int:
        """Return the most calls that each carries, by bisection; at least one."""
        low, high = 1, MOST
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.fit(middle) else (low, middle)
        return low

    def close(self) -> None:
        """End them."""
        for one in self._processes:
            one.kill()
            one.wait()
            for pipe in (one.stdin, one.stdout):
                if pipe:
                    pipe.close()


def carry(model: str, backend: str) -> dict[str, Any]:
    """Return what one bridge carries, and what two do."""
    found = {}
    for count in (1, 2):
        bridges = Bridges(count, model, backend)
        try:
            found[count] = count * bridges.most()
        finally:
            bridges.close()
    one, two = found[1], found[2]
    return {"key": "carry", "one": one, "two": two, "ratio": round(two / one, 2), "one_by_two": round(one / two, 3)}


def p99_of(model: Backend, calls: int) -> float:
    """Tick a media thread with so many Opus legs every hop; returns the 99th percentile of a tick's time, in hops."""
    media = MediaThread(model, calls, lambda packets: None, PACKET_MS)
    payloads = noise(OPUS, 1000 // PACKET_MS)
    took: list[float] = []
    try:
        legs = [SimulatedLeg(media, str(number), str(number // 2), OPUS, payloads) for number in range(calls)]
        began = time.perf_counter()
        for tick in range(round((WARM_UP_S + MEASURED_S) / media.hop_s)):
            time.sleep(max(0.0, began + tick * media.hop_s - time.perf_counter()))
            for number, leg in enumerate(legs):
                leg.speak(tick + number, tick * media.hop_s)
            since = time.perf_counter()
            media.tick(tick * media.hop_s)
            took.append(time.perf_counter() - since)
    finally:
        media.stop()
    return float(np.percentile(took[round(WARM_UP_S / media.hop_s) :], 99)) / media.hop_s


def main() -> None:
    """Measure whatever is asked for, with the priorities of a bridge that carries calls."""
    be_less_nice()
    ask_for_real_time()
    model = load(sys.argv[1], sys.argv[2], rows=MOST)
    for line in sys.stdin:
        print(p99_of(model, int(line)), flush=True)


if __name__ == "__main__":
    main()
