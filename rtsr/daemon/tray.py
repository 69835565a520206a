"""What a tray icon of `rtsr live` shows and sends, without a tray: state, menu, picture, and the thread that asks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ControlFailed
from .control import request

if TYPE_CHECKING:
    from PIL.Image import Image

LOOK_S = 1.0  # between two looks
ANSWER_S = 2.0  # for an answer; what takes longer counts as off until the next look
WAITING = 8  # commands at most; more than a person clicks while one is answered
LEVELS_DB = (6.0, 3.0, 0.0, -3.0, -6.0, -12.0)
QUIT = "quit"  # what the icon does itself
OFF, STARTING, RUNNING, BYPASSED = "off", "starting", "running", "bypassed"
GROUND, GREY = (31, 36, 48), (120, 126, 138)
RECEIVED, GENERATED = (92, 169, 255), (255, 159, 64)
BARS = (0.55, 0.8, 0.65, 0.45)  # heights, of the picture's; the first half is the received band


def in_db(level: float) -> str:
    """Return a level as text, with its sign."""
    return f"{level:+g} dB" if level else "0 dB"


@dataclass(frozen=True)
class State:
    """What a running `rtsr live` says of itself; of several paths it is bypassed or muted where all are."""

    name: str = OFF
    muted: bool = False
    gain_db: float | None = None
    model: str = ""

    @property
    def steerable(self) -> bool:
        """Whether commands have an effect."""
        return self.name in (RUNNING, BYPASSED)

    @property
    def title(self) -> str:
        """One line in ASCII: a window's name takes no more everywhere."""
        parts = [self.name]
        if self.steerable:
            parts += ["muted"] * self.muted + [self.model] * bool(self.model)
            parts += [] if self.gain_db is None else [f"generated band {in_db(self.gain_db)}"]
        return ascii("rtsr live: " + ", ".join(parts))[1:-1]


def read(stats: Any) -> State:
    """Return the state that the answer to `stats` tells; what is no such answer is off. Never raises."""
    if not isinstance(stats, dict) or not all(isinstance(path, dict) for path in stats.values()):
        return State()
    paths = list(stats.values())
    if not paths:
        return State(STARTING)
    gain_db, model = paths[0].get("gain_db"), paths[0].get("model")
    return State(
        BYPASSED if all(path.get("bypass") is True for path in paths) else RUNNING,
        all(path.get("mute") is True for path in paths),
        float(gain_db) if isinstance(gain_db, int | float) else None,
        model[:80] if isinstance(model, str) else "",
    )


@dataclass(frozen=True)
class Entry:
    """A line of the menu: `do` with `value` is sent on a click, or `entries` open; `checked` None has no mark."""

    label: str
    do: str | None = None
    value: Any = None
    checked: bool | None = None
    enabled: bool = True
    entries: tuple[Entry, ...] = ()
    default: bool = False  # what a click on the icon itself does


def menu(state: State) -> tuple[Entry, ...]:
    """Return the menu. It says what is to be, and not "toggle": two clicks before an answer are one."""
    on, bypassed = state.steerable, state.name == BYPASSED
    levels = tuple(Entry(in_db(db), "gain", db, on and db == state.gain_db, on) for db in LEVELS_DB)
    return (
        Entry(state.title, enabled=False),
        Entry("Bypass", "bypass", "off" if bypassed else "on", bypassed, on, default=True),
        Entry("Mute", "mute", "off" if state.muted else "on", state.muted, on),
        Entry("Level of the generated band", enabled=on, entries=levels),
        Entry("Stop rtsr live", "stop", enabled=state.name != OFF),
        Entry("Quit this icon", QUIT),
    )


def on_button(state: State, number: int) -> Entry | None:
    """Return what a button of the mouse does on an icon that has no menu: X11's 1 to 5 are left, middle, right, wheel.

    The wheel goes to the next of the levels, up or down.
    """
    _, bypass, mute, levels, *_ = menu(state)
    if number in (1, 2):
        return bypass if number == 1 else mute
    now = state.gain_db or 0.0
    louder = [level for level in levels.entries if level.value > now]
    quieter = [level for level in levels.entries if level.value < now]
    if number == 4 and louder:
        return louder[-1]
    return quieter[0] if number == 5 and quieter else None


def picture(state: State, size: int = 64) -> Image:
    """Return a spectrum, RGB, (size, size): the received band and the generated one, each in its colour.

    Bypassed it is struck through, muted the bars are flat, and grey it is where nothing runs.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size, size), GROUND)
    draw, width = ImageDraw.Draw(image), size / (len(BARS) + 1)
    for place, height in enumerate(BARS):
        colour = RECEIVED if place < len(BARS) // 2 else GENERATED
        if not state.steerable or (state.name == BYPASSED and colour == GENERATED):
            colour = GREY
        left, tall = width * (place + 0.6), size * (0.06 if state.muted else height)
        draw.rectangle((left, 0.9 * size - tall, left + 0.75 * width, 0.9 * size), fill=colour)
    if state.name == BYPASSED:
        draw.line((0.08 * size, 0.08 * size, 0.92 * size, 0.92 * size), fill=GENERATED, width=max(2, size // 9))
    return image


class Watcher:
    """Asks the `rtsr live` of a socket once a second and sends it commands, on a thread of its own.

    `show(state)` is called on that thread after every look, changed or not; `failed(error)` for a refused command.
    """

    def __init__(self, path: Path, show: Callable[[State], None], failed: Callable[[str], None]) -> None:
        self.path, self.show, self.failed = path, show, failed
        self.commands: queue.Queue[tuple[str, Any]] = queue.Queue(WAITING)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, name="rtsr tray", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self.thread.start()

    def send(self, do: str, value: Any) -> None:
        """Have a command sent; any thread, never waits. Dropped where too many wait already."""
        try:
            self.commands.put_nowait((do, value))
        except queue.Full:
            self.failed(f"{do}: {WAITING} commands wait for an answer already")

    def stop(self) -> None:
        """End soon; any thread, does not wait for it."""
        self.ending.set()

    def _run(self) -> None:
        while not self.ending.is_set():
            self.show(self._look())
            try:
                command = self.commands.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            try:
                request(self.path, *command, timeout_s=ANSWER_S)
            except ControlFailed as error:
                self.failed(str(error))

    def _look(self) -> State:
        try:
            return read(request(self.path, "stats", timeout_s=ANSWER_S))
        except ControlFailed:
            return State()
