"""The tray icon without a tray: what it shows of a state, what its menu sends, and that it never waits for long."""

from __future__ import annotations

import importlib.util
import os
import queue
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from rtsr.daemon import tray
from rtsr.daemon.control import Control
from rtsr.daemon.tray import (
    BYPASSED,
    GENERATED,
    OFF,
    RECEIVED,
    RUNNING,
    STARTING,
    State,
    Watcher,
    menu,
    on_button,
    read,
)
from tests.speech import missing

pytestmark = pytest.mark.realtime

PATH = {"bypass": False, "mute": False, "gain_db": -3.0, "model": "voice-16k"}
RUNS = State(RUNNING, False, -3.0, "voice-16k")


@pytest.mark.parametrize(
    ("stats", "state"),
    [
        ({"voice": PATH}, RUNS),
        ({"microphone": PATH, "speaker": {**PATH, "bypass": True}}, RUNS),
        ({"voice": {**PATH, "bypass": True, "mute": True}}, State(BYPASSED, True, -3.0, "voice-16k")),
        ({"voice": {"gain_db": "loud", "model": 3}}, State(RUNNING)),
        ({}, State(STARTING)),
        (True, State(OFF)),
        ({"voice": 3}, State(OFF)),
    ],
)
def test_stats_tell_the_state_and_what_is_none_is_off(stats, state):
    assert read(stats) == state


def test_the_menu_offers_the_other_state_and_marks_the_level():
    title, bypass, mute, levels, stop, leave = menu(RUNS)
    assert title.label == "rtsr live: running, voice-16k, generated band -3 dB"
    assert (bypass.do, bypass.value, bypass.checked, bypass.default) == ("bypass", "on", False, True)
    assert (mute.do, mute.value) == ("mute", "on")
    assert [entry.label for entry in levels.entries] == ["+6 dB", "+3 dB", "0 dB", "-3 dB", "-6 dB", "-12 dB"]
    assert [entry.label for entry in levels.entries if entry.checked] == ["-3 dB"]
    assert all(entry.do == "gain" for entry in levels.entries)
    assert (stop.do, leave.do) == ("stop", "quit")
    changed = menu(State(BYPASSED, True))
    assert [(entry.value, entry.checked) for entry in changed[1:3]] == [("off", True)] * 2


def test_without_a_rtsr_live_only_the_icon_can_be_quit():
    assert [entry.do for entry in menu(State()) if entry.enabled] == ["quit"]
    assert not any(entry.enabled for entry in menu(State())[3].entries)
    assert [entry.do for entry in menu(State(STARTING)) if entry.enabled] == ["stop", "quit"]


@pytest.mark.parametrize(
    ("number", "gain_db", "sent"),
    [
        (1, 0.0, ("bypass", "on")),
        (2, 0.0, ("mute", "on")),
        (4, 0.0, ("gain", 3.0)),
        (5, 0.0, ("gain", -3.0)),
        (5, 0.5, ("gain", 0.0)),
        (4, 6.0, None),
        (5, -12.0, None),
        (3, 0.0, None),
    ],
)
def test_the_buttons_of_an_icon_without_a_menu(number, gain_db, sent):
    entry = on_button(State(RUNNING, gain_db=gain_db), number)
    assert (entry and (entry.do, entry.value)) == sent


def test_a_title_is_plain_text_whatever_a_model_is_called():
    assert State(RUNNING, model="ä\n\x1b").title == r"rtsr live: running, \xe4\n\x1b"


def test_the_picture_shows_each_state():
    pytest.importorskip("PIL", reason="the extra tray")

    def colours(state: State) -> dict[tuple[int, ...], int]:
        return {colour: count for count, colour in tray.picture(state).getcolors()}

    running, bypassed, muted = (colours(s) for s in (RUNS, State(BYPASSED), State(RUNNING, muted=True)))
    assert {RECEIVED, GENERATED} <= set(running)
    assert tray.GREY in bypassed
    assert tray.picture(State(BYPASSED)).getpixel((32, 32)) == GENERATED, "struck through"
    assert muted[RECEIVED] < running[RECEIVED] / 4
    assert set(colours(State())) == {tray.GROUND, tray.GREY}


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """Call it: watches the socket `s`; returns the watcher, its states, and what failed, each as a queue."""
    monkeypatch.setattr(tray, "LOOK_S", 0.05)
    watchers = []

    def begin() -> tuple[Watcher, queue.Queue[State], queue.Queue[str]]:
        states: queue.Queue[State] = queue.Queue()
        failed: queue.Queue[str] = queue.Queue()
        watchers.append(Watcher(tmp_path / "s", states.put, failed.put))
        watchers[-1].start()
        return watchers[-1], states, failed

    yield begin
    for one in watchers:
        one.stop()
        one.thread.join(5)
        assert not one.thread.is_alive()


def until(states: queue.Queue[State], name: str) -> None:
    """Wait for a state of this name."""
    while states.get(timeout=5).name != name:
        pass


def test_commands_are_sent_refusals_told_and_a_restart_is_found(watch, tmp_path):
    asked: list[Any] = []

    def do(command, value):
        if command == "stats":
            return {"voice": PATH}
        asked.append((command, value))
        return 1 // 0 if command == "stop" else True

    watcher, states, failed = watch()
    until(states, OFF)
    for _ in range(2):
        control = Control(tmp_path / "s", do)
        until(states, RUNNING)
        control.close()
        until(states, OFF)
    control = Control(tmp_path / "s", do)
    watcher.send("gain", 3.0)
    watcher.send("stop", None)
    assert "ZeroDivisionError" in failed.get(timeout=5)
    assert asked == [("gain", 3.0), ("stop", None)]
    control.close()


def test_what_listens_and_never_answers_is_off_and_holds_nobody(watch, tmp_path, monkeypatch):
    monkeypatch.setattr(tray, "ANSWER_S", 0.1)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "s"))
        deaf.listen()
        watcher, states, failed = watch()
        began = time.monotonic()
        for _ in range(2 * tray.WAITING):
            watcher.send("bypass", "on")
        assert time.monotonic() - began < 0.05
        until(states, OFF)
        assert "wait for an answer" in failed.get(timeout=5)


def test_without_a_display_or_the_extra_it_says_what_to_do(tmp_path):
    if importlib.util.find_spec("pystray") is None:  # to import it takes a display
        missing("pystray (pip install 'rtsr[tray]')")
    env = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "rtsr", "tray", "--socket", str(tmp_path / "s")]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "expected DISPLAY to name the display of a desktop, got ''" in ended.stderr
    hidden = "import sys; sys.modules['pystray'] = None; sys.argv[1:] = ['tray']; import rtsr.cli; rtsr.cli.main()"
    ended = subprocess.run([sys.executable, "-c", hidden], env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "pip install 'rtsr[tray]'" in ended.stderr
