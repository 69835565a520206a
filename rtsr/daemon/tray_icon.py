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
from .tray import QUIT, Entry, State, Watcher, menu, on_button, picture

AGAIN_S = 1.0  # until an icon is made anew whose tray has ended


def load() -> Any:
    """Return the module pystray; raises `MissingDependency`, or `InvalidSetting` where there is no display."""
    for module, package in (("pystray", "pystray"), ("PIL", "Pillow")):
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(package, "tray", "rtsr tray")
    try:
        import pystray
    except Exception as error:  # Xlib's own kinds, and ImportError where no way to draw an icon is left
        raise no_display(error) from error
    if not pystray.Icon.HAS_MENU:
        from .tray_x11 import tells

        logging.getLogger("pystray._base").addFilter(tells)
    return pystray


def no_display(error: Exception) -> InvalidSetting:
    """Return the error where no display answers, and what to do."""
    display = os.environ.get("DISPLAY", "")
    return InvalidSetting(
        f"rtsr tray: expected DISPLAY to name the display of a desktop, got {display!r} ({error}): "
        "start it in a desktop session, or steer rtsr live with rtsr ctl"
    )


class TrayIcon:
    """One icon, until `stop` or until its tray has ended; `run` is the main thread's."""

    def __init__(self, pystray: Any, path: Path, failed: Callable[[str], None], quit_: Callable[[], None]) -> None:
        self.pystray, self.quit = pystray, quit_
        self.watcher = Watcher(path, self._show, failed)
        self.state = State()
        about = "rtsr", picture(self.state), self.state.title, self._menu(menu(self.state))
        if pystray.Icon.HAS_MENU:
            self.icon = pystray.Icon(*about)
        else:
            from .tray_x11 import ButtonIcon

            self.icon = ButtonIcon(*about, on_button=self._on_button)
        self.shown: tuple[State, tuple[int, int]] | None = None

    def run(self) -> None:
        """Show the icon until it is stopped or its tray ends."""
        try:
            self.icon.run(setup=self._begin)
        except Exception:
            if not self.watcher.ending.is_set():  # as it ends under GTK, it fails where nobody shows notifications
                raise
        finally:
            self.watcher.stop()

    def stop(self) -> None:
        """End `run`, also one that is about to begin; any thread but the main one."""
        self.watcher.stop()
        self.icon.stop()

    def _begin(self, _icon: Any) -> None:
        self.watcher.start()
        if self.watcher.ending.is_set():  # pystray ignores what comes before its loop runs
            self.icon.stop()

    def _show(self, state: State) -> None:
        """Show a state, on the thread that may."""
        if self.icon.HAS_MENU:
            self._draw(state, (0, 0))  # GTK has a thread of its own for it, and looks itself for who shows icons
        else:
            self.icon.later(lambda: self._draw(state, self.icon.dock()))

    def _draw(self, state: State, dock: tuple[int, int] | None) -> None:
        """Draw a state that is new, or in another dock; without one nothing is shown."""
        self.state = state
        if dock is None or self.shown == (state, dock):
            return
        self.icon.menu = self._menu(menu(state))
        self.icon.icon = picture(state)
        self.icon.visible = True
        self.icon.title = state.title  # behind it: one that is set before stays unseen
        self.shown = state, dock

    def _on_button(self, number: int) -> None:
        entry = on_button(self.state, number)
        if entry is not None:
            self._click(entry)

    def _click(self, entry: Entry) -> None:
        if entry.do == QUIT:
            threading.Thread(target=self.quit, daemon=True).start()
        elif entry.do is not None and entry.enabled:
            self.watcher.send(entry.do, entry.value)

    def _menu(self, entries: tuple[Entry, ...]) -> Any:
        return self.pystray.Menu(*map(self._item, entries))

    def _item(self, entry: Entry) -> Any:
        return self.pystray.MenuItem(
            entry.label,
            self._menu(entry.entries) if entry.entries else lambda: self._click(entry),
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
        try:
            icons[:] = [TrayIcon(pystray, path, failed, end)]
        except Exception as error:  # the desktop has ended
            raise no_display(error) from error
        icons[0].run()
        if icons[0].icon.HAS_MENU:
            return
        ended.wait(AGAIN_S)
