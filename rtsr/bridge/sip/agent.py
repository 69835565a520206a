"""OPEN FIRST. The telephones' side of the bridge: requests come in, calls go into rooms (RFC 3261). The event loop's.

socket ──► paths ──► message ──► agent ──► call (dialog, leg, session timer) ──► rtp_legs ──► room
                                   └─► transactions: what is sent again
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace

from ...errors import InvalidSetting, PoolFull, UnknownName
from ..calls import Calls
from ..config import BridgeSettings, address, contains
from ..log import log_event
from ..rtp import PayloadTypes
from ..rtp_legs import RtpLegs
from ..tls import load_chain, server_context
from . import session_timer
from .call import SDP, SipCall, offered
from .dialog import ALLOW, new_tag, of_request
from .digest import Authenticator
from .line import Line
from .message import Request, answer, parse, received_from
from .paths import Path, Paths
from .registration import Registration
from .sdp import choose
from .session_timer import TooShort
from .settings import LEAST_SESSION_S, SECRETS, SipSettings
from .transactions import ServerTransaction

RETRY_AFTER = ("retry-after", "10")
BYE_S = 1.0  # that calls have to be hung up when the bridge ends


class SipAgent:
    """One table [[bridge.sip]]: takes calls, and knows the line that calls are made from."""

    def __init__(self, settings: SipSettings, bridge: BridgeSettings, calls: Calls, legs: RtpLegs) -> None:
        self.settings = settings
        self.line = Line(settings, bridge, calls, legs)
        self._authenticator = _authenticator(settings)
        self._server_tls, self._client_tls = _tls(settings)
        self.registration = Registration(self.line, self.look_up_server) if settings.register else None
        self._opened = False
        self._registering: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen; raises `InvalidSetting` where that cannot be."""
        settings, line = self.settings, self.line
        line.paths = Paths(settings.transport, self.take, self.admits, self._server_tls, self._client_tls)
        self._opened = True
        try:
            await self.look_up_server()
            await line.paths.open(address(settings.listen, "listen"))
        except OSError as error:
            raise InvalidSetting(f"sip: cannot listen on {settings.listen} ({error})") from error
        host, port = line.paths.place
        if self.registration:
            self._register()
        log_event("sip", name=settings.name, address=f"{host}:{port}", transport=settings.transport)

    def renewed(self, settings: SipSettings) -> Callable[[], None]:
        """Return what takes the certificates and passwords of settings; raises `InvalidSetting` for those of no use.

        Who is connected stays so, and is asked for a new password with the next call.
        """
        new = replace(self.settings, **{name: getattr(settings, name) for name in SECRETS})
        _, client = _tls(new)

        def take() -> None:
            registers_anew = self._registering is not None and new.password != self.settings.password
            self.settings = self.line.settings = new
            self._authenticator = _authenticator(new)
            if self._opened:
                self.line.paths.client_tls = client
            if self._server_tls and new.tls_cert and new.tls_key:
                load_chain(self._server_tls, new.tls_cert, new.tls_key)  # its server cannot be given another context
            if registers_anew:
                self._register()

        return take

    def _register(self) -> None:
        """Keep us registered from now on, with the password of now."""
        assert self.registration
        if self._registering:
            self._registering.cancel()
        self._registering = asyncio.ensure_future(self.registration.run())

    async def look_up_server(self) -> None:
        """Note the addresses of the server; one that cannot be looked up now may be later."""
        if self.settings.server is None:
            return
        loop, place = asyncio.get_running_loop(), self.settings.server_place
        try:
            found = await loop.getaddrinfo(*place, type=socket.SOCK_DGRAM)
        except OSError as error:
            log_event("sip server not found", name=self.settings.name, server=place[0], why=error)
            return
        self.line.servers = tuple({str(one[4][0]) for one in found})

    async def close(self) -> None:
        """End what there is, and take nothing any more; one that was not opened is no error."""
        if not self._opened:
            return
        for call in list(self.line.by_dialog.values()):
            call.hang_up()
        if self.registration and self._registering:
            self._registering.cancel()
            await asyncio.wait([self._registering])
            await self.registration.leave()
        await self.line.finish(BYE_S)
        self.line.transactions.close()
        await self.line.paths.close()

    def admits(self, host: str) -> bool:
        """Whether a host may send anything: a source or the server; without sources anyone, where accounts say who."""
        if host in self.line.servers:
            return True
        if not self.line.allowed:
            return self._authenticator is not None or self.settings.server is None
        return contains(self.line.allowed, host)

    def take(self, data: bytes, path: Path) -> None:
        """Take a message; what is none is ignored."""
        message = parse(data)
        with self.line.calls.media.faults.survived("sip", "a message could not be dealt with"):
            if isinstance(message, Request):
                self._take_request(received_from(message, path.peer), path)
            elif message is not None:
                self.line.transactions.take_response(message)
            else:
                self.line.paths.refused += 1

    def _take_request(self, request: Request, path: Path) -> None:
        line = self.line
        if request.method == "ACK":
            self._take_ack(request)
        elif known := line.transactions.find(request):
            known.repeat()
        elif request.method == "CANCEL":
            self._cancel(request, path)
        elif request.recipient.tag:
            call = line.by_dialog.get(_key(request))
            if call:
                call.take(request, path)
            else:
                line.respond(request, path, 481)
        elif request.method == "INVITE":
            self._take_invite(request, path)
        elif request.method == "OPTIONS":
            line.respond(request, path, 200, [("allow", ALLOW), ("accept", SDP)], tag=new_tag())
        elif request.method in ("BYE", "UPDATE"):
            line.respond(request, path, 481, tag=new_tag())
        else:
            line.respond(request, path, 405, [("allow", ALLOW)], tag=new_tag())

    def _take_ack(self, request: Request) -> None:
        """Take the ACK of a refusal, which is of its transaction, or of a 2xx, which is of its dialog."""
        known = self.line.transactions.find(request, "INVITE")
        if known and known.response and known.response.status >= 300:
            known.acknowledge()
        elif call := self.line.by_dialog.get(_key(request)):
            call.acknowledge(request)

    def _cancel(self, request: Request, path: Path) -> None:
        known = self.line.transactions.find(request, "INVITE")
        self.line.respond(request, path, 200 if known else 481, tag=new_tag())
        if known and not (known.response and known.response.is_final):
            known.cancelled = True
            known.respond(answer(known.request, 487, tag=new_tag()))

    def _take_invite(self, request: Request, path: Path) -> None:
        """Begin a call, if the caller may."""
        if self._authenticator and path.peer[0] not in self.line.servers:
            user, stale = self._authenticator.user_of(request)
            if user is None:
                self.line.respond(request, path, 401, self._authenticator.challenges(stale=stale), tag=new_tag())
                return
        transaction = self.line.transactions.serve(request, self.line.reply_path(request, path))
        if transaction is None:
            self.line.respond(request, path, 503, [RETRY_AFTER], tag=new_tag())
            return
        self.line.start(self._answer(transaction, path))

    async def _answer(self, transaction: ServerTransaction, path: Path) -> None:
        """Answer an INVITE, with 200 where there is room for the call."""
        status, headers = 200, list[tuple[str, str]]()
        try:
            await self._accept(transaction, path)
        except TooShort:
            status, headers = 422, [(session_timer.LEAST, str(LEAST_SESSION_S))]
        except PoolFull as error:
            log_event("sip refused", name=self.settings.name, why=error)
            status, headers = 503, [RETRY_AFTER]
        except UnknownName as error:
            log_event("sip refused", name=self.settings.name, why=error)
            status = 404
        except InvalidSetting as error:
            log_event("sip refused", name=self.settings.name, why=error)
            status = 488
        except ValueError:
            status = 400
        if status != 200:
            transaction.respond(answer(transaction.request, status, headers, tag=new_tag()))

    async def _accept(self, transaction: ServerTransaction, path: Path) -> None:
        """Let a caller in; raises what says why not."""
        request, line, settings = transaction.request, self.line, self.settings
        if unknown := request.names("require") - {"timer", "100rel"}:  # no answer of ours is a reliable provisional one
            transaction.respond(answer(request, 420, [("unsupported", ", ".join(sorted(unknown)))], tag=new_tag()))
            return
        room = settings.room_of(request.uri.number)
        if room is None:
            raise UnknownName("room for number", request.uri.number, settings.rooms)
        interval, headers = session_timer.taken(request, settings.session_s)
        dialog = of_request(request, new_tag(), path, line.place(path))
        sections = offered(request)
        voice = choose(sections, settings.codecs) if sections else None
        types = voice.types if voice else PayloadTypes.of(settings.codecs[0])
        leg = await line.legs.bind(room, line.sources(voice, path), types, ends_with_bye=False)
        if transaction.cancelled:
            line.legs.release(leg)
            return
        description = line.describe(leg, path, secrets.randbits(31))
        call = SipCall(line, dialog, leg, description)
        if voice:
            description.crypto = voice.crypto.answer() if voice.crypto else None
            call.join(voice, name_of(request), path)
            body = description.answer(sections, voice)
        else:
            call.await_answer()
            body = description.offer([PayloadTypes.of(codec) for codec in settings.codecs])
        call.watch(request, interval)
        call.accept(transaction, headers, body)


def name_of(request: Request) -> str:
    """Return what a room shows of a caller."""
    sender = request.sender
    return sender.name.encode("latin-1").decode("utf-8", "replace") or sender.uri.number or "telephone"


def _key(request: Request) -> tuple[str, str, str]:
    """Return the dialog that a request of the peer's is about."""
    return request.call_id, request.recipient.tag, request.sender.tag


def _authenticator(settings: SipSettings) -> Authenticator | None:
    return Authenticator(settings.realm, settings.accounts, settings.digest) if settings.accounts else None


def _tls(settings: SipSettings) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Return the contexts of those who connect to us, and of our connections; raises `InvalidSetting`."""
    try:
        client = ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSetting(f"sip: cannot use {settings.tls_ca}: {error}") from error
    if settings.tls_cert is not None and settings.tls_key is not None:
        load_chain(client, settings.tls_cert, settings.tls_key)
    return server_context(settings.tls_cert, settings.tls_key), client
