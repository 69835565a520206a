"""What all calls of one listening address share: its sockets, its transactions, and where our own media are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from ...errors import InvalidSetting
from ..calls import Calls
from ..config import BridgeSettings, Network, address, is_loopback, networks
from ..limits import AddressPolicy
from ..rtp_legs import RtpLeg, RtpLegs
from ..srtp import Srtp
from ..tasks import Tasks
from .dialog import Dialog, Key, path_of
from .digest import credentials
from .message import Request, Response, answer
from .paths import Path, Paths, Place, UdpPath
from .sdp import Description, Voice
from .settings import SipSettings
from .transactions import Transactions

ANY = ("0.0.0.0", "::")
log = logging.getLogger("rtsr.bridge")


class InDialog(Protocol):
    """A call, as the line knows it."""

    def take(self, request: Request, path: Path) -> None:
        """Take a request of the peer's."""

    def acknowledge(self, request: Request) -> None:
        """Take the ACK of an answer."""

    def hang_up(self) -> None:
        """End it."""


class Line:
    """One listening address. Everything is the event loop's."""

    def __init__(self, settings: SipSettings, bridge: BridgeSettings, calls: Calls, legs: RtpLegs) -> None:
        self.settings, self.bridge, self.calls, self.legs = settings, bridge, calls, legs
        self.allowed = networks(settings.sources, "sources")  # who may call, beside the server
        self.transactions = Transactions()
        self.by_dialog: dict[Key, InDialog] = {}
        self.servers: tuple[str, ...] = ()  # the addresses of the server, once they were looked up
        host, _ = address(settings.listen, "listen")
        self._policy = AddressPolicy(loopback=is_loopback(host), private=bridge.private_peers)
        self._tasks = Tasks("SIP")
        self.paths: Paths  # set when it is opened

    @property
    def trusted(self) -> tuple[Network, ...]:
        """Whose word on where we send to is believed."""
        return self.allowed + networks(self.servers, "server")

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let a coroutine run; what it raises is logged."""
        self._tasks.start(work)

    async def finish(self, limit_s: float) -> None:
        """Wait for what runs, within a limit, and end the rest."""
        await self._tasks.finish(limit_s)

    def respond(
        self, request: Request, path: Path, status: int, headers: Iterable[tuple[str, str]] = (), *, tag: str = ""
    ) -> None:
        """Answer without a transaction."""
        self.reply_path(request, path).send(answer(request, status, headers, tag=tag).write())

    def reply_path(self, request: Request, path: Path) -> Path:
        """Return where answers go: to where a request came from (RFC 3581), by its own port where it wants that."""
        via = request.via
        if isinstance(path, UdpPath) and "rport" not in via.params:
            return path.at((path.peer[0], via.port or 5060))
        return path

    def place(self, path: Path) -> Place:
        """Return where the peer of a path reaches our signalling."""
        host, port = self.paths.local_to(path.peer)
        return self.settings.advertise or host, port

    def describe(self, leg: RtpLeg, path: Path, number: int) -> Description:
        """Return our side of a session."""
        host, port = leg.endpoint.place
        if self.settings.advertise:
            host = self.settings.advertise
        elif host in ANY:
            host = self.paths.local_to(path.peer)[0]
        return Description((host, port), self.bridge.packet_ms, number, recorded=self.calls.recorder.records(leg.room))

    def sources(self, voice: Voice | None, path: Path) -> tuple[Network, ...]:
        """Return who may send audio to a call: who its SDP and its signalling name, and those of the settings."""
        hosts = {path.peer[0]} | ({voice.place[0]} if voice and voice.place[0] not in ANY else set())
        return networks(hosts, "SDP") + networks(self.bridge.rtp_sources, "rtp_sources")

    def connect(self, leg: RtpLeg, voice: Voice, path: Path, description: Description) -> None:
        """Let a leg follow what was agreed on; raises `InvalidSetting` for an address that we do not send to."""
        endpoint = leg.endpoint
        on_hold = voice.place[0] in ANY
        if not on_hold and not self._policy.admits(*voice.place):
            raise InvalidSetting(f"we send no audio to {voice.place[0]}:{voice.place[1]}")
        endpoint.types = voice.types
        description.recorded = self.calls.recorder.records(leg.room)
        endpoint.latch.allowed = self.sources(voice, path)
        if voice.crypto and description.crypto:
            endpoint.srtp = Srtp(description.crypto, voice.crypto)
        if not on_hold:
            endpoint.latch.forget()
            endpoint.aim(voice.place)
        endpoint.sends, leg.may_be_silent = voice.peer_listens, not voice.peer_speaks

    async def ask(
        self, dialog: Dialog, method: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Response:
        """Send a request within a dialog, with our credentials if they are asked for, and return its final answer."""
        headers = list(headers)
        for again in (False, True):
            request = dialog.request(method, headers, body)
            try:
                path = await path_of(dialog, self.paths, self.trusted)
            except OSError:
                return answer(request, 503)
            if method == "INVITE":
                response = await self._invite_again(dialog, request, path)
            else:
                response = await self.transactions.ask(request, path)
            header = None if again else self.credentials(request, response)
            if header is None:
                break
            headers.append(header)
        return response

    async def _invite_again(self, dialog: Dialog, request: Request, path: Path) -> Response:
        final: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def take(response: Response) -> None:
            if 200 <= response.status < 300:
                path.send(dialog.request("ACK", number=request.sequence[0]).write())
            if response.is_final and not final.done():
                final.set_result(response)

        return await final if self.transactions.begin(request, path, take) else answer(request, 503)

    def credentials(self, request: Request, response: Response) -> tuple[str, str] | None:
        """Return the header that answers a 401 or 407, if we can."""
        settings = self.settings
        if response.status not in (401, 407) or settings.username is None or settings.password is None:
            return None
        return credentials(response, request.method, str(request.uri), settings.username, settings.password)
