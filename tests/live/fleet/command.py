"""`rtsr fleet` as a person runs it on one machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.live.bridge.server import ROOT, Process
from tests.live.fleet.cluster import START_S, Gateway, descendants, free_port

STOP_S = 20.0
VOICES = 4  # of each worker: the other one has room for those of one that is gone
SECRET = "correct-horse"


class Fleet(Process, Gateway):
    """A running `rtsr fleet run` of two bridges."""

    open_port = encrypted_port = 0  # of its lines

    def __init__(self, folder: Path, voices: int, lines: str = "", **bridge: Any) -> None:
        """`lines` is TOML: tables [[bridge.sip]]."""
        settings = "".join(f"{name} = {json.dumps(value)}\n" for name, value in bridge.items())
        self.config = folder / "fleet.toml"
        self.config.write_text(
            f"[fleet]\nworkers = 2\nvoices = {2 * voices}\ndrain_s = 0.0\n"
            f'[bridge]\nlisten = "127.0.0.1:{free_port()}"\n{settings}{lines}'
        )
        super().__init__("fleet", "run", "--config", str(self.config), start_s=START_S)
        try:
            self.wait_for_workers(2)
        except BaseException:
            self.close()
            raise

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another of its commands."""
        command = ["-m", "rtsr", "fleet", *arguments, "--config", str(self.config)]
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )

    def processes(self) -> list[int]:
        """Return all its processes."""
        return descendants(self.process.pid)

    def close(self) -> None:
        """Leave nothing of it."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        super().close()

    def bridge(self, worker: str) -> int:
        """Return the process of a worker's bridge: the one that listens at its URL."""
        port = self.workers()[worker]["url"].rpartition(":")[2]
        command = ["ss", "-H", "-l", "-t", "-n", "-p", f"sport = :{port}"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return int(re.search(r"pid=(\d+)", listed)[1])
