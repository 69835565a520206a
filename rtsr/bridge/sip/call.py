"""One call of SIP while it lasts: its dialog, its leg, changes of the session, and its end. The event loop's."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InvalidSetting, PoolFull
from ..call import CallOptions
from ..log import log_event
from ..rtp_legs import LONGEST_NAME, RtpLeg
from . import session_timer
from .bridge_line import BridgeLine
from .dialog import ALLOW, Dialog
from .message import Request, Response, answer
from .path import Path
from .sdp import Description, Section, Voice, choose, read
from .session_timer import Interval, TooShort
from .settings import LEAST_SESSION_S
from .transactions import ServerTransaction, Timers

SDP = "application/sdp"
TRIES = 2  # of a refresh before the call ends
Headers = list[tuple[str, str]]


def offered(message: Request | Response) -> list[Section]:
    """Return the media sections of a message, none where it has no body; raises `InvalidSetting`."""
    if not message.body:
        return []
    if message.get("content-type").partition(";")[0].strip().lower() != SDP:
        raise InvalidSetting(f"expected {SDP}")
    return read(message.body)


class SipCall:
    """A call that was answered. It ends once, by BYE of either side, or with its leg."""

    def __init__(self, line: BridgeLine, dialog: Dialog, leg: RtpLeg, description: Description) -> None:
        self.line, self.dialog, self.leg, self.description = line, dialog, leg, description
        self.voice: Voice | None = None  # None until the answer has come
        self.ended = False
        self._changing = False  # an INVITE or UPDATE of ours is not answered
        self._answering: ServerTransaction | None = None  # an INVITE of the peer's that is not acknowledged
        self._awaits_answer = False  # our last 2xx held an offer
        self._interval: Interval | None = None
        self._failures = 0
        self._peer_allows = set[str]()
        self._timers = Timers()
        line.by_dialog[dialog.key] = self

    def join(self, voice: Voice, name: str, host: str) -> None:
        """Let the leg of a telephone at a host into its room.

        Raises `PoolFull` and `InvalidSetting`, and then the leg is released.
        """
        try:
            self.line.connect(self.leg, voice, host, self.description)
        except InvalidSetting:
            self.line.legs.release(self.leg)
            raise
        self.leg.on_close = self._closed
        call = self.line.legs.join(self.leg, CallOptions(kind="sip", name=name[:LONGEST_NAME]))
        self.voice = voice
        if not voice.events:
            call.leg.deliver_event = None
        log_event("sip call", call=call.id, room=call.leg.room, codec=voice.types.codec, srtp=voice.crypto is not None)

    def watch(self, message: Request | Response, interval: Interval) -> None:
        """Refresh the session, or expect that, from now on."""
        self._peer_allows = message.names("allow") or self._peer_allows
        self._interval = interval
        self._timers.set("session", interval.act_s, self._act)

    def _act(self) -> None:
        if self._interval and self._interval.ours:
            self.line.start(self._refresh())
        else:
            self.end("its session was not refreshed")

    async def _refresh(self) -> None:
        assert self._interval
        headers = session_timer.asked(self._interval.seconds)
        headers[0] = (headers[0][0], f"{headers[0][1]};refresher=uac")
        if "update" in self._peer_allows:
            response = await self.line.ask(self.dialog, "UPDATE", headers)
        elif self.voice and not self._changing:
            self._changing = True
            body = self.description.offer([self.voice.types])
            response = await self.line.ask(self.dialog, "INVITE", headers, body)
            self._changing = False
        else:
            response = answer(self.dialog.request("UPDATE"), 491)
        if self.ended:
            return
        if 200 <= response.status < 300:
            self._failures = 0
            granted = session_timer.granted(response, self._interval.seconds)
            self.watch(response, granted)
        elif response.status in (408, 481) or self._failures >= TRIES:
            self.end(f"its session could not be refreshed: {response.status}")
        else:
            self._failures += 1
            self._timers.set("session", self._interval.act_s / 4, self._act)

    def take(self, request: Request, path: Path) -> None:
        """Take a request within the dialog."""
        transaction = self.line.transactions.serve(request, self.line.reply_path(request, path))
        if transaction is None:
            return
        if not self.dialog.takes(request):
            transaction.respond(answer(request, 500))
        elif request.method == "BYE":
            transaction.respond(answer(request, 200))
            self._over("the telephone has hung up")
        elif request.method in ("INVITE", "UPDATE"):
            self._change(request, path, transaction)
        elif request.method == "OPTIONS":
            transaction.respond(answer(request, 200, [("allow", ALLOW), ("accept", SDP)]))
        else:
            transaction.respond(answer(request, 405, [("allow", ALLOW)]))

    def _change(self, request: Request, path: Path, transaction: ServerTransaction) -> None:
        """Answer an offer within the call: hold, another address, or only a refresh."""
        if self._changing or self._answering:
            transaction.respond(answer(request, 491))
            return
        try:
            interval, headers = session_timer.taken(request, self.line.settings.session_s)
            body = self._answer_of(request, path)
        except TooShort:
            least = str(LEAST_SESSION_S)
            transaction.respond(answer(request, 422, [(session_timer.LEAST, least)]))
            return
        except InvalidSetting as error:
            log_event("sip offer refused", call=self.leg.call_id, why=error)
            transaction.respond(answer(request, 488))
            return
        if contact := request.contact:
            self.dialog.target = contact.uri
        self.watch(request, interval)
        self.accept(transaction, headers, body)

    def _answer_of(self, request: Request, path: Path) -> bytes:
        """Return the SDP of our answer, and follow the offer; raises `InvalidSetting`."""
        sections = offered(request)
        if not sections:
            if request.method == "UPDATE" or self.voice is None:
                return b""
            self._awaits_answer = True
            return self.description.offer([self.voice.types])
        if self.voice is None:
            raise InvalidSetting("expected the answer to our offer first")
        voice = self._same_codec(sections)
        self.line.connect(self.leg, voice, self.line.origin(request, path), self.description)
        self.voice = voice
        return self.description.answer(sections, voice)

    def _same_codec(self, sections: Sequence[Section]) -> Voice:
        """Return the voice in the codec that the call has; raises `InvalidSetting`."""
        assert self.voice
        voice = choose(sections, (self.voice.types.codec,))
        if (voice.crypto is None) != (self.voice.crypto is None):
            raise InvalidSetting("expected SRTP as before")
        return voice

    def accept(self, transaction: ServerTransaction, headers: Headers, body: bytes) -> None:
        """Answer an INVITE or UPDATE with 200; ends the call where no ACK comes."""
        request = transaction.request
        if request.method == "INVITE":
            self._answering = transaction
            transaction.on_lost = self._not_acknowledged
        more = [("contact", self.dialog.contact), ("allow", ALLOW), ("supported", "timer"), *headers]
        more += [("record-route", value) for value in request.all("record-route")]
        transaction.respond(answer(request, 200, more, body, tag=self.dialog.local.tag))

    def _not_acknowledged(self) -> None:
        self._answering = None
        self.end("its answer was not acknowledged")

    def acknowledge(self, request: Request, path: Path) -> None:
        """Take the ACK of our answer; it may hold the answer to our offer."""
        answering, self._answering = self._answering, None
        if answering is None or answering.request.sequence[0] != request.sequence[0]:
            self._answering = answering
            return
        answering.acknowledge()
        if not self._awaits_answer:
            return
        self._awaits_answer = False
        try:
            self._take_answer(request, path)
        except (InvalidSetting, PoolFull) as error:
            self.end(f"no audio was agreed on: {error}")

    def _take_answer(self, request: Request, path: Path) -> None:
        sections, host = offered(request), self.line.origin(request, path)
        if self.voice is not None:
            voice = self._same_codec(sections)
            self.line.connect(self.leg, voice, host, self.description)
            self.voice = voice
        else:
            self.join(choose(sections, self.line.settings.codecs), self.dialog.remote.name, host)

    def await_answer(self) -> None:
        """Expect the answer to our offer in the ACK."""
        self._awaits_answer = True

    def hang_up(self) -> None:
        """End the call as the bridge does."""
        self.end("hung up")

    def end(self, why: str) -> None:
        """End the call and say BYE."""
        if self.ended:
            return
        self._say_bye()
        self._over(why)

    def _closed(self) -> None:
        """Say BYE where the leg was ended by others."""
        if not self.ended:
            self._say_bye()
            self._over("the leg has ended")

    def _say_bye(self) -> None:
        self.line.start(self.line.ask(self.dialog, "BYE"))

    def _over(self, why: str) -> None:
        """Leave nothing of the call."""
        self.ended = True
        self._timers.clear()
        if self._answering:
            self._answering.acknowledge()  # nobody waits for that answer any more
        self.line.by_dialog.pop(self.dialog.key, None)
        if self.leg.session is None:
            self.line.legs.release(self.leg)
        self.line.calls.end(self.leg.call_id, why)
