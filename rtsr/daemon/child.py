"""The process in which sound flows: an engine, steered by lines of JSON on stdin, telling by lines on stdout.

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
from .config import Launch, Settings
from .engine import WATCH_S, Engine
from .priority import be_less_nice

SWITCH_S = 0.0002  # the worker never waits longer than this for a command's Python


class Child:
    """Reads requests, runs the engine, and ends when stdin does; says what there is to say to `out`."""

    def __init__(self, settings: Settings, launch: Launch, out: TextIO) -> None:
        self.settings, self.launch, self.out = settings, launch, out
        self.writing = threading.Lock()
        self.ending = threading.Event()
        self.engine: Engine | None = None

    def say(self, message: dict[str, Any]) -> None:
        """Write one line; any thread. Where nobody reads any more, this process ends."""
        try:
            with self.writing:
                self.out.write(json.dumps(message) + "\n")
                self.out.flush()
        except OSError:
            self.ending.set()

    def tell(self, kind: str, line: str) -> None:
        """Pass an event on."""
        self.say({"event": kind, "line": line})

    def run(self) -> int:
        """Start, answer and watch until stdin ends; returns the exit code."""
        try:
            self.engine = Engine(self.settings, self.tell, self.launch.mark)
            for do, value in self.launch.commands.items():
                self.engine.command(do, value)
            threading.Thread(target=self._read_all, args=(self.engine,), daemon=True).start()
            self.say({"answering": True})
            self.engine.start(patient=self.launch.again)
            plan = self.engine.plan
            self.tell("ready", f"{plan.source.name} -> {plan.sink.name}" if plan else "")
            while not self.ending.wait(WATCH_S):
                self.engine.watch()
            return 0
        except RtsrError as error:
            self.tell("failed", str(error))
            return 1
        except Exception:
            self.tell("failed", "a fault in rtsr itself: " + " | ".join(traceback.format_exc().splitlines()))
            return 70
        finally:
            if self.engine is not None:
                self.engine.stop()

    def _read_all(self, engine: Engine) -> None:
        """Answer what stats are asked for at once, and have the rest done in turn: a model may take long to load."""
        commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._do_all, args=(engine, commands), daemon=True).start()
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "stats":
                self.say(self._answer(engine, request))
            else:
                commands.put(request)
        self.ending.set()
        engine.request_stop()

    def _do_all(self, engine: Engine, commands: queue.SimpleQueue[dict[str, Any]]) -> None:
        while True:
            self.say(self._answer(engine, commands.get()))

    def _answer(self, engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"id": request["id"], "ok": True, "value": engine.command(request["do"], request.get("value"))}
        except RtsrError as error:
            return {"id": request["id"], "ok": False, "error": str(error)}
        except Exception as error:  # a fault of ours must not leave the engine deaf: it is answered, and told
            self.tell("fault", " | ".join(traceback.format_exc().splitlines()))
            return {"id": request["id"], "ok": False, "error": f"a fault in rtsr itself: {error!r}"}


def main() -> None:
    """Run one path; its `Settings` are the first argument, its `Launch` the second, as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which closes our stdin
    be_less_nice()
    sys.setswitchinterval(SWITCH_S)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # native libraries print to stdout too
    settings, launch = (json.loads(argument) for argument in sys.argv[1:3])
    code = Child(Settings(**settings), Launch(**launch), out).run()
    os._exit(code)  # everything is closed; native libraries take their time to say goodbye


if __name__ == "__main__":
    main()
