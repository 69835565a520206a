"""A log or a terminal on a thread of its own: one that is full, closed or slow holds up nothing."""

from __future__ import annotations

import contextlib
import queue
import threading
from types import TracebackType
from typing import Any, Protocol, Self

Stats = dict[str, dict[str, Any]]

MOST_WAITING = 1000  # calls that wait for a slow output; what comes beyond them is counted and left out
END_S = 0.15  # twice that, of the second in which `rtsr live` is to end


class Show(Protocol):
    """Where a person sees what goes on: a live view, or lines."""

    def event(self, path: str, kind: str, line: str) -> None:
        """Show one event; any thread."""

    def stats(self, stats: Stats) -> None:
        """Show the state, four times a second."""


class Background:
    """Passes on to another `Show` in a thread of its own. Its methods never raise, never wait; any thread may call.

    What could not be shown is counted and reported by an event once showing works again.
    """

    def __init__(self, show: Show) -> None:
        self.show = show
        self.waiting: queue.Queue[tuple[Any, ...]] = queue.Queue(MOST_WAITING)
        self.lost, self.reason = 0, ""
        self.thread = threading.Thread(target=self._run, name="rtsr log", daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(queue.Full):  # it hangs, and is left alone
            self.waiting.put((), timeout=END_S)
        self.thread.join(END_S)

    def event(self, path: str, kind: str, line: str) -> None:
        """Show one event, soon."""
        self._put((path, kind, line))

    def stats(self, stats: Stats) -> None:
        """Show the state, soon."""
        self._put((stats,))

    def _put(self, call: tuple[Any, ...]) -> None:
        try:
            self.waiting.put_nowait(call)
        except queue.Full:
            self.lost, self.reason = self.lost + 1, "the output does not keep up"

    def _run(self) -> None:
        while call := self.waiting.get():
            try:
                if self.lost:
                    self.show.event("rtsr", "log", f"{self.lost} lines were lost: {self.reason}")
                    self.lost = 0
                if len(call) == 1:
                    self.show.stats(*call)
                else:
                    self.show.event(*call)
            except (OSError, ValueError) as error:  # ValueError: a closed file
                self.lost, self.reason = self.lost + 1, str(error)
