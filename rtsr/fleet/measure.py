"""How many calls a machine carries with several bridges at once: each measures itself while the others do."""

from __future__ import annotations

import json
import subprocess
import sys

from ..backend import load
from ..bridge.capacity import CALL_COUNTS, measure
from ..bridge.config import BridgeSettings
from ..bridge.rehearsal import rehearse
from ..daemon.priority import ask_for_real_time, be_less_nice
from ..errors import RtsrError

LIMIT_S = 300.0


def measure_together(bridge: BridgeSettings, workers: int) -> list[int]:
    """Return what each of so many processes measures; raises `RtsrError` where one fails."""
    asked = json.dumps([bridge.model, bridge.backend, bridge.packet_ms])
    command = [sys.executable, "-m", "rtsr.fleet.measure", asked]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(workers)]
    try:
        for one in processes:
            assert one.stdout
            one.stdout.readline()  # it is ready
        for one in processes:
            assert one.stdin
            one.stdin.write(b"\n")
            one.stdin.flush()
        texts = [one.communicate(timeout=LIMIT_S)[0] for one in processes]
    finally:
        for one in processes:
            one.kill()
            one.wait()
    if any(one.returncode for one in processes):
        raise RtsrError("the capacity of this machine could not be measured; the lines before say why")
    return [int(text) for text in texts]


def main() -> None:
    """Measure one bridge, with its priorities, once the parent says that all are ready."""
    be_less_nice()
    ask_for_real_time()
    model_name, backend, packet_ms = json.loads(sys.argv[1])
    model = load(model_name, backend, rows=max(CALL_COUNTS))
    rehearse(model.spec, packet_ms)
    print("ready", flush=True)
    sys.stdin.readline()
    print(measure(model, packet_ms, paced=True), flush=True)


if __name__ == "__main__":
    main()
