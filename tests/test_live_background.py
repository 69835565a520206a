"""The log's thread: who tells it something never waits and never meets its errors."""

from __future__ import annotations

import threading

from rtsr.daemon import background
from rtsr.daemon.background import Background


class Full:
    """A log on a disk that is full for some calls; or one that hangs until it may go on."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.events = failures, []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def event(self, path: str, kind: str, line: str) -> None:
        self.may_go_on.wait()
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.events.append((kind, line))

    def stats(self, stats: dict) -> None:
        self.event("", "stats", "")


def test_what_is_shown_is_passed_on_in_its_order():
    log = Full()
    with Background(log) as show:
        show.event("voice", "x", "a")
        show.stats({})
        show.event("voice", "y", "b")
    show.thread.join(10)
    assert log.events == [("x", "a"), ("stats", ""), ("y", "b")]


def test_what_is_lost_on_a_full_disk_is_counted_and_reported_later():
    log = Full(failures=2)
    with Background(log) as show:
        for line in "abc":
            show.event("voice", "x", line)
    show.thread.join(10)
    kinds = [kind for kind, _ in log.events]
    assert kinds == ["log", "x"]
    assert log.events[0][1].startswith("2 lines were lost: ")
    assert "No space left on device" in log.events[0][1]


def test_a_log_that_hangs_holds_up_nobody_and_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(background, "MOST_WAITING", 10)
    log = Full()
    log.may_go_on.clear()
    with Background(log) as show:
        for _ in range(100):
            show.event("voice", "x", "")
        show.stats({})
        log.may_go_on.set()
    show.thread.join(10)
    assert len(log.events) <= 13
    lost = [int(line.split()[0]) for kind, line in log.events if kind == "log"]
    assert lost
    assert len(log.events) - len(lost) + sum(lost) == 101
