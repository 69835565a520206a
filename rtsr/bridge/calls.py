"""Who is in which room: calls come in while there is room for them, and leave nothing behind. The event loop's."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections import Counter
from functools import partial
from typing import Any

from aiohttp import web

from ..errors import InvalidSetting, PoolFull, RtsrError
from .call import Call, CallOptions
from .codec import CODECS
from .config import BridgeSettings, address, is_loopback
from .events import Event
from .gathering import Gathering
from .leg import Leg, Speaker
from .limits import AddressPolicy
from .log import log_event, log_json
from .media import MediaThread
from .mix import Delivery
from .offers import choose_codec
from .peer import Peer
from .recorder import Recorder
from .report import report_of
from .tasks import Tasks
from .webhook import Webhook

BUSY = 0.75  # share of the time that ticks may take: beyond it no call comes in
MOST_HUNG_UP = 1_000  # calls that are remembered, so that nobody continues them
REPORTS_S = 5.0  # that the last reports have to be delivered when the bridge ends
log = logging.getLogger("rtsr.bridge")


class Calls:
    """All calls of a bridge, at most `limit`; every method is the event loop's."""

    def __init__(self, media: MediaThread, settings: BridgeSettings, limit: int) -> None:
        self.media, self.settings, self.limit = media, settings, limit
        self.by_id: dict[str, Call] = {}
        host, _ = address(settings.listen, "listen")
        self._policy = AddressPolicy(loopback=is_loopback(host), private=settings.private_peers)
        self.ice_servers = settings.ice_servers()
        self._gathering = Gathering.of(settings, self.ice_servers)
        self.recorder = Recorder(settings, media.frames_per_s, media.faults)
        self.webhook = Webhook(settings.report_url) if settings.report_url else None
        self.draining = False
        self.hung_up: dict[str, str] = {}  # the last calls that were ended for good, and why
        self.opened = self.refused = 0
        self.past: Counter[str] = Counter()  # what calls that have ended counted, by part and name
        self.connect_ms: float | None = None  # of the last call: from offer to sound
        self._before_s = time.process_time()
        self._tasks = Tasks("a call")
        self._numbers = itertools.count(1)

    def deliver(self, packets: list[Delivery]) -> None:
        """Hand the packets of one tick to those who send them."""
        for leg, packet, stamp in packets:
            if leg.joined and leg.deliver is not None:  # it may have left since its packet was mixed
                with self.media.faults.survived("send", f"a packet could not be sent: call={leg.call}"):
                    leg.deliver(packet, stamp)

    def pass_event(self, sender: Leg, stamp: int, event: Event) -> None:
        """Hand a packet of a telephone event to the other legs of the room that take them."""
        for call in self.in_room(sender.room):
            leg = call.leg
            if leg is not sender and leg.deliver_event is not None and not (leg.hears_itself or sender.hears_itself):
                with self.media.faults.survived("send", f"an event could not be sent: call={call.id}"):
                    leg.deliver_event((sender.call, stamp), event.at_clock(sender.events.clock_hz, leg.events.clock_hz))

    def in_room(self, room: str) -> list[Call]:
        """Return the calls of a room."""
        return [call for call in self.by_id.values() if call.leg.room == room]

    @property
    def rooms(self) -> set[str]:
        """The rooms with at least one call."""
        return {call.leg.room for call in self.by_id.values()}

    @property
    def transport_s(self) -> float:
        """Processor time of this process since calls were possible, without the media's threads."""
        work = self.media.work
        return time.process_time() - self._before_s - work.thread_s - work.encoder_s

    def why_full(self) -> str:
        """Return why no more call comes in, or nothing."""
        if self.draining:
            return "the bridge is being shut down"
        if len(self.by_id) >= self.limit:
            return f"all {self.limit} calls that this machine carries are taken"
        load = self.media.load
        return f"the machine is busy: ticks take {100 * load:.0f} % of their time" if load > BUSY else ""

    def admit(self, room: str) -> None:
        """Raise `PoolFull`, with the reason, where one more call would be one too many."""
        reason = self.why_full()
        if not reason and len(self.in_room(room)) >= self.settings.peers:
            reason = f"room {room} is full with {self.settings.peers}"
        elif not reason and room not in self.rooms and len(self.rooms) >= self.settings.rooms:
            reason = f"all {self.settings.rooms} rooms are taken"
        if reason:
            self.refused += 1
            raise PoolFull(reason)

    def make_leg(self, call_id: str, room: str, codec: str, options: CallOptions) -> Leg:
        """Return a leg that is not joined yet."""
        speaker = None
        if options.speaks:
            least_s = self.settings.target_ms / 1000
            speaker = Speaker(codec, self.media.frames_per_s, narrow_hz=options.narrow_hz, least_s=least_s)
        return Leg(call_id, room, speaker, None, codec, hears_itself=options.echo, name=options.name)

    def new_id(self) -> str:
        """Return an id for a call that cannot be guessed."""
        return f"{next(self._numbers)}-{secrets.token_urlsafe(9)}"

    async def answer(self, room: str, sdp: str, options: CallOptions) -> tuple[Call, str]:
        """Let a peer in and return its call and the answer; raises `PoolFull` and `InvalidSetting`.

        A call that it replaces ends. The choices of who listens plain, by that call and to it, go on with this one.
        """
        old = self._replaced(room, options)
        if old is None:
            self.admit(room)
        codec = choose_codec(sdp)
        if options.narrow_hz is not None and CODECS[codec].rate <= options.narrow_hz:
            raise InvalidSetting(f"expected a codec that is wider than {options.narrow_hz} Hz, got {codec}")
        call_id = self.new_id()
        leg = self.make_leg(call_id, room, codec, options)
        if old is not None:
            self._give_way(old, leg)
        ended = partial(self.end, call_id)
        peer = Peer(codec, options.direction, self.settings.packet_ms, ended, self._policy, self._gathering)
        call = Call(call_id, options.kind, leg, peer.close, peer=peer, client=options.client)
        self.add(call)  # at once, so that as many as come at the same time are counted
        try:
            answer = await peer.answer(sdp)
            call.rtp = peer.media.begin(leg)
            call.out = peer.media if leg.deliver else None
        except BaseException:
            self.end(call_id, "its offer could not be answered")
            raise
        self.start(self._connect(call, peer))
        return call, answer

    def _replaced(self, room: str, options: CallOptions) -> Call | None:
        """Return the call that another continues, if it is still there; raises `InvalidSetting` where it may not."""
        mine = (call for call in self.in_room(room) if options.client and call.client == options.client)
        old = self.by_id.get(options.replaces) or next(mine, None)
        if old is not None and (old.leg.room != room or old.kind != options.kind):
            raise InvalidSetting(f"replaces: expected a call of this room, by the same kind of request, got {old.id}")
        return old

    def _give_way(self, old: Call, leg: Leg) -> None:
        """End a call for a new leg of the same peer, which is heard, and hears others, as the old one was."""
        if old.leg.speaker and leg.speaker:
            leg.speaker.bypass = old.leg.speaker.bypass
        leg.plain = old.leg.plain
        hear_it_plain = [call.leg for call in self.in_room(leg.room) if old.id in call.leg.plain]
        self.end(old.id, "its peer has called again")
        for other in hear_it_plain:
            other.plain |= {leg.call}

    def add(self, call: Call) -> None:
        """Note a call."""
        self.by_id[call.id] = call
        self.opened += 1
        log_event("arrived", call=call.id, room=call.leg.room, kind=call.kind, codec=call.leg.codec)

    async def _connect(self, call: Call, peer: Peer) -> None:
        """Let the leg into its room once it is connected, or end it."""
        try:
            await asyncio.wait_for(peer.connected.wait(), self.settings.connect_s)
        except TimeoutError:
            self.end(call.id, "not connected in time")
            return
        await self.join(call)
        if call.leg.joined:
            self.connect_ms = 1000 * (time.monotonic() - call.began_s)
            log_event("joined", call=call.id, room=call.leg.room, after_ms=round(self.connect_ms))

    async def join(self, call: Call) -> None:
        """Let a call's leg into its room; ends the call where the pool has no row for it."""
        try:
            if call.id in self.by_id:
                self.recorder.join(call.leg)
                await asyncio.wrap_future(self.media.join(call.leg))
        except Exception as error:  # of the pool or of an encoder: the call ends, and the others go on
            if not isinstance(error, RtsrError):
                log.exception("a call could not join: call=%s room=%s", call.id, call.leg.room)
            self.end(call.id, str(error))
        if call.id not in self.by_id:  # it ended meanwhile
            await asyncio.wrap_future(self.media.leave(call.leg))

    def hang_up(self, call_id: str, why: str) -> None:
        """End a call for good: its peer may not continue it by another."""
        if call_id in self.by_id:
            while len(self.hung_up) >= MOST_HUNG_UP:
                del self.hung_up[next(iter(self.hung_up))]
            self.hung_up[call_id] = why
            self.end(call_id, why)

    def end(self, call_id: str, why: str) -> None:
        """End a call, soon; one that is not there any more is no error."""
        call = self.by_id.pop(call_id, None)
        if call is not None:
            self._keep(call.stats())
            report = report_of(call, why)
            log_json(report)
            if self.webhook:
                self.webhook.put(report)
            seconds = round(time.monotonic() - call.began_s, 1)
            log_event("ended", call=call_id, room=call.leg.room, why=why, seconds=seconds)
            for other in self.in_room(call.leg.room):
                other.leg.plain -= {call_id}
            self.start(self._leave(call))

    def _keep(self, stats: dict[str, Any]) -> None:
        """Add the counters of a call that ends to those of all that have: totals never fall."""
        for part in ("speaker", "listener"):
            for name, value in (stats[part] or {}).items():
                if isinstance(value, int):
                    self.past[f"{part}_{name}"] += value

    async def _leave(self, call: Call) -> None:
        try:
            await asyncio.wrap_future(self.media.leave(call.leg))
        finally:
            self.recorder.leave(call.leg)
            if call.leg.room not in self.rooms:
                self.recorder.forget(call.leg.room)
            await call.close()

    def start(self, work: Any) -> None:
        """Let a coroutine run; what it raises is logged, and the bridge waits for it at its end."""
        self._tasks.start(work)

    async def bypass(self, call: Call, on: bool) -> None:
        """Leave the generated band of a speaker out, or in, for everyone who hears it.

        Raises `InvalidSetting` where the call does not speak.
        """
        if call.leg.speaker is None:
            raise InvalidSetting("bypass: expected a call that speaks, this one only listens")
        await asyncio.wrap_future(self.media.bypass(call.leg, on))
        log_event("bypass", call=call.id, room=call.leg.room, on=on)

    async def choose(self, call: Call, plain: frozenset[str]) -> None:
        """Let one listener hear some speakers of its room without their generated band, and all others with it.

        Who is not there, or not any more, is no error. Raises `InvalidSetting` where the call does not listen.
        """
        if call.leg.deliver is None:
            raise InvalidSetting("plain: expected a call that listens, this one only speaks")
        call.leg.plain = plain & {other.id for other in self.in_room(call.leg.room) if other.leg.speaker}
        await asyncio.wrap_future(self.media.choose(call.leg))
        log_event("plain", call=call.id, room=call.leg.room, speakers=len(call.leg.plain))

    def sweep(self) -> None:
        """Send reports, and end calls that failed, flood, or have not been heard for too long; called every second."""
        now_s = time.monotonic()
        for call in list(self.by_id.values()):
            speaker = call.leg.speaker
            if call.rtp:
                with self.media.faults.survived("send", f"a report could not be sent: call={call.id}"):
                    call.rtp.report()
            if call.leg.failed:
                self.hang_up(call.id, "its sound could not be dealt with")
            elif call.peer and call.peer.floods():
                self.hang_up(call.id, "it sends too much")
            if speaker is None or not call.leg.joined:
                continue
            call.history.sample(speaker)
            received = speaker.playout.counts.received
            if received != call.heard:
                call.heard, call.heard_s = received, now_s
            elif now_s - call.heard_s > self.settings.idle_s and (call.peer or not call.rtp):
                self.end(call.id, f"nothing heard for {self.settings.idle_s:g} s")

    async def drain(self, limit_s: float) -> None:
        """Let no call in any more, wait for those there are to end, and end the rest."""
        self.draining = True
        ends_s = time.monotonic() + limit_s
        while self.by_id and time.monotonic() < ends_s:
            await asyncio.sleep(0.1)
        for call_id in list(self.by_id):
            self.end(call_id, "the bridge is being shut down")
        await self._tasks.finish()
        await asyncio.to_thread(self.recorder.stop)
        if self.webhook:
            await self.webhook.close(REPORTS_S)


CALLS: web.AppKey[Calls] = web.AppKey("calls", Calls)  # where a request's handler finds them
