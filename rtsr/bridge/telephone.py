"""A plain RTP leg: G.711 over UDP, what SIP servers and media proxies hand over, as one more caller in a room.

The port is open as long as the bridge runs. A call begins with its caller's second packet and ends when the caller
leaves or falls silent, when somebody hangs up, or when its sound cannot be dealt with; then the next one may begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Callable
from typing import Any, cast

from ..errors import InvalidSetting, PoolFull
from .calls import Call, CallOptions, Calls
from .config import BridgeSettings, address, networks
from .jitter import Packet
from .latch import Latch, RtpSource
from .leg import Leg
from .log import log_event
from .rtp import TYPES, parse, parse_report, write

BUSY_S = 5.0  # for which nobody is let in after somebody could not be
AGAIN_S = 1.0  # after a caller has left, before the next call: a peer must not begin and end calls as fast as it can

Take = Callable[[bytes, tuple[Any, ...]], None]


class Port(asyncio.DatagramProtocol):
    """One socket: hands on what comes and sends. The event loop's."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, place: tuple[str, int], take: Take) -> Port:
        """Bind; raises `OSError`."""
        _, port = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(take), place)
        return port

    @property
    def place(self) -> tuple[str, int] | None:
        """What it is bound to; None once it is closed."""
        name = self._transport.get_extra_info("sockname") if self._transport else None
        return name[:2] if name else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Note that it is gone."""
        self._transport = None

    def datagram_received(self, data: bytes, source: tuple[Any, ...]) -> None:
        """Hand a datagram on."""
        self._take(data, source)

    def error_received(self, error: Exception) -> None:
        """Nobody listens there any more: an ICMP message said so. The caller falls silent, which ends the call."""

    def send(self, data: bytes, place: tuple[Any, ...]) -> None:
        """Send a datagram."""
        if self._transport:
            self._transport.sendto(data, place)

    def close(self) -> None:
        """Close the socket, soon."""
        if self._transport:
            self._transport.close()


class Telephone:
    """Lets whoever sends G.711 to its port into a room, and sends back what the room says. The event loop's."""

    def __init__(self, settings: BridgeSettings, calls: Calls, clock: Callable[[], float] = time.monotonic) -> None:
        assert settings.rtp is not None
        self._settings, self._calls, self._clock = settings, calls, clock
        self._kind = TYPES[settings.codec]
        self._latch = Latch(networks(settings.rtp_sources, "rtp_sources"), settings.rtp_silent_s)
        self._place = address(settings.rtp, "rtp")  # with the port that the system chose, once it has
        self._port: Port | None = None
        self._reports: Port | None = None
        self._lost = False  # the port, and that was logged
        self._call: Call | None = None
        self._caller: tuple[Any, ...] = ()  # the address, as the socket takes it
        self._busy_until_s = -math.inf
        self._source, self._number, self._origin = secrets.randbits(32), secrets.randbits(16), secrets.randbits(32)

    @property
    def is_open(self) -> bool:
        """Whether a caller could be heard."""
        return self._port is not None and self._port.place is not None

    async def open(self) -> None:
        """Bind the port, and the next one for RTCP if it is free; raises `InvalidSetting` where that cannot be."""
        try:
            self._port = await Port.open(self._place, self._take)
        except OSError as error:
            reason = f"cannot take RTP on {self._settings.rtp} ({error.strerror}): choose another"
            raise InvalidSetting(reason) from error
        host, number = self._place = self._port.place or self._place
        if self._reports is None or self._reports.place is None:
            try:
                self._reports = await Port.open((host, number + 1), self._take_report)
            except (OSError, OverflowError):
                self._reports = None  # RTCP may still come to the port of the sound (RFC 5761)
        log_event("rtp", address=f"{host}:{number}", room=self._settings.room, rtcp=self._reports is not None)

    def close(self) -> None:
        """Take nothing any more."""
        for port in (self._port, self._reports):
            if port:
                port.close()

    async def look_after(self) -> None:
        """End a call whose caller is silent, and open the port again where it was lost; called every second."""
        if self._latch.is_silent(self._clock()):
            self._hang_up(f"nothing heard for {self._settings.rtp_silent_s:g} s")
        if self.is_open:
            return
        if not self._lost:
            log_event("rtp lost", address=":".join(map(str, self._place)))
        self._lost = True
        with contextlib.suppress(InvalidSetting):  # readiness says so until it can be
            await self.open()
            self._lost = False

    def _take(self, data: bytes, place: tuple[Any, ...]) -> None:
        """Take a datagram; what is not the caller's is ignored, and so is what we have sent ourselves."""
        read, now_s = parse(data), self._clock()
        if read is None:
            self._take_report(data, place)
            return
        if read.source == self._source or now_s < self._busy_until_s:
            return
        payload = read.payload if read.kind == self._kind else b""
        stream = RtpSource(place[0], place[1], read.source)
        if not self._latch.hear(stream, read.number, now_s, sound=bool(payload)):
            return
        if self._call is None and not self._begin(place, now_s):
            return
        assert self._call
        assert self._call.leg.speaker
        self._call.leg.speaker.put(Packet(read.number, read.stamp, payload, now_s))

    def _take_report(self, data: bytes, place: tuple[Any, ...]) -> None:
        """Take an RTCP packet: the caller is there, or leaves."""
        report, now_s = parse_report(data), self._clock()
        if report and self._latch.hear_report(place[0], report.source, now_s) and report.leaves:
            self._busy_until_s = now_s + AGAIN_S
            self._hang_up("the caller has left")

    def _begin(self, place: tuple[Any, ...], now_s: float) -> bool:
        """Begin a call if there is room for one."""
        room, codec, caller = self._settings.room, self._settings.codec, f"{place[0]}:{place[1]}"
        try:
            self._calls.admit(room)
        except PoolFull as error:
            log_event("rtp refused", address=caller, room=room, why=error)
            self._latch.forget()
            self._busy_until_s = now_s + BUSY_S
            return False
        leg = self._calls.make_leg(self._calls.new_id(), room, codec, CallOptions(kind="rtp", name="telephone"))
        leg.deliver = lambda payload, stamp: self._deliver(leg, payload, stamp)
        call = Call(leg.call, "rtp", leg, lambda: self._ended(call))
        self._call, self._caller = call, place
        log_event("rtp caller", address=caller, call=call.id, room=room)
        self._calls.add(call)
        self._calls.start(self._calls.join(call))
        return True

    def _deliver(self, leg: Leg, payload: bytes, stamp: int) -> None:
        if self._call is None or self._call.leg is not leg or self._port is None:
            return
        self._port.send(write(self._kind, self._number, self._origin + stamp, self._source, payload), self._caller)
        self._number += 1

    def _hang_up(self, why: str) -> None:
        """End the call; the next caller may be the same one."""
        self._latch.forget()
        call, self._call = self._call, None
        if call:
            self._calls.end(call.id, why)

    async def _ended(self, call: Call) -> None:
        """Note that a call has been ended by others. A caller whom somebody hung up on has to begin anew."""
        if self._call is not call:
            return
        self._call = None
        if call.leg.failed:
            self._latch.forget()
        else:
            self._latch.refuse(self._clock())
