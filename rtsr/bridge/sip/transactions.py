"""Transactions: what is sent again, what is answered again, and for how long (RFC 3261, section 17; RFC 6026).

Everything is the event loop's. Timers have the names that the RFC gives them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from .message import Request, Response, answer
from .path import Path

T1, T2, T4 = 0.5, 4.0, 5.0
LONGEST_S = 64 * T1  # timers B, F, H and J
MOST = 4_096  # transactions of either side
COOKIE = "z9hG4bK"

Key = tuple[str, str, str]  # branch, who sent it, method


def new_branch() -> str:
    """Return a branch that names one transaction."""
    return COOKIE + secrets.token_hex(8)


@dataclass(eq=False)
class Timers:
    """What is to happen later, and is forgotten all at once."""

    _handles: dict[str, asyncio.TimerHandle] = field(default_factory=dict)

    def set(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Act after some time; a timer of the same name is forgotten."""
        self.clear(name)
        self._handles[name] = asyncio.get_running_loop().call_later(seconds, act)

    def clear(self, *names: str) -> None:
        """Forget timers; without names, all."""
        for name in names or tuple(self._handles):
            if handle := self._handles.pop(name, None):
                handle.cancel()


class ServerTransaction:
    """A request that came, and what it was answered. `on_lost` is called where no ACK for a final answer comes."""

    def __init__(self, request: Request, path: Path, end: Callable[[], None]) -> None:
        self.request, self.path, self._end = request, path, end
        self.response: Response | None = None
        self.cancelled = False
        self.on_lost: Callable[[], None] | None = None
        self._data = b""
        self._timers = Timers()
        self._timers.set("J", 10 * LONGEST_S, self.end)  # who made it has forgotten to answer

    def respond(self, response: Response) -> None:
        """Send an answer, and again until it is acknowledged."""
        if self.response and self.response.is_final:
            return
        self.response, self._data = response, response.write()
        self.path.send(self._data)
        udp = self.path.transport == "udp"
        if not response.is_final:
            self._timers.set("J", 10 * LONGEST_S, self.end)
        elif self.request.method != "INVITE":
            self._timers.set("J", LONGEST_S if udp else 0, self.end)
        else:
            self._timers.set("J", LONGEST_S, self._lost)  # H; for 2xx as in section 13.3.1.4
            if udp or response.status < 300:  # a 2xx may have to go on over UDP
                self._again(T1)

    def pass_on(self, response: Response) -> None:
        """Send the answer of another, as a proxy does: a 2xx to INVITE comes again from who made it (RFC 6026)."""
        if self.request.method != "INVITE" or not 200 <= response.status < 300:
            self.respond(response)
            return
        self.response, self._data = response, b""
        self.path.send(response.write())
        self._timers.clear("G")
        self._timers.set("J", LONGEST_S, self.end)

    def _again(self, seconds: float) -> None:  # timer G
        def send() -> None:
            self.path.send(self._data)
            self._again(min(2 * seconds, T2))

        self._timers.set("G", seconds, send)

    def repeat(self) -> None:
        """Answer a request that came again."""
        if self._data:
            self.path.send(self._data)

    def acknowledge(self) -> None:
        """Stop sending the final answer: its ACK has come."""
        self.on_lost = None
        self._timers.clear("G")
        self._timers.set("J", T4 if self.path.transport == "udp" else 0, self.end)

    def _lost(self) -> None:
        on_lost = self.on_lost
        self.end()
        if on_lost:
            on_lost()

    def end(self) -> None:
        """Forget it."""
        self.on_lost = None
        self._timers.clear()
        self._end()


