"""How many calls one bridge carries on this machine, and two at once: media threads that tick in real time.

`python -m bench.fleet_carry MODEL BACKEND` is one of them: it reads a number of calls from stdin, prints the 99th
percentile of a tick's time in hops, and so on.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rtsr.backend import load
from rtsr.bridge.capacity import SHARE, p99_of
from rtsr.daemon.priority import ask_for_real_time, be_less_nice

MOST = 128
TRIES = 3
MEASURED_S = 2.0


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


def main() -> None:
    """Measure whatever is asked for, with the priorities of a bridge that carries calls."""
    be_less_nice()
    ask_for_real_time()
    model = load(sys.argv[1], sys.argv[2], rows=MOST)
    for line in sys.stdin:
        print(p99_of(model, int(line), seconds=MEASURED_S, paced=True), flush=True)


if __name__ == "__main__":
    main()
