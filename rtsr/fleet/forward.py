"""Requests to the bridges of workers. The event loop's."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp

from ..bridge.config import BridgeSettings
from ..bridge.tls import pinned_context
from ..errors import InvalidSetting
from .placement import Report, Worker

CONNECT_S = 0.7  # that a machine has to accept a connection; one that is off never does
ANSWER_S = 90.0  # the longest is a call to a number, which may ring
REPORT_S = 2.0
PASSED = ("authorization", "content-type", "if-match", "origin", "access-control-request-method")
DROPPED = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came to the gateway."""

    method: str
    path: str
    query: str
    headers: dict[str, str]  # names in lower case
    body: bytes = b""
    scheme: str = "http"
    remote: str = ""  # the address that it comes from


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def refuse(status: int, why: str, *headers: tuple[str, str]) -> Answer:
    """Return an error as JSON."""
    return Answer(status, [("Content-Type", "application/json"), *headers], json.dumps({"error": why}).encode())


class Unreachable(Exception):
    """A worker's bridge could not be asked: it is gone, or its machine is."""


class Forward:
    """Asks the bridges of workers; `close` at the end."""

    def __init__(self, settings: BridgeSettings) -> None:
        self._settings = settings
        tokens = settings.all_tokens()
        self._own = {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust(settings), force_close=True, limit=0),  # none is kept to a bridge
            timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),  # that may have died meanwhile
            auto_decompress=False,
        )

    async def close(self) -> None:
        """End all connections."""
        await self._http.close()

    async def send(self, worker: Worker, asked: Asked) -> Answer:
        """Hand a request on and return its answer; raises `Unreachable`."""
        headers = {name: asked.headers[name] for name in PASSED if name in asked.headers}
        headers |= self._origin(asked)
        path = f"{asked.path}?{asked.query}" if asked.query else asked.path
        return await self._ask(worker, asked.method, path, headers=headers, data=asked.body)

    async def own(self, worker: Worker, method: str, path: str, limit_s: float = REPORT_S) -> Answer:
        """Ask on the gateway's own behalf; raises `Unreachable`, and `TimeoutError` where the bridge is slow."""
        limit = aiohttp.ClientTimeout(total=limit_s, sock_connect=CONNECT_S)
        return await self._ask(worker, method, path, headers=self._own, timeout=limit)

    def _origin(self, asked: Asked) -> dict[str, str]:
        """Return what the client asked for, as the nearest trusted proxy, or it itself, says."""
        trusted = self._settings.trusts(asked.remote)
        host, scheme = asked.headers.get("host", ""), asked.scheme
        if trusted:
            host = last(asked.headers.get("x-forwarded-host", "")) or host
            scheme = last(asked.headers.get("x-forwarded-proto", "")) or scheme
        return {"X-Forwarded-Host": host, "X-Forwarded-Proto": scheme}

    async def _ask(self, worker: Worker, method: str, path: str, **more: Any) -> Answer:
        try:
            async with self._http.request(method, worker.url + path, allow_redirects=False, **more) as reply:
                return Answer(reply.status, kept(reply.headers.items()), await reply.read())
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, aiohttp.ClientOSError) as error:
            raise Unreachable(f"worker {worker.name}: {error}") from error
        except aiohttp.ServerTimeoutError as error:
            raise TimeoutError(f"worker {worker.name}: {error}") from error
        except aiohttp.ClientError as error:  # it ended before it had answered
            raise Unreachable(f"worker {worker.name}: {error}") from error


def last(header: str) -> str:
    """Return the value that the nearest proxy has given a header: those before it may be the client's."""
    return header.rpartition(",")[2].strip()


def kept(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of a bridge's answer that are not about its connection."""
    return [(name, value) for name, value in headers if name.lower() not in DROPPED]


def trust(settings: BridgeSettings) -> ssl.SSLContext | bool:
    """Return how bridges prove who they are: by the very certificate of the settings, whatever their address.

    Raises `InvalidSetting` where that cannot be read.
    """
    if settings.tls_cert is None:
        return True
    try:
        return pinned_context(settings.tls_cert)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSetting(f"tls_cert: cannot use {settings.tls_cert}: {error}") from error


def report_of(worker: Worker, said: dict[str, Any], changes: int) -> Report:
    """Read what a bridge answers to GET /rooms."""
    full = bool(said["full"]) and sum(said["rooms"].values()) < said["limit"]  # of its load; places are counted here
    return Report(said["rooms"], said["limit"], full, changes)
