"""The icon on an X display without GTK. Imported where pystray has chosen its `_xorg`: the import opens the display."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pystray
from Xlib import X
from Xlib.display import Display
from Xlib.error import ConnectionClosedError


class Dock:
    """The program of the display that shows icons. It may come later than the icon, end, and come again."""

    def __init__(self) -> None:
        self.display = Display()
        self.selection = self.display.intern_atom(f"_NET_SYSTEM_TRAY_S{self.display.get_default_screen()}")

    def owner(self) -> int:
        """Return the number of its window, 0 where there is none."""
        owner = self.display.get_selection_owner(self.selection)
        return int(owner.id) if owner else 0


class ButtonIcon(pystray.Icon):  # type: ignore[misc]  # pystray has no types
    """pystray's icon, whose window asks for no buttons; `on_button(number)` gets them, on the thread of `run`."""

    def __init__(self, *about: Any, on_button: Callable[[int], None]) -> None:
        self.on_button = on_button
        super().__init__(*about)

    def _create_window(self) -> Any:
        window = super()._create_window()
        window.change_attributes(event_mask=X.ExposureMask | X.StructureNotifyMask | X.ButtonPressMask)
        return window

    def _on_button_press(self, event: Any) -> None:
        self.on_button(event.detail)

    def __del__(self) -> None:
        """Nothing: its loop has ended before, and pystray's own would wait for it."""


def tells(record: logging.LogRecord) -> bool:
    """Whether pystray logs a fault: that there is no dock yet, or that the display has ended, is none."""
    ended = record.exc_info is not None and isinstance(record.exc_info[1], ConnectionClosedError)
    return not ended and record.msg != "Failed to dock icon"
