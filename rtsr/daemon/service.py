"""`rtsr live` itself: starts the paths, keeps them running, answers on the socket, shows its state, ends on request."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import ControlFailed, DeviceFailed
from .background import Show, Stats
from .config import LiveSettings
from .control import SUPPORTED, Control, default_socket
from .metrics import MetricsServer
from .process import PathProcess

LOOK_S = 0.25
RESTART_S = 0.5
STEADY_S = 10.0  # a path that dies sooner after its start than this is given up after so many tries
TRIES = 5
FRESH_S = 2.0  # stats that are older say nothing of now


class LiveService:
    """One running `rtsr live`. `run` is the main thread's and ends within a second of `stop`."""

    def __init__(self, settings: LiveSettings, show: Show) -> None:
        self.settings, self.show = settings, show
        self.ending = threading.Event()
        self.processes = {
            name: PathProcess(path, lambda kind, line, name=name: show.event(name, kind, line))  # type: ignore[misc]
            for name, path in settings.paths().items()
        }
        self.started: dict[str, float] = {}
        self.tries = dict.fromkeys(self.processes, 0)
        self.latest: Stats = {}
        self.answered = dict.fromkeys(self.processes, -FRESH_S)  # when each path's latest stats came

    def run(self) -> None:
        """Run until `stop`; raises what starting raises, and `DeviceFailed` for a path that keeps dying."""
        control = self._open_control()
        metrics: MetricsServer | None = None
        try:
            if self.settings.metrics is not None:
                metrics = MetricsServer(self.settings.metrics, lambda: self.latest, self.failing)
                self.show.event("rtsr", "metrics", f"http://127.0.0.1:{metrics.port}/metrics and /healthz")
            for name in self.processes:
                self._start(name)
            for process in self.processes.values():
                process.wait_until_ready()
            while not self.ending.wait(LOOK_S):
                self._look_after()
                self._look()
                self.show.stats(self.latest)
        finally:
            self._end(control, metrics)

    def _open_control(self) -> Control | None:
        """Open the control socket, where this system has such sockets or one was asked for."""
        if self.settings.socket is None and not SUPPORTED:
            self.show.event("rtsr", "control", "no control socket: this system has no Unix sockets")
            return None
        return Control(Path(self.settings.socket) if self.settings.socket else default_socket(), self.command)

    def _end(self, control: Control | None, metrics: MetricsServer | None) -> None:
        stopping = [threading.Thread(target=e.stop) for e in self.processes.values()]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        if control is not None:
            control.close()
        if metrics is not None:
            metrics.close()
        self.show.event("rtsr", "stopped", "everything is closed")

    def stop(self) -> None:
        """Ask `run` to end; any thread, but no signal's handler: it takes locks."""
        self.ending.set()
        for process in self.processes.values():
            process.give_up()

    def _start(self, name: str, again: bool = False) -> None:
        self.processes[name].start(again)
        self.started[name] = time.monotonic()

    def _look_after(self) -> None:
        """Start a path again that died or hangs; raises `DeviceFailed` for one that keeps doing so."""
        for name, process in self.processes.items():
            if process.hangs:
                process.kill()
                reason = "the process did not answer"
            elif process.alive:
                continue
            else:
                reason = process.failure or "the process ended"
            self.tries[name] = 0 if time.monotonic() - self.started[name] > STEADY_S else self.tries[name] + 1
            if self.tries[name] >= TRIES:
                raise DeviceFailed(f"{name}: {reason}; given up after {TRIES} tries")
            self.show.event(name, "restart", reason)
            self.ending.wait(RESTART_S)
            if not self.ending.is_set():
                self._start(name, again=True)

    def _look(self) -> None:
        """Take the stats of every path that answers."""
        latest: Stats = {}
        for name, process in self.processes.items():
            stats = process.look()
            if stats is not None:
                latest[name], self.answered[name] = stats, time.monotonic()
        self.latest = latest

    def failing(self) -> dict[str, str]:
        """Return, for each path that delivers no enhanced voice now, why; any thread."""
        now, latest, found = time.monotonic(), self.latest, {}
        for name, process in self.processes.items():
            if not process.alive or not process.ready.is_set():
                found[name] = "not started, or waiting for its devices"
            elif name not in latest or now - self.answered[name] > FRESH_S:
                found[name] = "no answer"
            elif not latest[name]["delivers"]:
                found[name] = "no enhanced voice flows"
        return found

    def _ask_all(self, do: str, value: Any) -> Stats:
        """Ask every path that answers already and return their answers."""
        answers: Stats = {}
        for name, process in self.processes.items():
            if process.alive and process.answering.is_set():
                try:
                    answers[name] = process.ask(do, value)
                except ControlFailed:
                    if do != "stats":
                        raise
        return answers

    def command(self, do: str, value: Any) -> Any:
        """Answer a control request; any thread."""
        if do == "stop":
            self.stop()
            return True
        return self._ask_all(do, value)


def run(settings: LiveSettings, show: Show) -> None:
    """Run a service in the main thread until SIGTERM or SIGINT."""
    service = LiveService(settings, show)

    def end(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=service.stop).start()  # the main thread may hold the very lock that `stop` needs

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    service.run()
