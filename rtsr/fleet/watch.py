"""Keeps what the gateway knows of workers up to date, and moves rooms that are due. The event loop's."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from typing import Protocol

from ..bridge.log import log_event
from .forward import Unreachable, report_of
from .placement import Worker
from .signalling import Signalling

LOOK_S = 0.5  # between two looks at every worker
RECONCILE_S = 2.0  # between two looks at which nodes there are
MOVES, SPREAD = 2, 20  # rooms that move after one look, at the least; looks over which many rooms are spread
SILENT = 3  # looks without an answer, and a bridge that still accepts connections counts as gone

log = logging.getLogger("rtsr.bridge")


class Directory(Protocol):
    """Where workers come from."""

    async def reconcile(self) -> dict[str, str]:
        """Have a worker wherever there is to be one; return the node of each, by the worker's name."""

    async def where(self, name: str) -> tuple[str, dict[str, int]]:
        """Return the URL of a worker's bridge, "" while it does not take calls, and the ports of its lines of SIP."""

    async def want(self, voices: int) -> None:
        """Tell who adds machines how many voices there should be."""


class Watch:
    """Looks at the workers again and again until `run` is cancelled."""

    def __init__(self, signalling: Signalling, directory: Directory) -> None:
        self.signalling, self.fleet, self.directory = signalling, signalling.fleet, directory
        self._silent: dict[str, int] = {}
        self._reconciled_s = -RECONCILE_S

    async def run(self) -> None:
        """Look; a look that fails is logged, and the next one comes."""
        while True:
            began_s = time.monotonic()
            try:
                if began_s - self._reconciled_s >= RECONCILE_S:
                    self._reconciled_s = began_s
                    await self.reconcile()
                await self.look(began_s)
            except Exception:
                log.exception("a look at the workers failed")
            await asyncio.sleep(max(0.05, began_s + LOOK_S - time.monotonic()))

    async def reconcile(self) -> None:
        """Take in workers that are new, and forget those whose node is gone."""
        there = await self.directory.reconcile()
        for name, node in there.items():
            self.fleet.workers.setdefault(name, Worker(name, node))
        for name in [name for name in self.fleet.workers if name not in there]:
            self.signalling.lost(self.fleet.workers[name])
            self.fleet.forget(name)
            self._silent.pop(name, None)
        settings = self.signalling.settings
        await self.directory.want(self.fleet.wanted(settings.spare, settings.spare_voices))

    async def look(self, now_s: float) -> None:
        """Ask every worker what it carries, and move the rooms that are due."""
        await asyncio.gather(*(self._look_at(one) for one in list(self.fleet.workers.values())))
        due = self.fleet.due(now_s)
        for room, worker in due[: max(MOVES, math.ceil(len(due) / SPREAD))]:  # not all calls are set up at once
            await self._move(room, worker)

    async def _look_at(self, worker: Worker) -> None:
        if not worker.url:
            worker.url, worker.sip = await self.directory.where(worker.name)
            if not worker.url:
                return
            log_event("worker ready", worker=worker.name, node=worker.node, url=worker.url)
        changes = worker.changes
        try:
            answer = await self.signalling.forward.own(worker, "GET", "/rooms")
            said = json.loads(answer.body) if answer.status == 200 else None
        except Unreachable:
            self.signalling.lost(worker)
            return
        except TimeoutError:
            said = None
        if said is not None:
            self._silent[worker.name] = 0
            self.fleet.report(worker.name, report_of(worker, said, changes))
            return
        self._silent[worker.name] = self._silent.get(worker.name, 0) + 1
        if self._silent[worker.name] >= SILENT:
            self._silent[worker.name] = 0
            self.signalling.lost(worker)

    async def _move(self, room: str, old: Worker) -> None:
        """Give a room to another worker and end its calls here: their clients call again, and come there."""
        new = self.fleet.move(room, time.monotonic())
        if new is None:
            return  # there is no place yet; it is tried again
        log_event("moving", room=room, worker=old.name, to=new.name)
        try:
            await self.signalling.forward.own(old, "DELETE", f"/rooms/{room}")
        except (Unreachable, TimeoutError):
            self.signalling.lost(old)
