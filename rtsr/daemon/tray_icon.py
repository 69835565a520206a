"""The icon of `rtsr tray` itself: what `tray` describes, drawn by pystray."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import InvalidSetting, MissingDependency
from .tray import QUIT, Entry, State, Watcher, menu, picture

AGAIN_S = 1.0  # until an icon is made anew whose tray has ended


def load() -> Any:
    """Return the module pystray; raises `MissingDependency`, or `InvalidSetting` where there is no display."""
    for module, package in (("pystray", "pystray"), ("PIL", "Pillow")):
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(package, "tray", "rtsr tray")
    try:
        import pystray
    except Exception as error:  # Xlib's own kinds, and ImportError where no way to draw an icon is left
        display = os.environ.get("DISPLAY", "")
        raise InvalidSetting(
            f"rtsr tray: expected DISPLAY to name the display of a desktop, got {display!r} ({error}): "
            "start it in a desktop session, or steer rtsr live with rtsr ctl"
        ) from error
    logging.getLogger("pystray._base").addFilter(lambda record: record.msg != "Failed to dock icon")  # it waits
    return pystray


class Dock:
    """The program of an X display that shows its icons. It may come later than the icon, end, and come again."""

    def __init__(self) -> None:
        from Xlib.display import Display

        self.display = Display()
        self.selection = self.display.intern_atom(f"_NET_SYSTEM_TRAY_S{self.display.get_default_screen()}")

    def owner(self) -> int:
        """Return the number of its window, 0 where there is none."""
        owner = self.display.get_selection_owner(self.selection)
        return int(owner.id) if owner else 0


class TrayIcon:
    """One icon, until `stop` or until its tray has ended; `run` is the main thread's."""

    def __init__(self, pystray: Any, path: Path, failed: Callable[[str], None], quit_: Callable[[], None]) -> None:
        self.pystray, self.quit = pystray, quit_
        self.watcher = Watcher(path, self._show, failed)
        self.icon = pystray.Icon("rtsr", picture(State()), State().title, self._menu(menu(State())))
        self.dock = None if self.icon.HAS_MENU else Dock()  # only what is drawn without a toolkit has to look for it
        self.shown: tuple[State, int] | None = None
        self.lock, self.ready, self.stopped = threading.Lock(), False, False

    def run(self) -> None:
        """Show the icon until it is stopped or its tray ends."""
        self.icon.run(setup=self._begin)
        self.watcher.stop()

    def stop(self) -> None:
        """End `run`, also one that is about to begin; any thread but the main one."""
        self.watcher.stop()
        self._stop_once()

    def _begin(self, _icon: Any) -> None:
        self.ready = True
        self.watcher.start()
        self._stop_once()

    def _stop_once(self) -> None:
        """Stop the icon where that was asked for: pystray ignores it before its loop runs and hangs the next time."""
        with self.lock:
            now = self.ready and self.watcher.ending.is_set() and not self.stopped
            self.stopped = self.stopped or now
        if now:
            self.icon.stop()

    def _show(self, state: State) -> None:
        """Show a state, and dock anew where the tray is another one."""
        owner = 1 if self.dock is None else self.dock.owner()
        if not owner or self.shown == (state, owner) or self.watcher.ending.is_set():
            self.shown = self.shown if owner else None
            return
        self.icon.menu = self._menu(menu(state))
        self.icon.title = state.title
        self.icon.icon = picture(state)
        self.icon.visible = True
        self.shown = state, owner

    def _menu(self, entries: tuple[Entry, ...]) -> Any:
        return self.pystray.Menu(*map(self._item, entries))

    def _item(self, entry: Entry) -> Any:
        def click() -> None:
            if entry.do == QUIT:
                threading.Thread(target=self.quit, daemon=True).start()
            elif entry.do is not None and entry.enabled:
                self.watcher.send(entry.do, entry.value)

        return self.pystray.MenuItem(
            entry.label,
            self._menu(entry.entries) if entry.entries else click,
            checked=None if entry.checked is None else lambda _item: bool(entry.checked),
            radio=entry.do == "gain",
            default=entry.default,
            enabled=entry.enabled,
        )


def run(path: Path, failed: Callable[[str], None]) -> None:
    """Show an icon for the `rtsr live` of a socket until it is quit, or SIGTERM or SIGINT; the main thread's.

    `failed` gets what is refused, on any thread. Raises what `load` does.
    """
    pystray = load()
    ended = threading.Event()
    icons: list[TrayIcon] = []

    def end() -> None:
        ended.set()
        for icon in icons:
            icon.stop()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=end, daemon=True).start()  # it takes locks that the main thread may hold

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    while not ended.is_set():
        icons[:] = [TrayIcon(pystray, path, failed, end)]
        icons[0].run()
        if icons[0].icon.HAS_MENU:
            return
        ended.wait(AGAIN_S)
