"""SIP in front of the workers: a proxy that places a call by its number and stays in the way of its requests alone.

telephone, PBX, trunk ── SIP ──► proxy (gateway) ── SIP ──► line of a worker (RFC 3261, section 16)
         └──────────────────── RTP: directly ──────────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from ..bridge.faults import Faults
from ..bridge.log import log_event
from ..bridge.sip.dialog import ALLOW, new_tag
from ..bridge.sip.fields import NameAddress
from ..bridge.sip.line import Line
from ..bridge.sip.message import Request, Response, answer
from ..bridge.sip.path import Path, Place
from ..bridge.sip.registration import Registration
from ..bridge.sip.settings import SipSettings
from ..bridge.sip.transactions import ClientTransaction, ServerTransaction
from ..bridge.tls import pinned_context
from ..errors import PoolFull
from .placement import Fleet, Worker
from .sip_routes import NEW, TELEPHONE, WORKER, Routes, Way, hops_left, passed_on, returned

RETRY_AFTER = ("retry-after", "10")
TRIES = 3  # workers that a call is offered to
LOOK_S = 0.2  # between two looks at whether a worker that does not answer is still there
LONGEST_RING_S = 700.0  # after a provisional answer: who called has given up before (timer C)
CLOSE_S = 1.0


class ProxyLine(Line):
    """A line that the workers may send to as well."""

    def __init__(
        self, settings: SipSettings, take: Callable[[Request, Path], None], faults: Faults, fleet: Fleet
    ) -> None:
        super().__init__(settings, take, faults)
        self._fleet = fleet

    def admits(self, host: str) -> bool:
        """Whether a host may send anything."""
        return super().admits(host) or any(one.host == host for one in self._fleet.workers.values())


class SipProxy:
    """One table [[bridge.sip]] of a fleet. The event loop's."""

    def __init__(
        self, settings: SipSettings, fleet: Fleet, routes: Routes, lost: Callable[[Worker], None], faults: Faults
    ) -> None:
        """Read the certificates; raises `InvalidSetting`. `lost` is called with a worker that does not answer."""
        self.line = ProxyLine(settings, self.take, faults, fleet)
        self.registration = Registration(self.line) if settings.register else None
        self._fleet, self._routes, self._lost = fleet, routes, lost
        self._inner = "tls" if settings.transport == "tls" else "udp"  # the transport between us and workers
        self._inner_tls = pinned_context(settings.tls_cert) if settings.tls_cert else None
        self._onward: WeakKeyDictionary[ServerTransaction, ClientTransaction] = WeakKeyDictionary()

    async def open(self) -> None:
        """Listen, and register; raises `InvalidSetting` where the gateway cannot listen."""
        await self.line.open()
        if self.registration:
            self.registration.start()

    async def close(self) -> None:
        """Take nothing any more. The calls go on until one end needs the way through here."""
        if self.line.is_open:
            if self.registration:
                await self.registration.stop()
            await self.line.close(CLOSE_S)

    def take(self, request: Request, path: Path) -> None:
        """Take a request."""
        line = self.line
        known = line.transactions.find(request, "INVITE" if request.method == "ACK" else None)
        way, routes = self._routes.taken(request)
        if way and way.sender != NEW and not request.recipient.tag:
            way = None  # who has a route from an earlier call begins a new one as everybody does
        if request.method == "ACK":
            if known and known.response and known.response.status >= 300:
                known.acknowledge()
            elif way:
                line.start(self._acknowledge(request, way, routes))
        elif known:
            known.repeat()
        elif request.method == "CANCEL":
            self._cancel(request, path)
        elif request.method == "INVITE" or way:
            self._begin(request, path, way, routes)
        elif request.recipient.tag or request.method in ("BYE", "UPDATE"):
            line.respond(request, path, 481, tag=new_tag())
        elif request.method == "OPTIONS":
            status = 200 if self._fleet.anyone() else 503
            line.respond(request, path, status, [("allow", ALLOW)], tag=new_tag())
        else:
            line.respond(request, path, 405, [("allow", ALLOW)], tag=new_tag())

    def _begin(self, request: Request, path: Path, way: Way | None, routes: list[str]) -> None:
        """Begin the transaction of a request that goes on, if it may."""
        line = self.line
        try:
            spent = hops_left(request) == 0
        except ValueError:
            line.respond(request, path, 400, tag=new_tag())
            return
        if spent:
            line.respond(request, path, 483, tag=new_tag())
        elif way is None and request.recipient.tag:
            line.respond(request, path, 481)
        elif way is None and (challenge := line.challenge(request, path)):
            line.respond(request, path, 401, challenge, tag=new_tag())
        elif (transaction := line.transactions.serve(request, line.reply_path(request, path))) is None:
            line.respond(request, path, 503, [RETRY_AFTER], tag=new_tag())
        else:
            if request.method == "INVITE":
                transaction.respond(answer(request, 100))
            line.start(self._pass_on(transaction, way, routes) if way else self._place(transaction, path, routes))

    def _cancel(self, request: Request, path: Path) -> None:
        known = self.line.transactions.find(request, "INVITE")
        self.line.respond(request, path, 200 if known else 481, tag=new_tag())
        if known:
            known.cancelled = True
            if known in self._onward:
                self._onward[known].cancel()

    async def _place(self, transaction: ServerTransaction, path: Path, routes: list[str]) -> None:
        """Let a call in at the worker of its room; where that is gone, or full with nobody there yet, at another."""
        request, settings = transaction.request, self.line.settings
        room = settings.room_of(request.uri.number)
        if room is None:
            self._refuse(transaction, 404, f"no room for number {request.uri.number}")
            return
        response: Response | None = None
        for _ in range(TRIES):
            try:
                worker = self._fleet.place(room)
            except PoolFull as error:
                self._refuse(transaction, 503, str(error))
                return
            with self._fleet.arriving(worker, room):
                response = await self._ask(worker, transaction, path, routes)
                if response is None:
                    self._lost(worker)
                    continue
                if response.status < 300:
                    self._fleet.arrived(worker, room)
                    break
            if response.status != 503 or not self._fleet.misplaced(worker, room):
                break
        if response is None:
            self._refuse(transaction, 503, "no worker could be reached")
        else:
            transaction.pass_on(returned(response))

    def _refuse(self, transaction: ServerTransaction, status: int, why: str) -> None:
        log_event("sip refused", name=self.line.settings.name, why=why)
        more = [RETRY_AFTER] if status == 503 else []
        transaction.respond(answer(transaction.request, status, more, tag=new_tag()))

    async def _ask(
        self, worker: Worker, transaction: ServerTransaction, path: Path, routes: list[str]
    ) -> Response | None:
        """Offer a call to a worker; returns its final answer, None where the worker is gone."""
        final: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def take(response: Response) -> None:
            if response.is_final and not final.done():
                final.set_result(response)
            else:
                transaction.pass_on(returned(response))

        try:
            onward = await self._to_worker(worker)
        except OSError:
            return None
        inner, outer = self._record(worker.name, path, onward)
        local = self._local(onward, to_worker=True)
        request = passed_on(transaction.request, local, onward.transport, routes, [inner, outer])
        client = self._send(transaction, request, onward, take)
        if client is None:
            return answer(transaction.request, 503)
        while not final.done() and worker.url:
            await asyncio.wait((final,), timeout=LOOK_S)
        if final.done():
            return final.result()
        client.end()
        return None

    async def _pass_on(self, transaction: ServerTransaction, way: Way, routes: list[str]) -> None:
        """Send a request of a call there is to its other end, or one of a worker that calls somebody to the server."""
        request = transaction.request

        def take(response: Response) -> None:
            transaction.pass_on(returned(response))

        try:
            onward = await self._path(request, way, routes)
        except OSError as error:
            status = 503 if way.sender == NEW else 481  # a call whose other end is gone has ended
            log_event("sip cannot be passed on", name=self.line.settings.name, method=request.method, why=error)
            transaction.respond(answer(request, status, tag=new_tag()))
            return
        record: list[str] = []
        if way.sender == NEW:
            inner, outer = self._record(way.worker, onward, transaction.path)
            record, routes = [outer, inner], [*self.line.settings.first_route, *routes]
        local = self._local(onward, to_worker=way.sender == TELEPHONE)
        if self._send(transaction, passed_on(request, local, onward.transport, routes, record), onward, take) is None:
            transaction.respond(answer(request, 503, [RETRY_AFTER], tag=new_tag()))

    async def _acknowledge(self, request: Request, way: Way, routes: list[str]) -> None:
        """Send on the ACK of a 2xx, which is no transaction."""
        try:
            onward = await self._path(request, way, routes)
            local = self._local(onward, to_worker=way.sender == TELEPHONE)
            onward.send(passed_on(request, local, onward.transport, routes, []).write())
        except (OSError, ValueError) as error:
            log_event("sip cannot be passed on", name=self.line.settings.name, method="ACK", why=error)

    def _send(
        self, transaction: ServerTransaction, request: Request, onward: Path, take: Callable[[Response], None]
    ) -> ClientTransaction | None:
        """Send a request on; its CANCEL is to follow it. None where there are too many transactions."""

        def passed(response: Response) -> None:
            if client and not response.is_final:
                client.expire(LONGEST_RING_S)
            if response.status != 100:
                take(response)

        client = self.line.transactions.begin(request, onward, passed)
        if client is not None:
            self._onward[transaction] = client
            if transaction.cancelled:
                client.cancel()
        return client

    async def _path(self, request: Request, way: Way, routes: list[str]) -> Path:
        """Return the path of a request that has a way; raises `OSError`."""
        paths, settings = self.line.paths, self.line.settings
        if way.sender == TELEPHONE:
            if way.worker not in self._fleet.workers:
                raise OSError(f"worker {way.worker} is gone")
            return await self._to_worker(self._fleet.workers[way.worker])
        if way.sender == NEW:
            place = request.uri.place if settings.server is None else settings.server_place
            return await paths.to(settings.first_hop(place), settings.transport)
        came_from = (way.host, way.port)
        if way.transport == "udp":
            return await paths.to(came_from, "udp")
        if there := paths.connected(came_from, way.transport):
            return there
        host, port = (NameAddress.read(routes[0]).uri if routes else request.uri).place
        if host != way.host:
            raise OSError(f"no connection with {way.host} is open")
        return await paths.to((host, port), way.transport)

    async def _to_worker(self, worker: Worker) -> Path:
        port = worker.sip.get(self.line.settings.name)
        if not worker.host or port is None:
            raise OSError(f"worker {worker.name} does not listen")
        return await self.line.paths.to((worker.host, port), self._inner, self._inner_tls)

    def _record(self, worker: str, outer: Path, inner: Path) -> tuple[str, str]:
        """Return the routes of a call: that of the worker's requests, and that of the telephone's."""
        to_telephone = outer.transport, *outer.peer
        inside, outside = self._local(inner, to_worker=True), self._local(outer, to_worker=False)
        return (
            self._routes.uri(Way(WORKER, worker, *to_telephone), inside, inner.transport),
            self._routes.uri(Way(TELEPHONE, worker, *to_telephone), outside, outer.transport),
        )

    def _local(self, onward: Path, *, to_worker: bool) -> Place:
        """Return our address as the other end of a path knows it."""
        return self.line.paths.local_to(onward.peer) if to_worker else self.line.place(onward)
