"""A line: one listening address of SIP, who may send there, and what all that is sent and received there shares."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

from ...errors import InvalidSetting
from ..config import Network, contains, networks
from ..faults import Faults
from ..log import log_event
from ..tasks import Tasks
from ..tls import load_chain, pinned_context, server_context
from .digest import Authenticator, credentials
from .fields import Via
from .message import Request, Response, answer, parse, received_from
from .path import Path, Place, UdpPath
from .paths import Paths
from .settings import SECRETS, SipSettings
from .transactions import Transactions

log = logging.getLogger("rtsr.bridge")


class Line:
    """One listening address. `take` gets each request; `paths` are there once it is opened. The event loop's."""

    paths: Paths

    def __init__(self, settings: SipSettings, take: Callable[[Request, Path], None], faults: Faults) -> None:
        """Read the certificates; raises `InvalidSetting`."""
        self.settings, self._take_request, self._faults = settings, take, faults
        self.allowed = networks(settings.sources, "sources")  # who may call, beside the server
        self.proxies = networks(settings.proxies, "proxies")
        self.transactions = Transactions()
        self.authenticator = _authenticator(settings)
        self.servers: tuple[str, ...] = ()  # the addresses of the server, once they were looked up
        self.is_open = False
        self._server_tls, self._client_tls = _tls(settings)
        self._tasks = Tasks("SIP")

    async def open(self) -> None:
        """Listen; raises `InvalidSetting` where that cannot be."""
        settings = self.settings
        self.paths = Paths(settings.transport, self.take, self.admits, self._server_tls, self._client_tls)
        self.is_open = True
        await self.look_up_server()
        await self.paths.open(settings.listen)
        host, port = self.paths.place
        log_event("sip", name=settings.name, address=f"{host}:{port}", transport=settings.transport)

    async def close(self, limit_s: float) -> None:
        """Wait for what runs, within a limit, end the rest, and take nothing any more."""
        await self._tasks.finish(limit_s)
        self.transactions.close()
        await self.paths.close()

    def renewed(self, settings: SipSettings) -> Callable[[], None]:
        """Return what takes the certificates and passwords of settings; raises `InvalidSetting` for those of no use.

        Who is connected stays so, and is asked for a new password with the next call.
        """
        new = replace(self.settings, **{name: getattr(settings, name) for name in SECRETS})
        _, client = _tls(new)

        def take() -> None:
            self.settings, self.authenticator = new, _authenticator(new)
            if self.is_open:
                self.paths.client_tls = client
            if self._server_tls and new.tls_cert and new.tls_key:
                load_chain(self._server_tls, new.tls_cert, new.tls_key)  # its server cannot be given another context

        return take

    async def look_up_server(self) -> None:
        """Note the addresses of the server; one that cannot be looked up now may be later."""
        if self.settings.server is None:
            return
        loop, place = asyncio.get_running_loop(), self.settings.server_place
        try:
            found = await loop.getaddrinfo(*place, type=socket.SOCK_DGRAM)
        except OSError as error:
            log_event("sip server not found", name=self.settings.name, server=place[0], why=error)
            return
        self.servers = tuple({str(one[4][0]) for one in found})

    @property
    def trusted(self) -> tuple[Network, ...]:
        """Whose word on where we send to is believed."""
        return self.allowed + self.proxies + networks(self.servers, "server")

    def admits(self, host: str) -> bool:
        """Whether a host may send anything: a proxy where there are some, otherwise a source or the server.

        Without any of them anyone may where accounts say who.
        """
        if self.proxies:
            return contains(self.proxies, host)
        if host in self.servers:
            return True
        if not self.allowed:
            return self.authenticator is not None or self.settings.server is None
        return contains(self.allowed, host)

    def challenge(self, request: Request, path: Path) -> list[tuple[str, str]]:
        """Return the headers that ask a caller for a password, none for one that gave it or needs none."""
        if self.authenticator is None or self.origin(request, path) in self.servers:
            return []
        user, stale = self.authenticator.user_of(request)
        return [] if user is not None else self.authenticator.challenges(stale=stale)

    def origin(self, request: Request, path: Path) -> str:
        """Return the host that sent a request: where it came from, or before our proxies what their Via say."""
        host = path.peer[0]
        for text in request.all("via")[1:]:
            if not contains(self.proxies, host):
                break
            try:
                via = Via.read(text)
            except ValueError:
                break
            host = via.params.get("received") or via.host.strip("[]")
        return host

    def take(self, data: bytes, path: Path) -> None:
        """Take a message; what is none is ignored."""
        message = parse(data)
        with self._faults.survived("sip", "a message could not be dealt with"):
            if isinstance(message, Request):
                self._take_request(received_from(message, path.peer), path)
            elif message is not None:
                self.transactions.take_response(message)
            else:
                self.paths.refused += 1

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let a coroutine run; what it raises is logged."""
        self._tasks.start(work)

    def respond(
        self, request: Request, path: Path, status: int, headers: Iterable[tuple[str, str]] = (), *, tag: str = ""
    ) -> None:
        """Answer without a transaction."""
        self.reply_path(request, path).send(answer(request, status, headers, tag=tag).write())

    def reply_path(self, request: Request, path: Path) -> Path:
        """Return where answers go: to where a request came from (RFC 3581), by its own port where it wants that."""
        via = request.via
        if isinstance(path, UdpPath) and "rport" not in via.params:
            return path.at((path.peer[0], via.port or 5060))
        return path

    def place(self, path: Path) -> Place:
        """Return where the peer of a path reaches our signalling."""
        host, port = self.paths.local_to(path.peer)
        return self.settings.advertise or host, port

    def credentials(self, request: Request, response: Response) -> tuple[str, str] | None:
        """Return the header that answers a 401 or 407, if we can."""
        settings = self.settings
        if response.status not in (401, 407) or settings.username is None or settings.password is None:
            return None
        return credentials(response, request.method, str(request.uri), settings.username, settings.password)


def _authenticator(settings: SipSettings) -> Authenticator | None:
    return Authenticator(settings.realm, settings.accounts, settings.digest) if settings.accounts else None


def _tls(settings: SipSettings) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Return the contexts of those who connect to us, and of our connections; raises `InvalidSetting`."""
    try:
        if settings.tls_ca is not None and settings.tls_ca == settings.tls_cert:
            client = pinned_context(settings.tls_ca)
        else:
            client = ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSetting(f"sip: cannot use {settings.tls_ca}: {error}") from error
    if settings.tls_cert is not None and settings.tls_key is not None:
        load_chain(client, settings.tls_cert, settings.tls_key)
    return server_context(settings.tls_cert, settings.tls_key), client
