"""Real servers for a whole session, and `rtsr live` as a person starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers import RATE, Server, missing_programs, wait_for

PROGRAMS = {
    "pulse": ("pulseaudio", "pactl", "parec"),
    "pipewire": ("pipewire", "wireplumber", "pipewire-pulse", "dbus-daemon", "pw-jack", "pactl", "parec"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a real server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Start each kind of server once; skipped where it is not installed, failed there under CI."""
    started: dict[str, Server] = {}

    def start(kind: str) -> Server:
        lacking = missing_programs(*PROGRAMS[kind])
        if lacking and os.environ.get("CI") == "true":
            pytest.fail(f"{', '.join(lacking)} not installed, and CI must test with it", pytrace=False)
        if lacking:
            pytest.skip(f"not installed: {', '.join(lacking)} (.ci/bootstrap test installs them)")
        if kind not in started:
            started[kind] = Server(kind, tmp_path_factory.mktemp(kind))
            started[kind].start()
        return started[kind]

    yield start
    for server in started.values():
        server.stop()


@pytest.fixture(params=["pulse", "pipewire"])
def server(request: pytest.FixtureRequest, start_server: Callable[[str], Server]) -> Server:
    """Both servers in turn."""
    return start_server(request.param)


@pytest.fixture
def pulse(start_server: Callable[[str], Server]) -> Server:
    """PulseAudio."""
    return start_server("pulse")


@pytest.fixture
def pipewire(start_server: Callable[[str], Server]) -> Server:
    """PipeWire."""
    return start_server("pipewire")


class Running:
    """A started `rtsr live`."""

    def __init__(self, server: Server, arguments: tuple[str, ...]) -> None:
        self.env, self.log = server.env, server.folder / f"live-{time.monotonic_ns()}.log"
        self.asked = time.monotonic()
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "rtsr", "live", *arguments]
            self.process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def printed(self) -> str:
        return self.log.read_text()

    def wait_for_event(self, event: str, times: int = 1, seconds: float = 20.0) -> None:
        """Wait until an event was logged so many times."""
        wait_for(
            lambda: self.printed.count(f"event={event} ") >= times or self.process.poll() is not None,
            seconds,
            f"{event} x {times} in {self.printed}",
        )
        assert self.printed.count(f"event={event} ") >= times, self.printed

    def ctl(self, *words: str) -> Any:
        """`rtsr ctl WORDS`, the answer of its only path."""
        command = [sys.executable, "-m", "rtsr", "ctl", *words]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return next(iter(answer.values())) if isinstance(answer, dict) else answer

    def stats(self) -> dict[str, Any]:
        return self.ctl("stats")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(5)


@pytest.fixture
def live(model_path: Path) -> Iterator[Callable[..., Running]]:
    """Call it with a server and arguments: starts `rtsr live`, waits for audio, and stops it after the test."""
    running: list[Running] = []

    def start(server: Server, *arguments: str, wait: bool = True) -> Running:
        running.append(Running(server, ("--model", str(model_path), *arguments)))
        if wait:
            running[-1].wait_for_event("ready")
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.stop()


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Compile once, so that no test measures the compiler."""
    from rtsr.io.wire import Wire

    wire = Wire(RATE, 240, 100, 100)
    wire.capture(np.zeros((120, 1), np.float32))
    wire.play(np.zeros((120, 1), np.float32))
