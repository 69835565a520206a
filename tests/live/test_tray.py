"""`rtsr tray` as a person uses it: a real X server and tray, a real control socket, a real click."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtsr.daemon.control import Control
from rtsr.daemon.tray import GENERATED, RECEIVED
from tests.live.servers import missing_programs, wait_for
from tests.speech import missing

CLOSE = 16  # of 255
LEFT, WHEEL_DOWN = "1", "5"
PROGRAMS = ("Xvfb", "trayer", "xdotool")
DOCK = ("trayer", "--edge", "bottom", "--height", "40")
Started = Callable[..., subprocess.Popen[bytes]]


class Steered:
    """Answers like a `rtsr live` of one path, and notes what it was asked."""

    def __init__(self) -> None:
        self.bypass, self.asked = False, []

    def __call__(self, do: str, value: Any) -> Any:
        if do == "stats":
            return {"voice": {"bypass": self.bypass, "mute": False, "gain_db": 0.0, "model": "voice-16k"}}
        self.asked.append((do, value))
        self.bypass = value == "on" if do == "bypass" else self.bypass
        return {"voice": value}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    """Start a program, its output in a file; ended after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*command: str, **more: Any) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{Path(command[0]).name}.log").open("ab") as log:
            running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more))
        return running[-1]

    yield begin
    for one in reversed(running):
        if one.poll() is None:
            one.kill()
        one.wait(5)


@pytest.fixture
def desktop(start: Started) -> dict[str, str]:
    """An X server of our own; returns the environment of its programs."""
    for package in ("pystray", "PIL"):
        if not importlib.util.find_spec(package):
            missing(f"{package} (pip install 'rtsr[tray]')")
    lacking = missing_programs(*PROGRAMS)
    if lacking:
        missing(f"{', '.join(lacking)} (.ci/bootstrap test does it)")
    reading, writing = os.pipe()
    screen = ("-screen", "0", "320x200x24", "-nolisten", "tcp")
    # -noreset: without, it begins anew when its last client goes, as `shown` does, and refuses the next one meanwhile.
    start("Xvfb", "-displayfd", str(writing), *screen, "-noreset", pass_fds=(writing,))
    os.close(writing)
    with os.fdopen(reading) as said:
        return {**os.environ, "DISPLAY": f":{said.readline().strip()}", "PYSTRAY_BACKEND": "xorg"}


def shown(desktop: dict[str, str]) -> set[tuple[int, ...]]:
    """Return which of the icon's two colours are on the screen, where it is smaller and less exact."""
    from PIL import ImageGrab

    colours = np.asarray(ImageGrab.grab(xdisplay=desktop["DISPLAY"]).convert("RGB"), int)
    return {c for c in (RECEIVED, GENERATED) if (np.abs(colours - c).max(axis=2) < CLOSE).any()}


def press(desktop: dict[str, str], button: str) -> None:
    """Press a button of the mouse on the icon."""
    icon = ["search", "--onlyvisible", "--classname", "rtsrSystemTrayIcon"]
    subprocess.run(
        ["xdotool", *icon, "mousemove", "--window", "%1", "5", "5", "click", button], env=desktop, check=True
    )


def test_a_click_bypasses_and_the_icon_follows_what_comes_and_goes(desktop, start, tmp_path):
    path, steered, both = tmp_path / "s", Steered(), {RECEIVED, GENERATED}
    tray = start(sys.executable, "-m", "rtsr", "tray", "--socket", str(path), env=desktop)
    control = Control(path, steered)
    try:
        dock = start(*DOCK, env=desktop)  # later than the icon
        wait_for(lambda: shown(desktop) == both, why="the colours of a running one")
        press(desktop, LEFT)
        wait_for(lambda: steered.asked == [("bypass", "on")], why="a bypass by a click")
        press(desktop, WHEEL_DOWN)
        wait_for(lambda: steered.asked[1:] == [("gain", -3.0)], why="a step quieter by the wheel")
        dock.kill()
        wait_for(lambda: not shown(desktop), why="nothing without a dock")
        start(*DOCK, env=desktop)
        wait_for(lambda: shown(desktop) == both, why="the icon in the next dock")
        control.close()
        wait_for(lambda: not shown(desktop), why="grey without a rtsr live")
        control = Control(path, steered)
        steered.bypass = False
        wait_for(lambda: shown(desktop) == both, why="its colours again")
    finally:
        control.close()
    tray.send_signal(signal.SIGTERM)
    assert tray.wait(5) == 0
    assert not (tmp_path / f"{Path(sys.executable).name}.log").read_text()
