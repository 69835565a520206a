"""A running path as its parent sees it: a child process that is asked and that tells."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections import deque
from typing import Any

from ..errors import ControlFailed, DeviceFailed
from .config import Settings, Tell

ANSWER_S = 10.0
STOP_S = 0.5  # of the second in which `rtsr live` is to end
READY_S = 60.0  # the very first start compiles


class EngineProcess:
    """One engine in a process of its own. `ask` may be called by any thread; events go to `tell(kind, line)`."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        self.settings, self.tell = settings, tell
        self.process: subprocess.Popen[str] | None = None
        self.answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self.asked = 0
        self.asking = threading.Lock()
        self.ready = threading.Event()
        self.failure: str | None = None
        self.noise: deque[str] = deque(maxlen=20)  # what native libraries print

    def start(self) -> None:
        """Start the process; `wait_until_ready` tells whether it got anywhere."""
        wrapped = ["pw-jack"] if self.settings.host == "jack" and shutil.which("pw-jack") else []
        latency = f"{self.settings.block}/{self.settings.rate}"
        env = {**os.environ, "PIPEWIRE_LATENCY": latency}  # heard by PipeWire's JACK alone
        command = [*wrapped, sys.executable, "-m", "rtsr.daemon.child", json.dumps(self.settings.as_dict())]
        pipe = subprocess.PIPE
        self.ready.clear()
        self.failure = None
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1, env=env, start_new_session=True
        )
        for job in (self._read, self._read_noise):
            threading.Thread(target=job, args=(self.process,), daemon=True).start()

    def wait_until_ready(self) -> None:
        """Wait until audio flows; raises `DeviceFailed` with the engine's own words where it does not."""
        self.ready.wait(READY_S)
        if self.failure is not None:
            raise DeviceFailed(self.failure)
        if not self.ready.is_set():
            self.stop()
            raise DeviceFailed(f"no audio within {READY_S:.0f} s; {' | '.join(self.noise) or 'no reason was given'}")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def ask(self, do: str, value: Any = None) -> Any:
        """Send one command and return the answer's value; raises `ControlFailed` with the engine's words."""
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self.asking:
            self.asked += 1
            number = self.asked
            self.answers[number] = answer
            self._send({"id": number, "do": do, "value": value})
        try:
            got = answer.get(timeout=ANSWER_S)
        except queue.Empty:
            raise ControlFailed(f"{do}: no answer within {ANSWER_S:.0f} s") from None
        finally:
            self.answers.pop(number, None)
        if not got["ok"]:
            raise ControlFailed(got["error"])
        return got["value"]

    def give_up(self) -> None:
        """Let whoever waits for readiness or for an answer go on without; any thread."""
        for waiting in list(self.answers.values()):
            waiting.put({"ok": False, "error": "rtsr live is ending"})
        self.ready.set()

    def _send(self, message: dict[str, Any]) -> None:
        if self.process is None or self.process.stdin is None:
            raise ControlFailed("not started")
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
        except (OSError, ValueError):  # ValueError: closed by `stop`
            raise ControlFailed("the engine is being started anew: try again in a second") from None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._take(json.loads(line))
        if process.wait() and self.failure is None:
            last = " | ".join(list(self.noise)[-3:])
            self.failure = f"the engine ended with code {process.returncode}" + (f": {last}" if last else "")
        self.ready.set()

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            waiting = self.answers.get(message["id"])
            if waiting is not None:
                waiting.put(message)
        elif message["event"] == "failed":
            self.failure = message["line"]
        else:
            self.tell(message["event"], message["line"])
            if message["event"] == "ready":
                self.ready.set()

    def _read_noise(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            self.noise.extend(line.strip() for line in lines)

    def stop(self) -> None:
        """End the process: asked first, killed after half a second, as one may be that is still starting."""
        if self.process is None:
            return
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except OSError:
                self.tell("stop", "the engine was gone already")
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
