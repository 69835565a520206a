"""One way of SIP to one peer: over UDP an address, over TCP and TLS a connection (RFC 3261, section 18)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

from .message import LONGEST, length_of

SLOW_S = 20.0  # for a message to be there whole, once it has begun, and for the first one
IDLE_S = 1_800.0  # without a message, and a connection is closed
BACKLOG_BYTES = 1 << 18  # that a peer has not taken, and its connection is closed

Place = tuple[str, int]


class Path(Protocol):
    """A way to a peer."""

    transport: str  # udp, tcp or tls
    peer: Place
    local: Place

    @property
    def is_open(self) -> bool:
        """Whether something may still be sent."""

    def send(self, data: bytes) -> None:
        """Send a message; what cannot be sent is lost."""


Take = Callable[[bytes, Path], None]


class UdpPath:
    """Datagrams from our socket to one address."""

    transport = "udp"

    def __init__(self, port: UdpSocket, peer: Place, local: Place) -> None:
        self._port, self.peer, self.local = port, peer, local

    @property
    def is_open(self) -> bool:
        """Whether our socket is."""
        return self._port.transport is not None

    def at(self, peer: Place) -> UdpPath:
        """Return the path to another address."""
        return UdpPath(self._port, peer, self.local)

    def send(self, data: bytes) -> None:
        """Send a datagram."""
        if self._port.transport:
            self._port.transport.sendto(data, self.peer)


class UdpSocket(asyncio.DatagramProtocol):
    """Our socket of UDP."""

    def __init__(self, take: Callable[[bytes, Place], None]) -> None:
        self._take = take
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket."""
        self.transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Note that it is gone."""
        self.transport = None

    def datagram_received(self, data: bytes, place: Any) -> None:
        """Hand a datagram on."""
        self._take(data, place[:2])

    def error_received(self, error: Exception) -> None:
        """Nobody listens there: an ICMP message said so. The transaction ends by its timer."""


class Connection(asyncio.Protocol):
    """A connection of TCP or TLS, from either end: a path, and the reader of its messages (RFC 3261, section 18.3)."""

    def __init__(
        self, take: Take, transport: str, admits: Callable[[Connection], bool], gone: Callable[[Connection], None]
    ):
        self.transport, self._take, self._admits, self._gone = transport, take, admits, gone
        self.peer: Place = ("", 0)
        self.local: Place = ("", 0)
        self._stream: asyncio.Transport | None = None
        self._waiting = bytearray()
        self._head = 0  # how far the end of the head was looked for
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether something may still be sent."""
        return self._stream is not None and not self._stream.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the peer, and close at once where it may not call."""
        self._stream = cast(asyncio.Transport, transport)
        self.peer, self.local = (transport.get_extra_info(name, ("", 0))[:2] for name in ("peername", "sockname"))
        if not self._admits(self):
            self._stream.abort()
        self._expect(SLOW_S)

    def connection_lost(self, error: Exception | None) -> None:
        """Note that it is gone."""
        self._stream = None
        if self._timer:
            self._timer.cancel()
        self._gone(self)

    def _expect(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def data_received(self, data: bytes) -> None:
        """Take bytes: messages, and empty lines between them, which keep a connection open (RFC 5626, 3.5.1)."""
        self._waiting += data
        while self._waiting and self.is_open:
            if self._waiting.startswith(b"\r\n"):
                if self._waiting.startswith(b"\r\n\r\n"):
                    self.send(b"\r\n")
                del self._waiting[: len(self._waiting) - len(self._waiting.lstrip(b"\r\n"))]
                self._head = 0
                continue
            message = self._next()
            if message is None:
                break
            self._take(message, self)
        self._expect(SLOW_S if self._waiting else IDLE_S)

    def _next(self) -> bytes | None:
        """Take one message off what has come, if it is whole; ends the connection over one that is too long."""
        end = self._waiting.find(b"\r\n\r\n", self._head)
        if end < 0:
            self._head = max(0, len(self._waiting) - 3)
            if len(self._waiting) > LONGEST:
                self.abort()
            return None
        try:
            size = end + 4 + length_of(bytes(self._waiting[:end]))
        except ValueError:
            size = LONGEST + 1
        if size > LONGEST:
            self.abort()
            return None
        if len(self._waiting) < size:
            return None
        message = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._head = 0
        return message

    def send(self, data: bytes) -> None:
        """Send a message; ends the connection of a peer that does not take what is sent."""
        if self._stream and self.is_open:
            self._stream.write(data)
            if self._stream.get_write_buffer_size() > BACKLOG_BYTES:
                self.abort()

    def abort(self) -> None:
        """Close it now."""
        if self._stream:
            self._stream.abort()
