"""All paths of one listening address. The event loop's.

One socket of UDP, one server of TCP or TLS, and connections of both directions, all bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from ...errors import InvalidSetting
from ..config import address
from ..limits import TokenBucket
from ..log import log_event
from .message import LONGEST
from .path import Connection, Path, Place, Take, UdpPath, UdpSocket

MOST_CONNECTIONS, MOST_PER_HOST = 256, 16
CONNECT_S = 8.0
HOST_PER_S, HOST_BURST = 500, 1_000  # messages of one host
TRIES = 16  # to find a port that is free for UDP and TCP, where the system chooses
MOST_HOSTS = 1_024  # whose messages are counted

Admits = Callable[[str], bool]


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

    async def open(self, listen: str) -> None:
        """Listen on HOST:PORT: on UDP and TCP, or on TLS; raises `InvalidSetting` where that cannot be.

        A port that the system chose for one of UDP and TCP may be taken for the other: then it chooses again.
        """
        place = address(listen, "listen")
        for left in reversed(range(TRIES if place[1] == 0 else 1)):
            try:
                await self._open(place)
                return
            except OSError as error:
                await self.close()
                if not left:
                    raise InvalidSetting(f"sip: cannot listen on {listen} ({error}): choose another") from error

    async def _open(self, place: Place) -> None:
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

    async def to(self, place: Place, transport: str, tls: ssl.SSLContext | None = None) -> Path:
        """Return a path to a place, an open connection if there is one; raises `OSError`.

        `tls` is the context of a new connection, where that is not to be the usual one.
        """
        peer = await self._look_up(place)
        if transport == "udp":
            if self._udp is None:
                raise OSError("no UDP on this listening address")
            return UdpPath(self._udp, peer, self.local_to(peer))
        if there := self.connected(peer, transport):
            return there
        context = (tls or self.client_tls) if transport == "tls" else None
        name = place[0] if context else None
        made = asyncio.get_running_loop().create_connection(
            lambda: self._make(transport, called=True), *peer, ssl=context, server_hostname=name
        )
        try:
            return (await asyncio.wait_for(made, CONNECT_S))[1]
        except TimeoutError:
            raise OSError(f"no connection to {place[0]}:{place[1]} within {CONNECT_S:g} s") from None

    def connected(self, peer: Place, transport: str) -> Connection | None:
        """Return an open connection with a peer."""
        for connection in self._connections:
            if connection.is_open and connection.peer == peer and connection.transport == transport:
                return connection
        return None

    async def _look_up(self, place: Place) -> Place:
        """Return the numeric address of a place; raises `OSError`."""
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(place[0])), place[1]
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(*place, type=socket.SOCK_DGRAM, family=self._family)
        return str(found[0][4][0]), int(found[0][4][1])

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
