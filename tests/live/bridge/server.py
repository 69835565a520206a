"""`rtsr bridge`, and other commands that last, as a person starts them: a process, its log, its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
START_S = 60.0


class Process:
    """A command of rtsr that runs until it is stopped. `lines` is its log so far."""

    def __init__(self, *arguments: str, start_s: float = START_S) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rtsr", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # as a service manager does it: only so its niceness counts everywhere
        )
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        try:
            self.url = self.wait_for(r"^\S+ event=listening url=(\S+)", start_s)
        except AssertionError:
            self.close()
            raise

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    def wait_for(self, pattern: str, limit_s: float = 10.0) -> str:
        """Wait for a line of the log and return its first group, or itself."""
        ends = time.monotonic() + limit_s
        while time.monotonic() < ends:
            for line in list(self.lines):
                found = re.search(pattern, line)
                if found:
                    return found[1] if found.groups() else line
            if self.process.poll() is not None:
                self._reading.join(1)
                if not any(re.search(pattern, line) for line in self.lines):
                    raise AssertionError(f"it ended with {self.process.returncode}:\n" + "\n".join(self.lines))
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} within {limit_s} s in:\n" + "\n".join(self.lines))

    def stop(self, number: int = signal.SIGINT, limit_s: float = 10.0) -> int:
        """End it and return its exit code."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(number)
            return self.process.wait(limit_s)
        finally:
            self.close()

    def close(self) -> None:
        """Leave nothing of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reading.join(5)
        if self.process.stderr:
            self.process.stderr.close()

    def processes(self) -> list[int]:
        """Its processes."""
        return [self.process.pid]

    def descriptors(self) -> int:
        """How many files and sockets they hold."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.processes())

    def threads(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.processes())

    def resident_kb(self) -> int:
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.processes()]
        return sum(int(re.search(r"VmRSS:\s+(\d+)", text)[1]) for text in texts)


class Bridge(Process):
    """A running bridge on a free port."""

    def __init__(self, *arguments: str, model: str = "voice-16k", calls: int | None = 16) -> None:
        free = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
        limit = ["--calls", str(calls)] if calls else []
        super().__init__("bridge", *free, "--model", model, *limit, *arguments)
