"""Calls that the bridge makes: INVITE, and CANCEL where nobody waits for the answer any more. The event loop's."""

from __future__ import annotations

import asyncio
import re
import secrets

from ...errors import CallRefused, InvalidSetting, PoolFull
from ..call import Call
from ..config import contains
from ..log import log_event
from ..rtp import PayloadTypes
from ..rtp_legs import RtpLeg
from ..srtp import SUITES, Crypto
from . import session_timer
from .bridge_line import BridgeLine
from .call import SipCall, offered
from .dialog import Dialog, bracketed, new_tag, of_response, path_of
from .fields import NameAddress, Uri
from .message import Request, Response
from .path import Path, Place
from .sdp import Description, choose

NUMBER = re.compile(r"[0-9A-Za-z+*#._~-]{1,64}")
SUITE = "AES_CM_128_HMAC_SHA1_80"  # that everybody has (RFC 4568, section 6.2)


async def dial(line: BridgeLine, room: str, to: str, name: str) -> Call:
    """Call a number or a SIP URI, and let who answers into a room.

    Raises `CallRefused`, `PoolFull` and `InvalidSetting`. Where the caller is cancelled, so is the call.
    """
    settings = line.settings
    uri, place = _target(line, to)
    try:
        path = await line.paths.to(settings.first_hop(place), settings.transport)
    except OSError as error:
        raise CallRefused(503, str(error)) from error
    host, types = path.peer[0], PayloadTypes.of(settings.codecs[0])
    leg = await line.legs.bind(room, line.sources(None, host), types, ends_with_bye=False)
    try:
        description = line.describe(leg, host, secrets.randbits(31))
        if settings.srtp:
            description.crypto = Crypto(SUITE, secrets.token_bytes(SUITES[SUITE][1]))
        invite = Invite(line, _begin(line, uri, path), path)
        response = await invite.ask(description.offer([PayloadTypes.of(codec) for codec in settings.codecs]))
    except BaseException:
        line.legs.release(leg)
        raise
    return _join(line, invite, response, leg, description, name or uri.number)


def _join(
    line: BridgeLine, invite: Invite, response: Response, leg: RtpLeg, description: Description, name: str
) -> Call:
    """Let who answered into the room, or hang up where that cannot be."""
    assert invite.dialog
    call = SipCall(line, invite.dialog, leg, description)
    try:
        voice = choose(offered(response), line.settings.codecs)
        if (voice.crypto is None) != (description.crypto is None):
            raise InvalidSetting("expected SRTP in the answer where it was offered, and only there")
        call.join(voice, name, invite.path.peer[0])
    except InvalidSetting as error:
        call.end(str(error))
        raise CallRefused(488, str(error)) from error
    except PoolFull as error:
        call.end(str(error))
        raise
    call.watch(response, session_timer.granted(response, line.settings.session_s))
    return line.calls.by_id[leg.call_id]


def _target(line: BridgeLine, to: str) -> tuple[Uri, Place]:
    """Return whom to call, and where the call goes; raises `InvalidSetting`."""
    settings = line.settings
    try:
        uri = Uri.read(to) if ":" in to else Uri("sip", to if NUMBER.fullmatch(to) else "", settings.own_domain or "")
    except ValueError:
        uri = Uri("sip", "", "")
    if not uri.number or not uri.host or len(to) > 256 or not to.isascii():
        raise InvalidSetting("to: expected a number and a server in the settings, or sip:NUMBER@HOST")
    if settings.server is not None:
        return uri, settings.server_place
    if not contains(line.trusted, uri.place[0]):
        raise InvalidSetting(f"to: expected an address among sources, got {uri.host}; or set a server")
    return uri, uri.place


def _begin(line: BridgeLine, uri: Uri, path: Path) -> Dialog:
    """Return what the dialog is before it is one."""
    place, settings = line.place(path), line.settings
    host = settings.own_domain or bracketed(place[0])
    local = NameAddress(Uri("sip", settings.username or "rtsr", host), "", {"tag": new_tag()})
    return Dialog(secrets.token_hex(16), local, NameAddress(uri), uri, settings.first_route, path, place)


class Invite:
    """One call that is being made. `dialog` is there once it was answered."""

    def __init__(self, line: BridgeLine, begun: Dialog, path: Path) -> None:
        self.path = path
        self.dialog: Dialog | None = None
        self._line, self._begun = line, begun
        self._ack: tuple[Path, bytes] | None = None

    async def ask(self, body: bytes) -> Response:
        """Return the 2xx; raises `CallRefused`."""
        settings, headers = self._line.settings, session_timer.asked(self._line.settings.session_s)
        for again in (False, True):
            request = self._begun.request("INVITE", headers, body)
            response = await self._try(request, settings.ring_s)
            header = None if again else self._line.credentials(request, response)
            if header is None:
                break
            headers.append(header)
        if response.status >= 300:
            raise CallRefused(response.status, response.reason)
        self.dialog = of_response(request, response, self.path, self._begun.place)
        await self._acknowledge(request, self.dialog)
        return response

    async def _try(self, request: Request, limit_s: float) -> Response:
        """Send one INVITE and return its final answer; raises `CallRefused` where there is none in time."""
        final: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def take(response: Response) -> None:
            if response.is_final and not final.done():
                final.set_result(response)
            elif 200 <= response.status < 300:
                self._take_again(request, response)

        transaction = self._line.transactions.begin(request, self.path, take)
        if transaction is None:
            raise CallRefused(503, "too many transactions")
        try:
            async with asyncio.timeout(limit_s):
                return await final
        except TimeoutError:
            raise CallRefused(408, f"nobody answered within {limit_s:g} s") from None
        finally:
            if final.cancelled() or not final.done():
                final.cancel()
                transaction.cancel()

    async def _acknowledge(self, request: Request, dialog: Dialog) -> None:
        try:
            path = await path_of(dialog, self._line.paths, self._line.trusted)
        except OSError as error:
            raise CallRefused(503, str(error)) from error
        self._ack = path, dialog.request("ACK", number=request.sequence[0]).write()
        path.send(self._ack[1])

    def _take_again(self, request: Request, response: Response) -> None:
        """Acknowledge a 2xx that came again; hang up on one that nobody waits for, or of another end (forking)."""
        if self.dialog and response.recipient.tag == self.dialog.remote.tag:
            if self._ack:
                self._ack[0].send(self._ack[1])
            return
        log_event("sip answered too late", name=self._line.settings.name)
        self._line.start(self._leave(request, of_response(request, response, self.path, self._begun.place)))

    async def _leave(self, request: Request, dialog: Dialog) -> None:
        path = await path_of(dialog, self._line.paths, self._line.trusted)
        path.send(dialog.request("ACK", number=request.sequence[0]).write())
        await self._line.ask(dialog, "BYE")
