"""The UDP ports of an RTP leg: whose packets are taken, how many, and where ours go. The event loop's."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

from .latch import Latch, RtpSource
from .limits import MEDIA_BURST, MEDIA_PER_S, REPORTS_BURST, REPORTS_PER_S, TokenBucket
from .log import log_event
from .rtcp import parse_report
from .rtp import PayloadTypes, is_report, parse
from .rtp_session import RtpSession
from .srtp import Srtp

LONGEST = 2_048  # of a datagram
TRIES = 16  # to find two ports in a row where the system chooses

Place = tuple[Any, ...]  # an address, as the socket takes it
Take = Callable[[bytes, Place], None]


class UdpPort(asyncio.DatagramProtocol):
    """One socket: hands datagrams on and sends them."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, place: tuple[str, int], take: Take) -> UdpPort:
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

    def datagram_received(self, data: bytes, source: Place) -> None:
        """Hand a datagram on."""
        self._take(data, source)

    def error_received(self, error: Exception) -> None:
        """Nobody listens there any more: an ICMP message said so. The caller falls silent, which ends the call."""

    def send(self, data: bytes, place: Place) -> None:
        """Send a datagram."""
        if self._transport:
            self._transport.sendto(data, place)

    def close(self) -> None:
        """Close the socket, soon."""
        if self._transport:
            self._transport.close()


class RtpEndpoint:
    """One port for RTP, the next one for RTCP, and the session of the call that is there.

    `on_caller` is called with the address of a stream that became the caller, and returns the session of its call or
    None; `on_leave` when the caller sent BYE. Packets go to the address of the caller's packets, and nowhere else.
    """

    def __init__(
        self,
        latch: Latch,
        types: PayloadTypes,
        on_caller: Callable[[Place], RtpSession | None],
        on_leave: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.latch, self.types, self.source = latch, types, secrets.randbits(32)
        self.session: RtpSession | None = None
        self.srtp: Srtp | None = None
        self.busy_until_s = -math.inf  # nobody becomes the caller before
        self.sends = True  # False: the caller wants no audio now
        self.refused = 0  # datagrams
        self.rtp: UdpPort | None = None
        self.rtcp: UdpPort | None = None
        self._on_caller, self._on_leave, self._clock = on_caller, on_leave, clock
        self._caller: Place = ()
        self._reports: tuple[UdpPort | None, Place] = (None, ())  # from which port, and where, our reports go
        self._buckets = {
            (known, report): TokenBucket(*rate, clock)
            for known in (False, True)
            for report, rate in ((False, (MEDIA_PER_S, MEDIA_BURST)), (True, (REPORTS_PER_S, REPORTS_BURST)))
        }

    @property
    def is_open(self) -> bool:
        """Whether a caller could be heard."""
        return self.rtp is not None and self.rtp.place is not None

    @property
    def place(self) -> tuple[str, int]:
        """The address for RTP; of a port that is open."""
        assert self.rtp is not None
        assert self.rtp.place is not None
        return self.rtp.place

    async def open(self, place: tuple[str, int]) -> None:
        """Bind the port, and the next one for RTCP if it is free; raises `OSError`."""
        self.rtp = await UdpPort.open(place, self.take)
        host, number = self.place
        if self.rtcp is None or self.rtcp.place is None:
            try:
                self.rtcp = await UdpPort.open((host, number + 1), self.take_report)
            except (OSError, OverflowError):
                self.rtcp = None  # RTCP may still come to the port of the audio (RFC 5761)

    async def open_pair(self, host: str, ports: Iterable[int]) -> None:
        """Bind one of the ports and the one after it; raises `OSError` where none is free, with its successor."""
        for number in ports:
            with suppress(OSError, OverflowError):
                self.rtp = await UdpPort.open((host, number), self.take)
                number = self.place[1]
                if number % 2 == 0:  # as RFC 3550, section 11, has it
                    self.rtcp = await UdpPort.open((host, number + 1), self.take_report)
                    return
            self.close()
        raise OSError(f"no two ports in a row are free on {host}")

    def close(self) -> None:
        """Take nothing any more."""
        for port in (self.rtp, self.rtcp):
            if port:
                port.close()

    def take(self, data: bytes, place: Place) -> None:
        """Take a datagram; what is not the caller's is ignored, and so is what we have sent ourselves."""
        if is_report(data):
            self.take_report(data, place, self.rtp)
            return
        packet = self._admitted(data, place, report=False)
        read, now_s = parse(packet) if packet else None, self._clock()
        if read is None or read.source == self.source or now_s < self.busy_until_s:
            return
        audio = read.kind == self.types.audio and bool(read.payload)
        if not self.latch.hear(RtpSource(place[0], place[1], read.source), read.number, now_s, sound=audio):
            return
        if self.session is None:
            self.session = self._on_caller(place)
            if self.session is None:
                return
        elif place != self._caller:
            log_event("rtp moved", address=f"{place[0]}:{place[1]}", call=self.session.leg.call)
        if place != self._caller:
            self.aim(place)
        self.session.take(read, now_s)

    def take_report(self, data: bytes, place: Place, port: UdpPort | None = None) -> None:
        """Take an RTCP packet of the caller's."""
        packet = self._admitted(data, place, report=True)
        report = parse_report(packet) if packet else None
        if report is None or not self.latch.hear_report(place[0], report.source, self._clock()):
            return
        self._reports = (port or self.rtcp or self.rtp, place)
        if self.session:
            self.session.take_report(report)
        if report.leaves:
            self._on_leave()

    def _admitted(self, data: bytes, place: Place, *, report: bool) -> bytes | None:
        """Return a datagram decrypted, unless its host may not send, or sends too many."""
        known = self.latch.caller is not None and self.latch.caller.host == place[0]
        if len(data) > LONGEST or not self.latch.admits(place[0]) or not self._buckets[known, report].take():
            self.refused += 1
            return None
        packet = self.srtp.unprotect(data, report=report) if self.srtp else data
        self.refused += packet is None
        return packet

    def aim(self, place: Place) -> None:
        """Send to an address that the signalling has named, until the caller's packets come from another."""
        self._caller, self._reports = place, (self.rtcp or self.rtp, (place[0], place[1] + 1, *place[2:]))

    def send(self, data: bytes) -> bool:
        """Send RTP to the caller; returns whether there is one."""
        if not self.rtp or not self._caller or not self.sends:
            return False
        self.rtp.send(self.srtp.protect(data) if self.srtp else data, self._caller)
        return True

    def send_report(self, data: bytes) -> None:
        """Send RTCP to where the caller's comes from; before it does, to the port after that of its RTP."""
        port, place = self._reports
        if port and place and place[1] < 1 << 16:
            port.send(self.srtp.protect(data, report=True) if self.srtp else data, place)

    def forget_caller(self) -> None:
        """Send nothing any more; the next stream may be the caller."""
        self.session, self._caller, self._reports = None, (), (None, ())
