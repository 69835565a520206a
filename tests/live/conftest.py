"""Real servers for a whole session, and `rtsr live` as a person starts it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.live.running import ANY_S, SETTLED_S, THROUGH, Running
from tests.live.servers import RATE, Server, missing_programs, wait_for
from tests.live.stall_monitor import Excuses
from tests.speech import missing

EXCUSES = pytest.StashKey[Excuses]()
PACKAGES = ("sounddevice", "pyaudio", "pulsectl", "prometheus_client")
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
def excuses(pytestconfig: pytest.Config) -> Excuses:
    """What is excused in this run of the tests; the end of the run tells."""
    pytestconfig.stash[EXCUSES] = one = Excuses()
    return one


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was excused."""
    one = config.stash.get(EXCUSES, None)
    if one is not None:
        terminalreporter.section("losses that stalls of the machine excuse")
        terminalreporter.write_line(f"{len(one.excused)} of at most {one.quota}")
        for line in one.excused:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Start each kind of server once; skipped where it is not installed, failed there under CI."""
    started: dict[str, Server] = {}

    def start(kind: str) -> Server:
        for package in PACKAGES:
            if not importlib.util.find_spec(package):
                missing(f"{package} (pip install 'rtsr[live]')")
        lacking = missing_programs(*PROGRAMS[kind])
        if lacking:
            missing(f"{', '.join(lacking)} (.ci/bootstrap test does it)")
        if kind not in started:
            server = Server(kind, tmp_path_factory.mktemp(kind))
            started[kind] = server
            server.start()
        return started[kind]

    yield start
    for server in started.values():
        server.stop()


@pytest.fixture(scope="session", params=["pulse", "pipewire"])
def server(request: pytest.FixtureRequest, start_server: Callable[[str], Server]) -> Server:
    """Both servers in turn."""
    return start_server(request.param)


@pytest.fixture(scope="session")
def pulse(start_server: Callable[[str], Server]) -> Server:
    """PulseAudio."""
    return start_server("pulse")


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
            one.stop(ANY_S)


@pytest.fixture(scope="module")
def running(pulse: Server, model_path: Path) -> Iterator[Running]:
    """One `rtsr live` from A to B for all tests of a file that do not end it; its metrics are served."""
    one = Running(pulse, ("--model", str(model_path), *THROUGH, "--metrics", "0"))
    one.wait_for_event("ready")
    wait_for(lambda: one.stats()["uptime_s"] > SETTLED_S)
    yield one
    if one.process.poll() is None:
        one.stop(ANY_S)


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Compile once, so that no test waits for the compiler twice."""
    from rtsr.io.shared_block import SharedBlock

    shared = SharedBlock(RATE, 240, 100, 100)
    shared.capture(np.zeros((120, 1), np.float32))
    shared.play(np.zeros((120, 1), np.float32))
