"""A plain RTP leg: G.711 over UDP, what SIP servers and media proxies hand over, as one more caller in a room."""

from __future__ import annotations

import asyncio
import math
import secrets
import struct
import time
from typing import Any, cast

from ..errors import InvalidSetting
from .calls import Call, Calls, Wish
from .codec import PCMA, PCMU
from .config import Settings, address
from .jitter import Packet
from .log import tell

HEADER = struct.Struct("!BBHII")  # RFC 3550, section 5.1
VERSION = 2
TYPES = {PCMU: 0, PCMA: 8}  # RFC 3551
SILENT_S = 5.0  # of whoever speaks, before another address may take over


def parse(data: bytes, kind: int) -> tuple[int, int, bytes] | None:
    """Return number, time stamp and payload of an RTP packet of this payload type; None for anything else."""
    if len(data) < HEADER.size:
        return None
    first, second, number, stamp, _ = HEADER.unpack_from(data)
    if first >> 6 != VERSION or second & 0x7F != kind:
        return None
    start, end = HEADER.size + 4 * (first & 0x0F), len(data)
    if first & 0x10:  # an extension
        if end < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
    if first & 0x20:  # padding, whose last byte says how much
        end -= data[-1]
    return (number, stamp, data[start:end]) if start < end else None


class RtpLeg(asyncio.DatagramProtocol):
    """Hears whoever sends G.711 to its port, and sends what the room says back to there."""

    def __init__(self, settings: Settings, calls: Calls) -> None:
        self._calls, self._codec = calls, settings.codec
        self._kind = TYPES[settings.codec]
        self._leg = calls.make_leg(calls.new_id(), settings.room, settings.codec, Wish(kind="rtp", name="telephone"))
        self._leg.deliver = self._deliver
        self._transport: asyncio.DatagramTransport | None = None
        self._caller: tuple[Any, ...] | None = None
        self._heard_s = -math.inf
        self._source, self._number = secrets.randbits(32), secrets.randbits(16)
        self._origin = secrets.randbits(32)

    @classmethod
    async def open(cls, settings: Settings, calls: Calls) -> RtpLeg:
        """Bind the port; raises `InvalidSetting` where that cannot be."""
        assert settings.rtp is not None
        place = address(settings.rtp, "rtp")
        try:
            _, leg = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(settings, calls), place)
        except OSError as error:
            raise InvalidSetting(f"cannot take RTP on {settings.rtp} ({error.strerror}): choose another") from error
        return leg

    async def join(self) -> None:
        """Join the room; raises `PoolFull`."""
        self._calls.admit(self._leg.room)
        call = Call(self._leg.call, "rtp", self._leg, self._close)
        self._calls.add(call)
        await self._calls.join(call)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        tell("rtp", address=":".join(map(str, transport.get_extra_info("sockname")[:2])), room=self._leg.room)

    def datagram_received(self, data: bytes, source: tuple[Any, ...]) -> None:
        """Take a packet; what is no RTP of the right kind is ignored, and so is another sender while one speaks."""
        now_s = time.monotonic()
        found = parse(data, self._kind)
        if found is None or self._leg.speaker is None:
            return
        if source != self._caller:
            if now_s - self._heard_s < SILENT_S:
                return
            self._caller = source
            tell("rtp caller", address=f"{source[0]}:{source[1]}", call=self._leg.call, room=self._leg.room)
        self._heard_s = now_s
        self._leg.speaker.put(Packet(*found, now_s))

    def error_received(self, error: Exception) -> None:
        """Nobody listens there any more: an ICMP message said so, and nothing follows from it."""

    def _deliver(self, payload: bytes, stamp: int) -> None:
        if self._caller is None or self._transport is None:
            return
        header = HEADER.pack(VERSION << 6, self._kind, self._number, (self._origin + stamp) % (1 << 32), self._source)
        self._number = (self._number + 1) % (1 << 16)
        self._transport.sendto(header + payload, self._caller)

    async def _close(self) -> None:
        if self._transport:
            self._transport.close()