class ClientTransaction:
    """A request of ours. `on_response` gets each answer once; 408 stands for none, 503 for a connection that is lost.

    After the final answer of an INVITE `on_response` gets 2xx again as often as they come: each is to be acknowledged.
    """

    def __init__(
        self,
        request: Request,
        path: Path,
        on_response: Callable[[Response], None],
        end: Callable[[], None],
        send_cancel: Callable[[], None],
    ) -> None:
        self.request, self.path, self._on_response, self._end = request, path, on_response, end
        self.provisional = self.done = False
        self._send_cancel = send_cancel
        self._cancelled = False
        self._data = request.write()
        self._ack = b""
        self._timers = Timers()
        self.path.send(self._data)
        self._timers.set("B", LONGEST_S, lambda: self._fail(408))
        if path.transport == "udp":
            self._again(T1)

    def _again(self, seconds: float) -> None:  # timers A and E
        def send() -> None:
            self.path.send(self._data)
            most = LONGEST_S if self.request.method == "INVITE" else T2
            self._again(min(2 * seconds, most))

        self._timers.set("A", seconds, send)

    def _fail(self, status: int) -> None:
        if not self.path.is_open:
            status = 503
        self.take(answer(self.request, status))

    def take(self, response: Response) -> None:
        """Take an answer."""
        invite = self.request.method == "INVITE"
        if self.done:
            if invite and response.status >= 300 and self._ack:
                self.path.send(self._ack)
            elif invite and 200 <= response.status < 300:
                self._on_response(response)
            return
        if not response.is_final:
            first, self.provisional = not self.provisional, True
            if invite and first:
                self._timers.clear()  # who called says how long it may ring
            if first and self._cancelled:
                self.cancel()
            self._on_response(response)
            return
        self.done = True
        self._timers.clear()
        linger_s = LONGEST_S if invite else T4
        self._timers.set("B", linger_s if self.path.transport == "udp" else 0, self.end)  # D, K, M
        if invite and response.status >= 300:
            self._ack = ack_of(self.request, response).write()
            self.path.send(self._ack)
        self._on_response(response)

    def expire(self, seconds: float) -> None:
        """Give up after some time, as after a CANCEL that nobody answers."""
        self._timers.set("B", seconds, lambda: self._fail(408))

    def cancel(self) -> None:
        """Send CANCEL for an INVITE; before a provisional answer came, as soon as one comes (section 9.1)."""
        self._cancelled = True
        if self.provisional and not self.done:
            self._send_cancel()
            self.expire(LONGEST_S)

    def end(self) -> None:
        """Forget it."""
        self._timers.clear()
        self._end()


def ack_of(request: Request, response: Response) -> Request:
    """Return the ACK of an answer that is no 2xx; it is of the same transaction (RFC 3261, section 17.1.1.3)."""
    kept = [(name, value) for name, value in request.headers if name in ("via", "from", "call-id", "route")]
    more = [("to", response.get("to")), ("cseq", f"{request.sequence[0]} ACK"), ("max-forwards", "70")]
    return Request([*kept, *more], b"", "ACK", request.uri)


def cancel_of(request: Request) -> Request:
    """Return the CANCEL of an INVITE (section 9.1)."""
    kept = [(name, value) for name, value in request.headers if name in ("via", "from", "to", "call-id", "route")]
    return Request(
        [*kept, ("cseq", f"{request.sequence[0]} CANCEL"), ("max-forwards", "70")], b"", "CANCEL", request.uri
    )


class Transactions:
    """All of them, at most `MOST` of either side."""

    def __init__(self) -> None:
        self.server: dict[Key, ServerTransaction] = {}
        self.client: dict[tuple[str, str], ClientTransaction] = {}

    @staticmethod
    def key_of(request: Request, method: str) -> Key:
        """Return what a request and what belongs to it have in common (section 17.2.3)."""
        via = request.via
        return via.branch, f"{via.host}:{via.port}", method

    def find(self, request: Request, method: str | None = None) -> ServerTransaction | None:
        """Return the transaction of a request that came again, or that an ACK or a CANCEL is about."""
        return self.server.get(self.key_of(request, method or request.method))

    def serve(self, request: Request, path: Path) -> ServerTransaction | None:
        """Begin the transaction of a request; None where there are too many."""
        if len(self.server) >= MOST:
            return None
        key = self.key_of(request, request.method)
        self.server[key] = one = ServerTransaction(request, path, lambda: self._forget(key))
        return one

    def _forget(self, key: Key) -> None:
        self.server.pop(key, None)

    def begin(self, request: Request, path: Path, on_response: Callable[[Response], None]) -> ClientTransaction | None:
        """Send a request; None where there are too many."""
        if len(self.client) >= MOST:
            return None
        key = request.via.branch, request.method

        def forget() -> None:
            self.client.pop(key, None)

        def send_cancel() -> None:
            self.begin(cancel_of(request), path, lambda _: None)

        self.client[key] = one = ClientTransaction(request, path, on_response, forget, send_cancel)
        return one

    async def ask(self, request: Request, path: Path) -> Response:
        """Send a request that is no INVITE and return its final answer; 408 where there is none."""
        final: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def take(response: Response) -> None:
            if response.is_final and not final.done():
                final.set_result(response)

        return await final if self.begin(request, path, take) else answer(request, 503)

    def take_response(self, response: Response) -> None:
        """Hand an answer to the request that it is about; nobody's is ignored."""
        one = self.client.get((response.via.branch, response.sequence[1]))
        if one:
            one.take(response)

    def close(self) -> None:
        """Forget all."""
        for asked in list(self.server.values()):
            asked.end()
        for asking in list(self.client.values()):
            asking.end()
