"""A Ray cluster of several nodes on one machine with a fleet on it, in a process of its own.

`python -m tests.live.fleet.cluster SETTINGS` prints a line of JSON with the URL; each line of JSON on stdin is a
question or an order, and is answered with one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
START_S = 90.0
LOG = "RTSR_FLEET_LOG" in os.environ  # whether the logs of all parts are shown


class Gateway:
    """A gateway that runs."""

    url: str

    def status(self) -> dict[str, Any]:
        """Return what it says of the fleet."""
        with urllib.request.urlopen(self.url + "/fleet", timeout=5) as reply:
            return json.load(reply)

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return what it says of each worker, by name."""
        return {one["name"]: one for one in self.status()["workers"]}

    def wait_for_workers(self, count: int, limit_s: float = START_S) -> None:
        """Wait until so many workers take calls."""
        ends_s = time.monotonic() + limit_s
        while sum(one["url"] is not None and one["limit"] > 0 for one in self.workers().values()) < count:
            assert time.monotonic() < ends_s, self.status()
            time.sleep(0.1)


class Cluster(Gateway):
    """The cluster as a test sees it."""

    def __init__(self, nodes: int = 3, voices: int = 16, **bridge: Any) -> None:
        settings = json.dumps({"nodes": nodes, "voices": voices, "bridge": {"calls": voices, **bridge}})
        env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.live.fleet.cluster", settings],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if LOG else subprocess.DEVNULL,
            start_new_session=True,
        )
        self.url = self._read()["url"]
        self.wait_for_workers(nodes)

    def _read(self) -> Any:
        assert self.process.stdout
        while line := self.process.stdout.readline():
            if line.startswith(b'{"'):
                return json.loads(line)
        raise AssertionError(f"the cluster ended with {self.process.wait()}")

    def ask(self, do: str, value: Any = None) -> Any:
        """Give an order, and return its answer."""
        assert self.process.stdin
        self.process.stdin.write((json.dumps([do, value]) + "\n").encode())
        self.process.stdin.flush()
        return self._read()["answer"]

    def close(self) -> None:
        """End it and all its processes at once: an orderly end takes Ray five seconds."""
        assert self.process.stdin
        assert self.process.stdout
        for pid in descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def descendants(pid: int) -> list[int]:
    """Return the processes that descend from one, itself first."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it ended
            continue
        parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(text.split()[0]))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def serve(asked: dict[str, Any]) -> None:
    """Run the cluster and answer until stdin ends."""
    import ray
    from ray.cluster_utils import Cluster as RayCluster

    from rtsr.bridge.config import BridgeSettings
    from rtsr.fleet.config import FleetSettings
    from rtsr.fleet.gateway import deploy
    from rtsr.fleet.nodes import NAMESPACE, VOICES
    from rtsr.fleet.service import SYSTEM

    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 2, "_system_config": SYSTEM})
    voices = {"num_cpus": 1, "resources": {VOICES: asked["voices"]}}
    nodes = [cluster.add_node(wait=False, **voices) for _ in range(asked["nodes"])]
    ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=LOG)
    bridge = BridgeSettings(listen=f"127.0.0.1:{free_port()}", **asked["bridge"])
    print(json.dumps({"url": deploy(FleetSettings(drain_s=0.0), bridge)}), flush=True)
    by_id = {one.node_id[:8]: one for one in nodes}
    for line in sys.stdin:
        do, value = json.loads(line)
        answer: Any = None
        if do == "processes":  # of the bridges, by the names of their workers
            actors = {name: ray.get_actor(f"worker-{name}", NAMESPACE) for name in value}
            answer = {name: ray.get(actor.where.remote())["pid"] for name, actor in actors.items()}
        elif do == "remove":
            cluster.remove_node(by_id[value], allow_graceful=False)
        print(json.dumps({"answer": answer}), flush=True)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
