"""Where SIP messages come from and go to: UDP, TCP and TLS (RFC 3261, section 18). The event loop's.

One socket of UDP, one server of TCP or TLS, and connections of both directions, all bounded. A path is one way to one
peer: over UDP an address, over TCP and TLS a connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, cast

from ..limits import TokenBucket
from ..log import log_event
from .message import LONGEST, length_of

MOST_CONNECTIONS, MOST_PER_HOST = 256, 16
SLOW_S = 20.0  # for a message to be there whole, once it has begun, and for the first one
IDLE_S = 1_800.0  # without a message, and a connection is closed
BACKLOG_BYTES = 1 << 18  # that a peer has not taken, and its connection is closed
CONNECT_S = 8.0
HOST_PER_S, HOST_BURST = 500, 1_000  # messages of one host
MOST_HOSTS = 1_024  # whose messages are counted

Place = tuple[str, int]
Admits = Callable[[str], bool]


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


class Paths:
    """All of them of one listening address. `admits` says of a host whether it may call; `take` gets each message."""

    def __init__(
        self,
        transport: str,
        take: Take,
        admits: Admits,
        server: ssl.SSLContext | None = None,
        client: ssl.SSLContext | None = None,
    ) -> None:
        self.transport, self._take, self._admits = transport, take, admits
        self._server_tls, self.client_tls = server, client
        self._udp: UdpSocket | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self.place: Place = ("", 0)
        self.refused = 0  # messages and connections
        self._buckets: dict[str, TokenBucket] = {}  # by host, the one that was heard last at the end

    async def open(self, place: Place) -> None:
        """Listen: on UDP and TCP, or on TLS; raises `OSError`."""
        loop = asyncio.get_running_loop()
        host, port = place
        if self.transport != "tls":
            _, self._udp = await loop.create_datagram_endpoint(lambda: UdpSocket(self._take_datagram), place)
            assert self._udp.transport
            port = self._udp.transport.get_extra_info("sockname")[1]
        kind = "tls" if self.transport == "tls" else "tcp"
        self._server = await loop.create_server(lambda: self._make(kind), host, port, ssl=self._server_tls)
        self.place = (host, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close everything."""
        if self._udp and self._udp.transport:
            self._udp.transport.close()
        if self._server:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)

    async def to(self, place: Place, transport: str) -> Path:
        """Return a path to a place, an open connection if there is one; raises `OSError`."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(*place, type=socket.SOCK_DGRAM, family=self._family)
        peer: Place = (str(found[0][4][0]), int(found[0][4][1]))
        if transport == "udp":
            if self._udp is None:
                raise OSError("no UDP on this listening address")
            return UdpPath(self._udp, peer, self.local_to(peer))
        for connection in self._connections:
            if connection.is_open and connection.peer == peer and connection.transport == transport:
                return connection
        tls = self.client_tls if transport == "tls" else None
        name = place[0] if tls else None
        made = loop.create_connection(lambda: self._make(transport, called=True), *peer, ssl=tls, server_hostname=name)
        try:
            _, connection = await asyncio.wait_for(made, CONNECT_S)
        except TimeoutError:
            raise OSError(f"no connection to {place[0]}:{place[1]} within {CONNECT_S:g} s") from None
        return connection

    @property
    def _family(self) -> int:
        return socket.AF_INET6 if ":" in self.place[0] else socket.AF_INET

    def local_to(self, peer: Place) -> Place:
        """Return the address of ours that a peer's packets come to: the system's choice where we listen on all."""
        host, port = self.place
        if host not in ("0.0.0.0", "::"):
            return host, port
        with socket.socket(self._family, socket.SOCK_DGRAM) as probe:
            probe.connect(peer)
            return probe.getsockname()[0], port

    def _make(self, transport: str, *, called: bool = False) -> Connection:
        def admits(connection: Connection) -> bool:
            self._connections.add(connection)
            if called:
                return True
            hosts = Counter(other.peer[0] for other in self._connections)
            host = connection.peer[0]
            fits = len(self._connections) <= MOST_CONNECTIONS and hosts[host] <= MOST_PER_HOST
            self.refused += not (fits and self._admits(host))
            return fits and self._admits(host)

        return Connection(self._take_message, transport, admits, self._connections.discard)

    def _take_datagram(self, data: bytes, peer: Place) -> None:
        if self._udp and data.strip():  # empty lines only keep a way through a NAT open
            self._take_message(data, UdpPath(self._udp, peer, self.place))

    def _take_message(self, data: bytes, path: Path) -> None:
        host = path.peer[0]
        if len(data) > LONGEST or not self._admits(host) or not self._bucket(host).take():
            self.refused += 1
            if self.refused == 1:
                log_event("sip ignored", address=host, why="not admitted, too long, or too many")
            return
        self._take(data, path)

    def _bucket(self, host: str) -> TokenBucket:
        bucket = self._buckets.pop(host, None)
        if bucket is None:
            bucket = TokenBucket(HOST_PER_S, HOST_BURST, asyncio.get_running_loop().time)
        self._buckets[host] = bucket
        if len(self._buckets) > MOST_HOSTS:
            del self._buckets[next(iter(self._buckets))]
        return bucket
