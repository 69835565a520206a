"""A bridge in a process of its own, as its parent sees it: started again whenever it ends. Any thread's."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time

from ..bridge.config import BridgeSettings
from .config import as_json

AGAIN_S, LONGEST_S = 0.2, 10.0  # before it is started again, the longer the more often it ended at once
LASTED_S = 30.0  # and the next start is as the first
STOP_S = 5.0


class BridgeProcess:
    """Keeps one bridge running until `stop`."""

    def __init__(self, settings: BridgeSettings) -> None:
        self.starts = 0
        self.url = ""  # "" while it does not take calls
        self.sip: dict[str, int] = {}  # the port of each of its lines
        self._line = (json.dumps(as_json(settings)) + "\n").encode()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="bridge", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the process that runs."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def stop(self) -> None:
        """End it and every call on it."""
        self._ending.set()
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._thread.join(STOP_S)
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _keep(self) -> None:
        wait_s = AGAIN_S
        while not self._ending.is_set():
            began_s = time.monotonic()
            self._run()
            wait_s = AGAIN_S if time.monotonic() - began_s > LASTED_S else min(2 * wait_s, LONGEST_S)
            self._ending.wait(wait_s)

    def _run(self) -> None:
        """Start it, learn its URL and wait for its end."""
        self.starts += 1
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "rtsr.fleet.child"]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)
        self._process = process
        assert process.stdin
        assert process.stdout
        try:
            with contextlib.suppress(OSError):  # it ended before it read its settings
                process.stdin.write(self._line)
                process.stdin.flush()
            if self._ending.is_set():
                process.stdin.close()
            for line in process.stdout:
                said = json.loads(line)
                self.sip, self.url = said["sip"], said["url"]
        finally:
            self.url = ""
            process.wait()
            process.stdout.close()
            with contextlib.suppress(OSError):
                process.stdin.close()
