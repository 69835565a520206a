"""A live path as its parent sees it: a child process that answers commands and sends events."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict
from typing import Any

from ..errors import ControlFailed, DeviceFailed
from ..io import virtual
from .config import Launch, LiveSettings, OnEvent

ANSWER_S = 10.0
STOP_S = 0.5  # of the second in which `rtsr live` is to end
READY_S = 60.0  # the very first start compiles
LOOK_S = 1.0  # for an answer to `look`
SILENT_S = 5.0  # of unanswered looks: it hangs
REMOVED_S = 0.2  # for a server to remove what a process has left there
REMEMBERED = ("bypass", "mute", "gain", "model")  # commands that the next process gets first


class NoAnswer(ControlFailed):
    """A path that did not answer in time."""


class PathProcess:
    """One live path in a process of its own. `ask` is any thread's; events go to `on_event(kind, line)`."""

    def __init__(self, settings: LiveSettings, on_event: OnEvent) -> None:
        self.settings, self.on_event = settings, on_event
        self.process: subprocess.Popen[str] | None = None
        self.answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self.asked = 0
        self.asking = threading.Lock()
        self.remembered: dict[str, Any] = {}
        self.mark = virtual.new_mark()  # of its virtual device, whichever process has made it
        self.answering, self.ready, self.given_up = threading.Event(), threading.Event(), threading.Event()
        self.began_s = self.silent_s = 0.0
        self.failure: str | None = None
        self.printed: deque[str] = deque(maxlen=20)  # what native libraries print

    def start(self, again: bool = False) -> None:
        """Start the process; `wait_until_ready` waits for its devices.

        `again`: in the place of one that ran before; it gets the same commands, and waits for absent devices.
        """
        wrapped = ["pw-jack"] if self.settings.host == "jack" and shutil.which("pw-jack") else []
        latency = f"{self.settings.block}/{self.settings.rate}"
        env = {**os.environ, "PIPEWIRE_LATENCY": latency}  # heard by PipeWire's JACK alone
        launch = Launch(self.mark, again, self.remembered)
        arguments = [json.dumps(asdict(about)) for about in (self.settings, launch)]
        command, pipe = [*wrapped, sys.executable, "-m", "rtsr.daemon.child", *arguments], subprocess.PIPE
        self.answering.clear()
        self.ready.clear()
        if self.given_up.is_set():  # before it was cleared: nobody would end the wait
            self.ready.set()
        self.began_s, self.silent_s, self.failure = time.monotonic(), 0.0, None
        text: dict[str, Any] = {"text": True, "bufsize": 1, "errors": "replace"}  # libraries print in any encoding
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True, **text
        )
        for job in (self._read, self._read_printed):
            threading.Thread(target=job, args=(self.process,), daemon=True).start()

    def wait_until_ready(self) -> None:
        """Wait until audio flows; raises `DeviceFailed` with the reason of the process where it does not."""
        self.ready.wait(READY_S)
        if self.failure is not None:
            raise DeviceFailed(self.failure)
        if not self.ready.is_set():
            self.stop()
            raise DeviceFailed(f"no audio within {READY_S:.0f} s; {' | '.join(self.printed) or 'no reason was given'}")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def hangs(self) -> bool:
        """Whether the process runs and has answered no `look` for 5 s, or takes too long to begin."""
        begins = not self.answering.is_set() and time.monotonic() - self.began_s > READY_S
        return self.alive and (self.silent_s >= SILENT_S or begins)

    def look(self) -> dict[str, Any] | None:
        """Return the stats, or None where no answer came within a second; called by one thread."""
        if not self.alive or not self.answering.is_set():
            return None
        try:
            stats: dict[str, Any] = self.ask("stats", within_s=LOOK_S)
        except NoAnswer:
            self.silent_s += LOOK_S  # counted in answers, not by the clock: this process may have stood still itself
            return None
        except ControlFailed:
            return None
        self.silent_s = 0.0
        return stats

    def ask(self, do: str, value: Any = None, within_s: float = ANSWER_S) -> Any:
        """Send one command and return the answer's value; raises `NoAnswer`, or `ControlFailed` with its words."""
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self.asking:
            self.asked += 1
            number = self.asked
            self.answers[number] = answer
            self._send({"id": number, "do": do, "value": value})
        try:
            got = answer.get(timeout=within_s)
        except queue.Empty:
            raise NoAnswer(f"{do}: no answer within {within_s:.0f} s") from None
        finally:
            self.answers.pop(number, None)
        if not got["ok"]:
            raise ControlFailed(got["error"])
        if do in REMEMBERED:  # of a model, the name that it was asked for by: a path, it may be
            self.remembered[do] = value if do == "model" else got["value"]
        return got["value"]

    def give_up(self) -> None:
        """End all waits for readiness or for an answer, those to come too; any thread."""
        self.given_up.set()
        for waiting in list(self.answers.values()):
            waiting.put({"ok": False, "error": "rtsr live is ending"})
        self.ready.set()

    def _send(self, message: dict[str, Any]) -> None:
        if self.process is None or self.process.stdin is None:
            raise ControlFailed("not started")
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
        except (OSError, ValueError):  # ValueError: closed by `stop`
            raise ControlFailed("the path is being restarted: try again in a second") from None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        failure = None
        with process.stdout as lines:
            for line in lines:
                message = json.loads(line)
                if message.get("event") == "failed":
                    failure = message["line"]
                else:
                    self._take(message)
        if process.wait() and failure is None:
            last = " | ".join(list(self.printed)[-3:])
            failure = f"the process ended with code {process.returncode}" + (f": {last}" if last else "")
        if process is self.process:  # it may have been replaced meanwhile
            self.failure = failure
            self.ready.set()

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            waiting = self.answers.get(message["id"])
            if waiting is not None:
                waiting.put(message)
        elif "answering" in message:
            self.answering.set()
        else:
            self.on_event(message["event"], message["line"])
            if message["event"] == "ready":
                self.ready.set()

    def _read_printed(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            self.printed.extend(line.strip() for line in lines)

    def stop(self) -> None:
        """End the process and remove its virtual device: asked first, killed after half a second.

        One may hang, or be in the midst of its start; then what it has made is removed from here.
        """
        if self.process is None:
            return
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except OSError:
                self.on_event("stop", "the process had ended already")
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        if self.process.returncode and (self.settings.virtual_mic or self.settings.virtual_speaker):
            self._remove_virtual()

    def kill(self) -> None:
        """End the process at once; its virtual device stays for the next one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _remove_virtual(self) -> None:
        def remove() -> None:
            with contextlib.suppress(DeviceFailed):  # the server is gone, and the device with it
                virtual.remove(self.mark)

        removing = threading.Thread(target=remove, daemon=True)
        removing.start()
        removing.join(REMOVED_S)
        if removing.is_alive():
            self.on_event("stop", "the sound server does not answer: the next start removes the virtual device")
