"""OPEN FIRST. Which worker carries which room. No Ray, no network, no clock of its own.

A room is on one worker. The truth about rooms is what the workers report; what is kept here is read from them again
when the gateway begins anew.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import PoolFull, UnknownName

EXPECTED_S = 10.0  # that the clients of a room that moved have to call again


@dataclass(eq=False)
class Worker:
    """One bridge of the fleet as the gateway last knew it."""

    name: str
    node: str
    url: str = ""  # "" while it does not listen
    limit: int = 0  # calls that fit
    rooms: Counter[str] = field(default_factory=Counter)  # calls of each
    arriving: Counter[str] = field(default_factory=Counter)  # calls that are being set up, by their room
    full: bool = False  # it lets no call in, though some would fit
    drain_by_s: float | None = None  # when its rooms are to have ended; None: it takes new ones
    expected: dict[str, tuple[int, float]] = field(default_factory=dict)  # calls of rooms that move here; until when
    changes: int = 0  # calls that began to be set up or were, so that an older report is known
    sip: dict[str, int] = field(default_factory=dict)  # the port of each of its lines, by the line's name

    @property
    def host(self) -> str:
        """The machine of its bridge, "" while that does not listen."""
        return urlsplit(self.url).hostname or ""

    @property
    def calls(self) -> int:
        """Calls, those that are being set up and those of rooms that move here included."""
        return self.rooms.total() + self.arriving.total() + sum(count for count, _ in self.expected.values())

    @property
    def free(self) -> int:
        """Voices that still fit."""
        return max(0, self.limit - self.calls) if self.url and not self.full else 0

    @property
    def takes_rooms(self) -> bool:
        """Whether a room may be placed here."""
        return bool(self.url) and self.drain_by_s is None

    def lost(self) -> None:
        """Note that its bridge is gone, and every call with it."""
        self.url, self.rooms = "", Counter()
        self.expected.clear()
        self.changes += 1


@dataclass(frozen=True)
class Report:
    """What a worker says of itself; `changes` is what the worker's was when it was asked."""

    rooms: dict[str, int]
    limit: int
    full: bool
    changes: int


class Fleet:
    """Places rooms on workers by free capacity; every method is one thread's."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.homes: dict[str, str] = {}  # the worker of each room
        self.refused = self.moved = self.lost = 0  # calls that found no room; rooms that moved; workers that died

    def worker(self, name: str) -> Worker:
        """Return a worker; raises `UnknownName`."""
        if name not in self.workers:
            raise UnknownName("worker", name, self.workers)
        return self.workers[name]

    def home(self, room: str) -> Worker | None:
        """Return the worker that carries a room, None where none does."""
        return self.workers.get(self.homes.get(room, ""))

    def anyone(self) -> Worker | None:
        """Return a worker that answers what is the same everywhere: the page, and servers for ICE."""
        return next((one for one in self.workers.values() if one.url), None)

    def place(self, room: str) -> Worker:
        """Return the worker of a room, a new one's being that with the most free voices; raises `PoolFull`."""
        home = self.home(room)
        if home is not None and home.url:
            return home
        best = self._freest(1)
        if best is None:
            self.refused += 1
            raise PoolFull(f"all {self.voices} calls that the fleet carries are taken")
        self.homes[room] = best.name
        return best

    @contextmanager
    def arriving(self, worker: Worker, room: str) -> Iterator[None]:
        """Count one call more while it is being set up, so that as many as come at the same time find a place."""
        worker.arriving[room] += 1
        worker.changes += 1
        try:
            yield
        finally:
            worker.arriving[room] -= 1
            worker.arriving += Counter()  # keeps those above nothing

    def arrived(self, worker: Worker, room: str) -> None:
        """Note that a call was set up: it counts before the worker reports it."""
        worker.rooms[room] += 1
        worker.changes += 1
        count, until_s = worker.expected.pop(room, (0, 0.0))
        if count > 1:
            worker.expected[room] = count - 1, until_s

    def misplaced(self, worker: Worker, room: str) -> bool:
        """Whether a room that a worker refused may be placed elsewhere, as nobody is in it; forgets its place then."""
        if worker.rooms[room] or worker.arriving[room]:
            return False
        worker.full = True  # until its next report
        self.homes.pop(room, None)
        return True

    def report(self, name: str, said: Report) -> None:
        """Take what a worker reports; of one from before a call was set up, only what is not about rooms."""
        worker = self.worker(name)
        worker.limit, worker.full = said.limit, said.full
        if said.changes != worker.changes:
            return
        worker.rooms = Counter(said.rooms)
        for room in worker.rooms:
            self.homes.setdefault(room, name)
        for room, home in list(self.homes.items()):
            if home == name and not (room in worker.rooms or worker.arriving[room] or room in worker.expected):
                del self.homes[room]

    def gone(self, name: str) -> list[str]:
        """Note that a worker's bridge died; returns its rooms, which are placed anew when their clients call again."""
        worker = self.worker(name)
        rooms = [room for room, home in self.homes.items() if home == name]
        for room in rooms:
            del self.homes[room]
        if worker.url:
            self.lost += 1
        worker.lost()
        return rooms

    def forget(self, name: str) -> None:
        """Forget a worker that will not come back."""
        self.gone(name)
        del self.workers[name]

    def drain(self, names: list[str], by_s: float | None) -> None:
        """Place no new room on workers, and move those there are at a time; None: they take rooms again.

        Raises `UnknownName`.
        """
        for worker in [self.worker(name) for name in names]:
            worker.drain_by_s = by_s

    def of_node(self, node: str) -> list[str]:
        """Return the names of a node's workers; raises `UnknownName` where it has none."""
        names = [one.name for one in self.workers.values() if one.node == node]
        if not names:
            raise UnknownName("node", node, {one.node for one in self.workers.values()})
        return names

    def due(self, now_s: float) -> list[tuple[str, Worker]]:
        """Return the rooms that are to move now, with the worker that each is on; called about twice a second."""
        for worker in self.workers.values():
            worker.expected = {room: one for room, one in worker.expected.items() if now_s < one[1]}
        late = [one for one in self.workers.values() if one.drain_by_s is not None and now_s >= one.drain_by_s]
        return [(room, one) for one in late for room in one.rooms if self.homes.get(room) == one.name]

    def move(self, room: str, now_s: float) -> Worker | None:
        """Give a room to the worker with the most free voices, and return that; None where it fits nowhere yet.

        Its places there are kept for a while.
        """
        old = self.home(room)
        size = old.rooms[room] + old.arriving[room] if old else 1
        best = self._freest(size, but=old)
        if best is not None:
            self.homes[room] = best.name
            best.expected[room] = size, now_s + EXPECTED_S
            self.moved += 1
        return best

    def _freest(self, least: int, but: Worker | None = None) -> Worker | None:
        fit = [one for one in self.workers.values() if one.takes_rooms and one is not but and one.free >= least]
        return max(fit, key=lambda one: (one.free, -len(one.rooms), one.name), default=None)

    @property
    def voices(self) -> int:
        """Calls that fit in all."""
        return sum(one.limit for one in self.workers.values() if one.takes_rooms)

    @property
    def calls(self) -> int:
        """Calls there are."""
        return sum(one.calls for one in self.workers.values())

    def wanted(self, spare: float, least: int) -> int:
        """Return how many voices there should be: those in use and a share of them more, `least` free."""
        return self.calls + max(least, math.ceil(spare * self.calls))
