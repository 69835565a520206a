"""The icon on an X display without GTK. Imported where pystray has chosen its `_xorg`: the import opens the display.

pystray's own has no menu and asks for no buttons of the mouse. It talks to the display on two threads, where
python-xlib loses events, and asks twice to be docked, whereupon a dock may put it out. This one does all of it on the
thread of `run`.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pystray
from Xlib import X
from Xlib.error import ConnectionClosedError


class ButtonIcon(pystray.Icon):  # type: ignore[misc]  # pystray has no types
    """`on_button(number)` gets what is pressed, on the thread of `run`. `later` and `stop` are any thread's."""

    _systray_manager: Any  # the dock's window, None outside

    def __init__(self, *about: Any, on_button: Callable[[int], None]) -> None:
        self.on_button = on_button
        self.jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.woken, self.waking = socket.socketpair()
        self.waking.setblocking(False)
        self.put_out = 0
        super().__init__(*about)
        self._message_handlers[X.ReparentNotify] = self._on_reparent
        self.selection = self._display.intern_atom(f"_NET_SYSTEM_TRAY_S{self._display.get_default_screen()}")

    def later(self, job: Callable[[], None] | None) -> None:
        """Have a job done by the thread of `run`; None ends it."""
        self.jobs.put(job)
        with contextlib.suppress(BlockingIOError):  # it has been woken often enough
            self.waking.send(b"x")

    def stop(self) -> None:
        """End `run`, or one that is about to begin."""
        self.later(None)

    def dock(self) -> tuple[int, int] | None:
        """Return the window of the program that shows icons and how often it has put this one out; None without one.

        The thread of `run`. The program may come later than the icon, end, and come again.
        """
        owner = self._display.get_selection_owner(self.selection)
        return (int(owner.id), self.put_out) if owner else None

    def _events(self) -> Iterator[Any]:
        while True:
            while self._display.pending_events():
                yield self._display.next_event()
            select.select([self._display, self.woken], [], [])
            if select.select([self.woken], [], [], 0)[0]:
                self.woken.recv(4096)
            while not self.jobs.empty():
                job = self.jobs.get()
                if job is None:
                    return
                job()

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            for end in (self.woken, self.waking, self._display):
                with contextlib.suppress(ConnectionClosedError):
                    end.close()

    def _create_window(self) -> Any:
        window = super()._create_window()
        window.change_attributes(event_mask=X.ExposureMask | X.StructureNotifyMask | X.ButtonPressMask)
        return window

    def _dock_window(self) -> None:
        if self._systray_manager is None:
            super()._dock_window()

    def _on_reparent(self, event: Any) -> None:
        if event.parent.id == self._display.screen().root.id:
            self.put_out += 1
            self._systray_manager = None

    def _on_destroy_notify(self, event: Any) -> None:
        if self._systray_manager is not None:
            super()._on_destroy_notify(event)

    def _on_button_press(self, event: Any) -> None:
        self.on_button(event.detail)

    def __del__(self) -> None:
        """Nothing: `run` has closed everything, and pystray's own would use the display again."""


def tells(record: logging.LogRecord) -> bool:
    """Whether pystray logs a fault: that no program shows icons yet, or that the display has ended, is none."""
    ended = record.exc_info is not None and isinstance(record.exc_info[1], ConnectionClosedError)
    return not ended and record.msg != "Failed to dock icon"
