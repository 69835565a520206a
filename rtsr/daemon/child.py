"""The process in which sound flows: an engine, steered by lines of JSON on stdin, telling by lines on stdout.

It is a process of its own because the worker is Python: whatever else a program does with its interpreter, this one
has nothing to do but this.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

from ..errors import RtsrError
from .config import Settings
from .engine import WATCH_S, Engine
from .priority import be_less_nice

SWITCH_S = 0.0002  # the worker never waits longer than this for a command's Python


class Child:
    """Reads requests, runs the engine, and ends when stdin does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.writing = threading.Lock()
        self.ending = threading.Event()
        self.engine: Engine | None = None

    def say(self, message: dict[str, Any]) -> None:
        """Write one line; any thread."""
        with self.writing:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def tell(self, kind: str, line: str) -> None:
        """Pass an event on."""
        self.say({"event": kind, "line": line})

    def run(self) -> int:
        """Start, answer and watch until stdin ends; returns the exit code."""
        try:
            self.engine = Engine(self.settings, self.tell)
            threading.Thread(target=self._answer_all, args=(self.engine,), daemon=True).start()
            self.engine.start()
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

    def _answer_all(self, engine: Engine) -> None:
        for line in sys.stdin:
            self.say(self._answer(engine, json.loads(line)))
        self.ending.set()
        engine.request_stop()

    def _answer(self, engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"id": request["id"], "ok": True, "value": engine.command(request["do"], request.get("value"))}
        except RtsrError as error:
            return {"id": request["id"], "ok": False, "error": str(error)}
        except Exception as error:  # a fault of ours must not leave the engine deaf: it is answered, and told
            self.tell("fault", " | ".join(traceback.format_exc().splitlines()))
            return {"id": request["id"], "ok": False, "error": f"a fault in rtsr itself: {error!r}"}


def main() -> None:
    """Run one path; its settings are the first argument, as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which closes our stdin
    be_less_nice()
    sys.setswitchinterval(SWITCH_S)
    code = Child(Settings(**json.loads(sys.argv[1]))).run()
    sys.stdout.flush()
    os._exit(code)  # everything is closed; native libraries take their time to say goodbye


if __name__ == "__main__":
    main()
