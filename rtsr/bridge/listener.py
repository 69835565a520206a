"""TCP connections to the HTTP server: let in within limits, and closed where a client is too slow. The event loop's."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from ..errors import InvalidSetting
from .config import BridgeSettings, address

BACKLOG = 128
PAUSE_S = 0.5  # where the process has no descriptor left, before the next attempt
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
log = logging.getLogger("rtsr.bridge")


def bind(listen: str) -> list[socket.socket]:
    """Return a listening socket for each address of HOST:PORT; raises `InvalidSetting` where that cannot be."""
    host, port = address(listen, "listen")
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, place in dict.fromkeys(found):
            bound.append(socket.create_server((str(place[0]), port), family=family, backlog=BACKLOG))
            port = bound[-1].getsockname()[1]  # of the first address, where any would do
    except OSError as error:
        for one in bound:
            one.close()
        raise InvalidSetting(f"cannot listen on {listen} ({error.strerror}): choose another") from error
    return bound


class Connection(asyncio.Protocol):
    """Hands everything on to the HTTP protocol behind it, and keeps since when sent bytes have not been taken."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self._inner = inner
        self._waits_since_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand on."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._inner.connection_lost(exc)
        if not self.ended.done():
            self.ended.set_result(None)

    def sweep(self, now_s: float, limit_s: float) -> bool:
        """Abort, and return true, where what was sent, or the end, has waited too long for the client."""
        if self.transport is None:
            return False
        if not self.transport.is_closing() and self.transport.get_write_buffer_size() == 0:
            self._waits_since_s = None
        elif self._waits_since_s is None:
            self._waits_since_s = now_s
        elif now_s - self._waits_since_s > limit_s:
            self.transport.abort()
            return True
        return False


class Listener:
    """Accepts connections, at most so many and at most so many of one address; one more is closed at once.

    `tls` may be replaced at any time: connections from then on use it.
    """

    def __init__(
        self, make: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None, settings: BridgeSettings
    ) -> None:
        self.tls, self.settings = tls, settings
        self.refused = 0  # connections for which there was no room
        self.slow = 0  # that were aborted, as the client did not take what was sent
        self.count = 0  # connections now, those in their handshake included
        self._make = make
        self._by_address: Counter[str] = Counter()
        self._open: set[Connection] = set()
        self._accepting: list[asyncio.Task[None]] = []
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Listen and return the URL; raises `InvalidSetting` where that cannot be."""
        bound = bind(self.settings.listen)
        self._accepting = [asyncio.ensure_future(self._accept(one)) for one in bound]
        await asyncio.sleep(0)  # each holds its socket from here on, and closes it
        name, port = bound[0].getsockname()[:2]
        return f"{'https' if self.tls else 'http'}://{f'[{name}]' if ':' in name else name}:{port}"

    async def stop(self) -> None:
        """Accept no more connections; those that are there go on."""
        for task in self._accepting:
            task.cancel()
        if self._accepting:
            await asyncio.wait(self._accepting)

    async def close(self) -> None:
        """Accept no more connections, and abort those that are still there."""
        await self.stop()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    def sweep(self) -> None:
        """Abort the connections whose clients do not take what was sent; called every second."""
        now_s = time.monotonic()
        self.slow += sum(connection.sweep(now_s, self.settings.http_s) for connection in list(self._open))

    async def _accept(self, listening: socket.socket) -> None:
        with listening:
            listening.setblocking(False)
            while True:
                await self._accept_one(listening)

    async def _accept_one(self, listening: socket.socket) -> None:
        try:
            client, source = await asyncio.get_running_loop().sock_accept(listening)
        except OSError as error:
            if error.errno in SCARCE:
                log.error("no connection can be accepted: %s", error.strerror)
                await asyncio.sleep(PAUSE_S)
            return  # otherwise it was gone before it was accepted
        host = source[0].partition("%")[0]
        if self._has_room(host):
            self.count += 1
            self._by_address[_counted_as(host)] += 1
            task = asyncio.ensure_future(self._serve(client, host))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        else:
            client.close()
            self.refused += 1
        await asyncio.sleep(0)  # accepting alone does not wait while there are more

    def _has_room(self, host: str) -> bool:
        most = self.settings.connections_per_address
        own = self.settings.trusts(host) or self._by_address[_counted_as(host)] < most
        return own and self.count < self.settings.connections

    async def _serve(self, client: socket.socket, host: str) -> None:
        loop, connection = asyncio.get_running_loop(), Connection(self._make())
        timeouts = ("ssl_handshake_timeout", "ssl_shutdown_timeout") if self.tls else ()
        more: dict[str, Any] = dict.fromkeys(timeouts, self.settings.http_s)
        try:
            await loop.connect_accepted_socket(lambda: connection, client, ssl=self.tls, **more)
            self._open.add(connection)
            await connection.ended
        except OSError:  # the client went away, or its handshake failed or took too long
            client.close()
        finally:
            if connection.transport:
                connection.transport.abort()
            self._open.discard(connection)
            self.count -= 1
            self._by_address[_counted_as(host)] -= 1
            self._by_address += Counter()  # keeps those above nothing


def _counted_as(host: str) -> str:
    """Return whom an address counts for: itself, or with IPv6 its first 64 bits, as no client is assigned less."""
    found = ipaddress.ip_address(host)
    return host if found.version == 4 else str(ipaddress.IPv6Address(int(found) >> 64 << 64))
