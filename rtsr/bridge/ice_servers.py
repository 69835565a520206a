"""STUN and TURN servers: their URLs, the credentials for them, and how peers get both."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidSetting

# RFC 7064 and 7065; an IPv6 address is in brackets
URL = re.compile(r"(stun|turns?):(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(?:\?transport=(udp|tcp))?")
PORT, TLS_PORT = 3478, 5349
USER = "rtsr"  # in the names of users whose credentials are limited in time


@dataclass(frozen=True, slots=True)
class IceServer:
    """One server and one way to reach it."""

    url: str
    host: str
    port: int
    turn: bool = False
    tls: bool = False
    transport: str = "udp"

    @classmethod
    def read(cls, text: str, name: str) -> IceServer:
        """Read `stun:HOST`, `turn:HOST?transport=tcp` or `turns:HOST`, each with a port or not; `name` is the setting.

        Raises `InvalidSetting`.
        """
        found = URL.fullmatch(text)
        schemes = ("stun",) if name == "stun" else ("turn", "turns")
        if found is None or found[1] not in schemes or (found[4] and found[1] == "stun"):
            example = "stun:stun.example.org:3478" if name == "stun" else "turn:turn.example.org:3478?transport=udp"
            raise InvalidSetting(f"{name}: expected a URL such as {example}, got {text!r}")
        tls = found[1] == "turns"
        port = int(found[3]) if found[3] else TLS_PORT if tls else PORT
        if not 1 <= port <= 65_535:
            raise InvalidSetting(f"{name}: expected a port from 1 to 65535, got {text!r}")
        if tls and found[4] == "udp":
            raise InvalidSetting(f"{name}: expected TLS over TCP, got {text!r}; DTLS is not supported")
        transport = "tcp" if tls else found[4] or "udp"
        return cls(text, found[2].strip("[]"), port, found[1] != "stun", tls, transport)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a TURN server asks for (RFC 8489, 9.2)."""

    username: str
    password: str


class IceServers:
    """The servers of the settings. With a secret, each credential is a new one and lasts for `lifetime_s`.

    Such credentials are those of draft-uberti-behave-turn-rest-00: the user's name begins with the time when it
    expires, and the password is an HMAC of it. coturn takes them with `use-auth-secret`.
    """

    def __init__(
        self,
        stun: tuple[str, ...] = (),
        turn: tuple[str, ...] = (),
        static: Credential | None = None,
        secret: str | None = None,
        lifetime_s: float = 3_600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises `InvalidSetting` for what is no URL, and for TURN servers without one kind of credential."""
        self.stun = tuple(IceServer.read(url, "stun") for url in stun)
        self.turn = tuple(IceServer.read(url, "turn") for url in turn)
        self._static, self._secret, self._lifetime_s, self._clock = static, secret, lifetime_s, clock
        if self.turn and (static is None) == (secret is None):
            raise InvalidSetting("turn: expected turn_secret, or turn_username and turn_password, but not both")
        if not self.turn and (static or secret):
            raise InvalidSetting(
                "turn_secret, turn_username and turn_password: expected a TURN server (turn) with them"
            )
        for word in (static.username, static.password) if static else ():
            if not (word.isascii() and word.isprintable() and word):
                raise InvalidSetting("turn_username and turn_password: expected printable ASCII characters")

    def take_credentials(self, other: IceServers) -> None:
        """Give what other servers' credentials are made of from now on; the servers stay."""
        if self.turn:
            self._static, self._secret = other._static, other._secret

    def credential(self) -> Credential | None:
        """Return a credential for the TURN servers; None where there are none."""
        if self._secret is None:
            return self._static
        username = f"{round(self._clock() + self._lifetime_s)}:{USER}-{secrets.token_hex(4)}"
        digest = hmac.digest(self._secret.encode(), username.encode(), hashlib.sha1)
        return Credential(username, base64.b64encode(digest).decode())

    def configuration(self) -> list[dict[str, Any]]:
        """Return `iceServers` of a browser's RTCConfiguration."""
        found: list[dict[str, Any]] = [{"urls": [server.url for server in self.stun]}] if self.stun else []
        if credential := self.credential():
            urls = [server.url for server in self.turn]
            found.append({"urls": urls, "username": credential.username, "credential": credential.password})
        return found

    def links(self) -> list[str]:
        """Return the values of the Link headers for a WHIP or WHEP client (RFC 9725, 4.6)."""
        found = [f'<{server.url}>; rel="ice-server"' for server in self.stun]
        if credential := self.credential():
            user, password = _quoted(credential.username), _quoted(credential.password)
            with_them = f'rel="ice-server"; username={user}; credential={password}; credential-type="password"'
            found += [f"<{server.url}>; {with_them}" for server in self.turn]
        return found


def _quoted(text: str) -> str:
    """Return a quoted-string (RFC 9110, 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
