"""A line whose calls are the bridge's own: their dialogs, and where our media are and theirs may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from ...errors import InvalidSetting
from ..calls import Calls
from ..config import BridgeSettings, Network, address, is_loopback, networks
from ..limits import AddressPolicy
from ..rtp_legs import RtpLeg, RtpLegs
from ..srtp import Srtp
from .dialog import Dialog, Key, path_of
from .line import Line
from .message import Request, Response, answer
from .path import Path
from .sdp import Description, Voice
from .settings import SipSettings

ANY = ("0.0.0.0", "::")


class InDialog(Protocol):
    """A call, as the line knows it."""

    def take(self, request: Request, path: Path) -> None:
        """Take a request of the peer's."""

    def acknowledge(self, request: Request, path: Path) -> None:
        """Take the ACK of an answer."""

    def hang_up(self) -> None:
        """End it."""


class BridgeLine(Line):
    """A line of a bridge. Everything is the event loop's."""

    def __init__(
        self,
        settings: SipSettings,
        bridge: BridgeSettings,
        calls: Calls,
        legs: RtpLegs,
        take: Callable[[Request, Path], None],
    ) -> None:
        super().__init__(settings, take, calls.media.faults)
        self.bridge, self.calls, self.legs = bridge, calls, legs
        self.by_dialog: dict[Key, InDialog] = {}
        host, _ = address(settings.listen, "listen")
        self._policy = AddressPolicy(loopback=is_loopback(host), private=bridge.private_peers)

    def call_of(self, request: Request) -> InDialog | None:
        """Return the call that a request of a peer's is about."""
        return self.by_dialog.get((request.call_id, request.recipient.tag, request.sender.tag))

    def describe(self, leg: RtpLeg, peer: str, number: int) -> Description:
        """Return our side of a session with a host."""
        host, port = leg.endpoint.place
        if self.settings.advertise:
            host = self.settings.advertise
        elif host in ANY:
            host = self.paths.local_to((peer, 1))[0]
        return Description((host, port), self.bridge.packet_ms, number, recorded=self.calls.recorder.records(leg.room))

    def sources(self, voice: Voice | None, host: str) -> tuple[Network, ...]:
        """Return who may send audio to a call: who its SDP and its signalling name, and those of the settings."""
        hosts = {host} | ({voice.place[0]} if voice and voice.place[0] not in ANY else set())
        return networks(hosts, "SDP") + networks(self.bridge.rtp_sources, "rtp_sources")

    def connect(self, leg: RtpLeg, voice: Voice, host: str, description: Description) -> None:
        """Let a leg follow what was agreed on; raises `InvalidSetting` for an address that we do not send to."""
        endpoint = leg.endpoint
        on_hold = voice.place[0] in ANY
        if not on_hold and not self._policy.admits(*voice.place):
            raise InvalidSetting(f"we send no audio to {voice.place[0]}:{voice.place[1]}")
        endpoint.types = voice.types
        description.recorded = self.calls.recorder.records(leg.room)
        endpoint.latch.allowed = self.sources(voice, host)
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
