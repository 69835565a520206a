"""The process of one live path: commands come as lines of JSON on stdin, answers and events go out on stdout.

It is a process of its own because the worker is Python: whatever else a program does with its interpreter, this one
has nothing to do but this.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from typing import Any, TextIO

from ..errors import RtsrError
from .config import Launch, LiveSettings
from .live_path import WATCH_S, LivePath
from .priority import be_less_nice

SWITCH_S = 0.0002  # the worker never waits longer than this for a command's Python


class Child:
    """Reads requests, runs the path, and ends when stdin does; writes answers and events to `out`."""

    def __init__(self, settings: LiveSettings, launch: Launch, out: TextIO) -> None:
        self.settings, self.launch, self.out = settings, launch, out
        self.writing = threading.Lock()
        self.ending = threading.Event()
        self.path: LivePath | None = None

    def send(self, message: dict[str, Any]) -> None:
        """Write one line; any thread. Where nobody reads any more, this process ends."""
        try:
            with self.writing:
                self.out.write(json.dumps(message) + "\n")
                self.out.flush()
        except OSError:
            self.ending.set()

    def on_event(self, kind: str, line: str) -> None:
        """Send an event; any thread."""
        self.send({"event": kind, "line": line})

    def run(self) -> int:
        """Start, answer and watch until stdin ends; returns the exit code."""
        try:
            self.path = LivePath(self.settings, self.on_event, self.launch.mark)
            for do, value in self.launch.commands.items():
                self.path.command(do, value)
            threading.Thread(target=self._read_all, args=(self.path,), daemon=True).start()
            self.send({"answering": True})
            self.path.start(patient=self.launch.again)
            plan = self.path.plan
            self.on_event("ready", f"{plan.source.name} -> {plan.sink.name}" if plan else "")
            while not self.ending.wait(WATCH_S):
                self.path.watch()
            return 0
        except RtsrError as error:
            self.on_event("failed", str(error))
            return 1
        except Exception:
            self.on_event("failed", "a fault in rtsr itself: " + " | ".join(traceback.format_exc().splitlines()))
            return 70
        finally:
            if self.path is not None:
                self.path.stop()

    def _read_all(self, path: LivePath) -> None:
        """Answer what stats are asked for at once, and have the rest done in turn: a model may take long to load."""
        commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._do_all, args=(path, commands), daemon=True).start()
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "stats":
                self.send(self._answer(path, request))
            else:
                commands.put(request)
        self.ending.set()
        path.request_stop()

    def _do_all(self, path: LivePath, commands: queue.SimpleQueue[dict[str, Any]]) -> None:
        while True:
            self.send(self._answer(path, commands.get()))

    def _answer(self, path: LivePath, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"id": request["id"], "ok": True, "value": path.command(request["do"], request.get("value"))}
        except RtsrError as error:
            return {"id": request["id"], "ok": False, "error": str(error)}
        except Exception as error:  # a fault of ours must not end this thread: it is answered and logged
            self.on_event("fault", " | ".join(traceback.format_exc().splitlines()))
            return {"id": request["id"], "ok": False, "error": f"a fault in rtsr itself: {error!r}"}


def main() -> None:
    """Run one path; its `LiveSettings` are the first argument, its `Launch` the second, as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which closes our stdin
    be_less_nice()
    sys.setswitchinterval(SWITCH_S)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # native libraries print to stdout too
    settings, launch = (json.loads(argument) for argument in sys.argv[1:3])
    code = Child(LiveSettings(**settings), Launch(**launch), out).run()
    os._exit(code)  # everything is closed; destructors of native libraries may take seconds


if __name__ == "__main__":
    main()
