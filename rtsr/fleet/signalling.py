"""The gateway without Ray: each request goes to the worker that carries its room, or that it is placed on.

The bridges authenticate requests, so that there is one place that does; only what the gateway answers itself is checked
here (`access.py`).
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

from ..bridge.authentication import Authentication
from ..bridge.config import NAME, BridgeSettings
from ..bridge.faults import Faults
from ..bridge.log import log_event
from ..errors import InvalidSetting, PoolFull, UnknownName
from .access import refusal
from .config import FleetSettings
from .forward import Answer, Asked, Forward, Unreachable, refuse
from .metrics import exposition
from .placement import Fleet, Worker

ROOM = re.compile(rf"/(?:rooms|whip|whep|media)/({NAME.pattern})(?:/.*)?")
CREATES = re.compile(rf"/(?:rooms/{NAME.pattern}/(?:offer|rtp|sip)|(?:whip|whep)/{NAME.pattern})")
CALL = re.compile(rf"/calls/{NAME.pattern}")
PLACE = re.compile(rf"/fleet/rooms/({NAME.pattern})")
RETRY_AFTER_S = 10
TRIES = 3  # workers that a new call is offered to


class Signalling:
    """Answers the requests of clients and of operators. The event loop's."""

    def __init__(self, fleet: Fleet, settings: FleetSettings, bridge: BridgeSettings, forward: Forward) -> None:
        self.fleet, self.settings, self.bridge, self.forward = fleet, settings, bridge, forward
        self.authentication = Authentication(bridge.all_tokens(), bridge.origins)
        self.faults = Faults()  # of the gateway's SIP

    async def answer(self, asked: Asked) -> Answer:
        """Return the answer to any request."""
        try:
            return await self._answer(asked)
        except PoolFull as error:
            return refuse(503, str(error), ("Retry-After", str(RETRY_AFTER_S)))
        except UnknownName as error:
            return refuse(404, str(error))
        except InvalidSetting as error:
            return refuse(400, str(error))
        except Unreachable as error:
            return refuse(502, str(error))
        except TimeoutError:
            return refuse(504, "the worker does not answer")

    async def _answer(self, asked: Asked) -> Answer:
        if asked.path in ("/healthz", "/readyz"):
            return self._healthy(ready=asked.path == "/readyz")
        if asked.path in ("/fleet", "/fleet/drain", "/rooms", "/metrics") or PLACE.fullmatch(asked.path):
            return refusal(asked, self.bridge, self.authentication) or await self._own(asked)
        if found := ROOM.fullmatch(asked.path):
            return await self._in_room(asked, found[1])
        if CALL.fullmatch(asked.path):
            return await self._of_call(asked)
        return await self._anywhere(asked)

    async def _in_room(self, asked: Asked, room: str) -> Answer:
        if asked.path.startswith("/media/"):
            worker = self.fleet.place(room)
            return Answer(307, [("Location", f"{worker.url}{asked.path}?{asked.query}".rstrip("?"))], b"")
        if asked.method == "POST" and CREATES.fullmatch(asked.path):
            return await self._create(asked, room)
        home = self.fleet.home(room)
        if home is None or not home.url:
            return await self._anywhere(asked)
        try:
            return await self.forward.send(home, asked)
        except Unreachable:
            self.lost(home)
            if asked.method == "DELETE":  # the call is gone, with its worker
                return Answer(200, [], b"")
            raise

    async def _create(self, asked: Asked, room: str) -> Answer:
        """Set a call up on the worker of its room; where that is gone or full and nobody is there yet, on another."""
        answer: Answer | None = None
        for _ in range(TRIES):
            worker = self.fleet.place(room)
            with self.fleet.arriving(worker, room):
                try:
                    answer = await self.forward.send(worker, asked)
                except Unreachable:
                    self.lost(worker)
                    continue
                if answer.status == 201:
                    self.fleet.arrived(worker, room)
                    return answer
            if answer.status != 503 or not self.fleet.misplaced(worker, room):
                return answer
        return answer or refuse(502, "no worker could be reached")

    async def _of_call(self, asked: Asked) -> Answer:
        """Ask each worker for a call: its id does not say where it is."""
        answer = refuse(404, "no such call")
        for worker in [one for one in self.fleet.workers.values() if one.url]:
            answer = await self.forward.send(worker, asked)
            if answer.status != 404:
                break
        return answer

    async def _anywhere(self, asked: Asked) -> Answer:
        """Let any worker answer."""
        while anyone := self.fleet.anyone():
            try:
                return await self.forward.send(anyone, asked)
            except Unreachable:
                self.lost(anyone)
        raise PoolFull("no worker takes calls")

    def lost(self, worker: Worker) -> None:
        """Note that a worker's bridge is gone: its rooms are placed anew when their clients call again."""
        if worker.url:
            rooms = self.fleet.gone(worker.name)
            log_event("worker lost", worker=worker.name, node=worker.node, rooms=len(rooms))

    def _healthy(self, ready: bool) -> Answer:
        free = sum(one.free for one in self.fleet.workers.values() if one.takes_rooms)
        if ready and not free:
            return text(503, "no room can be placed\n")
        return text(200, "ready\n" if ready else "ok\n") if self.fleet.anyone() else text(503, "no worker\n")

    async def _own(self, asked: Asked) -> Answer:
        """Answer what is about the whole fleet."""
        if asked.method == "POST" and asked.path == "/fleet/drain":
            return self._drain(asked)
        if asked.method == "POST" and (found := PLACE.fullmatch(asked.path)):
            worker = self.fleet.place(found[1])
            return reply({"worker": worker.name, "node": worker.node, "url": worker.url})
        if asked.method != "GET":
            return refuse(405, "expected GET", ("Allow", "GET"))
        if asked.path == "/metrics":
            body = await exposition(self.fleet, self.forward, self.settings, self.faults)
            return Answer(200, [("Content-Type", "text/plain; version=0.0.4")], body)
        if asked.path == "/rooms":
            rooms = {room: one.rooms[room] for one in self.fleet.workers.values() for room in one.rooms}
            return reply({"rooms": rooms, "limit": self.fleet.voices})
        return reply(status_of(self.fleet, time.monotonic()))

    def _drain(self, asked: Asked) -> Answer:
        """Drain workers, or let them take rooms again: {"worker": W} or {"node": N}, limit_s, and drain (true)."""
        body = read(asked.body)
        limit_s, on = body.get("limit_s", self.settings.drain_s), body.get("drain", True)
        number = isinstance(limit_s, int | float) and not isinstance(limit_s, bool) and 0 <= limit_s <= 86_400
        if not number or not isinstance(on, bool) or not set(body) <= {"worker", "node", "limit_s", "drain"}:
            raise InvalidSetting('expected {"worker": W} or {"node": N}, limit_s in seconds, and drain true or false')
        worker, node = body.get("worker"), body.get("node")
        if isinstance(worker, str) and node is None:
            names = [worker]
        elif isinstance(node, str) and worker is None:
            names = self.fleet.of_node(node)
        else:
            raise InvalidSetting('expected {"worker": W} or {"node": N}')
        self.fleet.drain(names, time.monotonic() + limit_s if on else None)
        log_event("draining" if on else "taking rooms", workers=",".join(names), limit_s=limit_s)
        return reply(status_of(self.fleet, time.monotonic()))


def status_of(fleet: Fleet, now_s: float) -> dict[str, Any]:
    """Return the whole fleet as `GET /fleet` shows it."""
    workers = [
        {
            "name": one.name,
            "node": one.node,
            "url": one.url or None,
            "limit": one.limit,
            "calls": one.calls,
            "rooms": len(one.rooms),
            "drains": None if one.drain_by_s is None else round(max(0.0, one.drain_by_s - now_s), 1),
        }
        for one in fleet.workers.values()
    ]
    return {"workers": workers, "voices": fleet.voices, "calls": fleet.calls, "rooms": len(fleet.homes)}


def read(body: bytes) -> dict[str, Any]:
    """Read a JSON object; raises `InvalidSetting`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidSetting("expected a JSON object") from None
    if not isinstance(found, dict):
        raise InvalidSetting("expected a JSON object")
    return found


def reply(value: dict[str, Any], status: int = 200) -> Answer:
    """Return an answer of JSON."""
    return Answer(status, [("Content-Type", "application/json")], json.dumps(value).encode())


def text(status: int, words: str) -> Answer:
    """Return an answer of text."""
    return Answer(status, [("Content-Type", "text/plain; charset=utf-8")], words.encode())
