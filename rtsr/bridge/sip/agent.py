"""OPEN FIRST. The telephones' side of the bridge: requests come in, calls go into rooms (RFC 3261). The event loop's.

socket ──► paths ──► message ──► agent ──► call (dialog, leg, session timer) ──► rtp_legs ──► room
                                   └─► transactions: what is sent again
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from ...errors import InvalidSetting, PoolFull, UnknownName
from ..calls import Calls
from ..config import BridgeSettings
from ..log import log_event
from ..rtp import PayloadTypes
from ..rtp_legs import RtpLegs
from . import session_timer
from .bridge_line import BridgeLine
from .call import SDP, SipCall, offered
from .dialog import ALLOW, new_tag, of_request
from .message import Request, answer
from .path import Path
from .registration import Registration
from .sdp import choose
from .session_timer import TooShort
from .settings import LEAST_SESSION_S, SipSettings
from .transactions import ServerTransaction

RETRY_AFTER = ("retry-after", "10")
BYE_S = 1.0  # that calls have to be hung up when the bridge ends


class SipAgent:
    """One table [[bridge.sip]]: takes calls, and knows the line that calls are made from."""

    def __init__(self, settings: SipSettings, bridge: BridgeSettings, calls: Calls, legs: RtpLegs) -> None:
        self.line = BridgeLine(settings, bridge, calls, legs, self.take)
        self.registration = Registration(self.line) if settings.register else None

    async def open(self) -> None:
        """Listen, and register; raises `InvalidSetting` where the bridge cannot listen."""
        await self.line.open()
        if self.registration:
            self.registration.start()

    def renewed(self, settings: SipSettings) -> Callable[[], None]:
        """Return what takes the certificates and passwords of settings; raises `InvalidSetting` for those of no use."""
        renew = self.line.renewed(settings)

        def take() -> None:
            old = self.line.settings.password
            renew()
            if self.registration and self.line.is_open and self.line.settings.password != old:
                self.registration.start()

        return take

    async def close(self) -> None:
        """End what there is, and take nothing any more; one that was not opened is no error."""
        if not self.line.is_open:
            return
        for call in list(self.line.by_dialog.values()):
            call.hang_up()
        if self.registration:
            await self.registration.stop()
        await self.line.close(BYE_S)

    def take(self, request: Request, path: Path) -> None:
        """Take a request."""
        line = self.line
        if request.method == "ACK":
            self._take_ack(request, path)
        elif known := line.transactions.find(request):
            known.repeat()
        elif request.method == "CANCEL":
            self._cancel(request, path)
        elif request.recipient.tag:
            if call := line.call_of(request):
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

    def _take_ack(self, request: Request, path: Path) -> None:
        """Take the ACK of a refusal, which is of its transaction, or of a 2xx, which is of its dialog."""
        known = self.line.transactions.find(request, "INVITE")
        if known and known.response and known.response.status >= 300:
            known.acknowledge()
        elif call := self.line.call_of(request):
            call.acknowledge(request, path)

    def _cancel(self, request: Request, path: Path) -> None:
        known = self.line.transactions.find(request, "INVITE")
        self.line.respond(request, path, 200 if known else 481, tag=new_tag())
        if known and not (known.response and known.response.is_final):
            known.cancelled = True
            known.respond(answer(known.request, 487, tag=new_tag()))

    def _take_invite(self, request: Request, path: Path) -> None:
        """Begin a call, if the caller may."""
        if challenge := self.line.challenge(request, path):
            self.line.respond(request, path, 401, challenge, tag=new_tag())
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
            log_event("sip refused", name=self.line.settings.name, why=error)
            status, headers = 503, [RETRY_AFTER]
        except UnknownName as error:
            log_event("sip refused", name=self.line.settings.name, why=error)
            status = 404
        except InvalidSetting as error:
            log_event("sip refused", name=self.line.settings.name, why=error)
            status = 488
        except ValueError:
            status = 400
        if status != 200:
            transaction.respond(answer(transaction.request, status, headers, tag=new_tag()))

    async def _accept(self, transaction: ServerTransaction, path: Path) -> None:
        """Let a caller in; raises what says why not."""
        request, line, settings = transaction.request, self.line, self.line.settings
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
        host = line.origin(request, path)
        leg = await line.legs.bind(room, line.sources(voice, host), types, ends_with_bye=False)
        if transaction.cancelled:
            line.legs.release(leg)
            return
        description = line.describe(leg, host, secrets.randbits(31))
        call = SipCall(line, dialog, leg, description)
        if voice:
            description.crypto = voice.crypto.answer() if voice.crypto else None
            call.join(voice, name_of(request), host)
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
