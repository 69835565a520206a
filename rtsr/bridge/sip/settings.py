"""What a table [[bridge.sip]] says: one listening address of SIP, who may call there, and whom we call from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ...daemon.config import check
from ...errors import InvalidSetting
from ..codec import CODECS, G722, OPUS, PCMA, PCMU
from ..config import NAME, address, is_loopback, networks, numeric_address
from .digest import HASHES
from .fields import DEFAULT_PORT, TLS_PORT, Uri

TRANSPORTS = ("udp", "tcp", "tls")
SECRETS = ("accounts", "password", "tls_cert", "tls_key", "tls_ca")  # what SIGHUP reads again
LEAST_SESSION_S = 90  # RFC 4028, section 4
ANY_NUMBER = {NAME.pattern: r"\g<0>"}  # the number is the room
LONGEST_NUMBER = 64


@dataclass(frozen=True, slots=True)
class SipSettings:
    """One table; docs/sip.md explains each."""

    name: str = "sip"
    listen: str = "127.0.0.1:5060"  # udp and tcp: both; tls: TLS alone
    transport: str = "udp"  # of what we send first
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca: str | None = None  # whose certificates of servers are believed; None: the system's
    advertise: str | None = None  # the address that others reach us at, where it is not our own
    sources: tuple[str, ...] = ()  # addresses and networks that may call; none: all that can reach us
    proxies: tuple[str, ...] = ()  # addresses and networks of SIP proxies in front of us: nobody else may send then
    accounts: dict[str, str] = field(default_factory=dict)  # name and password of callers; none: none is asked for
    realm: str = "rtsr"
    digest: tuple[str, ...] = ("MD5",)  # by which passwords are asked for; some telephones end at one they do not know
    rooms: dict[str, str] = field(default_factory=lambda: dict(ANY_NUMBER))  # pattern of a number, and its room
    codecs: tuple[str, ...] = (OPUS, G722, PCMA, PCMU)  # that are taken; offered in this order
    srtp: bool = False  # what we offer; what is offered to us may be either
    session_s: int = 1_800  # after which a call has to be refreshed (RFC 4028)
    ring_s: float = 60.0  # that a call of ours may ring
    server: str | None = None  # sip:HOST[:PORT] of a registrar, PBX or trunk: where our calls go
    register: bool = False  # at the server
    expires_s: int = 300  # of the registration
    username: str | None = None  # ours at the server
    password: str | None = None
    domain: str | None = None  # of our address; the server's host if not given
    outbound_proxy: str | None = None  # sip:HOST[:PORT] that what we send first goes through, on its way

    def __post_init__(self) -> None:
        check(self, {"session_s": (LEAST_SESSION_S, 86_400), "ring_s": (1.0, 600.0), "expires_s": (60, 86_400)})
        if not NAME.fullmatch(self.name):
            raise InvalidSetting(f"name: expected 1 to 64 letters, digits, - or _, got {self.name!r}")
        if self.transport not in TRANSPORTS:
            raise InvalidSetting(f"transport: expected one of {', '.join(TRANSPORTS)}, got {self.transport!r}")
        if (self.tls_cert is None) != (self.tls_key is None) or (self.transport == "tls") != (
            self.tls_cert is not None
        ):
            raise InvalidSetting("tls_cert and tls_key: expected both with transport 'tls', and none without")
        if not self.codecs or any(codec not in CODECS for codec in self.codecs):
            raise InvalidSetting(f"codecs: expected some of {', '.join(CODECS)}, got {', '.join(self.codecs)}")
        if not self.digest or any(name not in HASHES for name in self.digest):
            raise InvalidSetting(f"digest: expected some of {', '.join(HASHES)}, got {', '.join(self.digest)}")
        if self.advertise is not None:
            numeric_address(self.advertise, "advertise")
        self._check_access()
        self._check_server()
        self._check_rooms()

    def _check_access(self) -> None:
        host, _ = address(self.listen, "listen")
        numeric_address(host, "listen")
        networks(self.sources, "sources")
        networks(self.proxies, "proxies")
        known = self.sources or self.proxies or self.accounts or self.server is not None
        if not known and not is_loopback(host):
            raise InvalidSetting(
                f"listen: {host} can be reached by others; expected sources, proxies, accounts or a server"
            )
        for name, password in self.accounts.items():
            if not name.isascii() or not name.isprintable() or not password:
                raise InvalidSetting("accounts: expected names of ASCII letters, and a password for each")

    def _check_server(self) -> None:
        for name in ("server", "outbound_proxy"):
            self._uri(name)
        if self.register and (self.server is None or self.username is None):
            raise InvalidSetting("register: expected a server and a username with it")
        if self.password is not None and self.username is None:
            raise InvalidSetting("password: expected a username with it")
        for name in ("username", "domain", "realm"):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(r"[A-Za-z0-9_.+:\[\]*#-]{1,128}", value):
                raise InvalidSetting(f"{name}: expected letters, digits and .+_-, got {value!r}")

    def _check_rooms(self) -> None:
        for pattern, room in self.rooms.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise InvalidSetting(f"rooms: {pattern!r} is no regular expression: {error}") from error
            if not isinstance(room, str):
                raise InvalidSetting(f"rooms: expected the name of a room for {pattern!r}, got {room!r}")

    def _uri(self, name: str) -> Uri | None:
        text = getattr(self, name)
        try:
            uri = None if text is None else Uri.read(text)
        except ValueError:
            uri = Uri("sip", "", "")
        if uri is not None and not uri.host:
            raise InvalidSetting(f"{name}: expected sip:HOST or sip:HOST:PORT, got {text!r}")
        return uri

    @property
    def server_uri(self) -> Uri:
        """Where our calls go; its transport is ours unless it names another."""
        uri = self._uri("server")
        assert uri is not None
        return uri

    @property
    def server_place(self) -> tuple[str, int]:
        """Its host and port."""
        return self._place_of(self.server_uri)

    def first_hop(self, place: tuple[str, int]) -> tuple[str, int]:
        """Return where something that is for a place is sent: there, or to the proxy that it goes through."""
        proxy = self._uri("outbound_proxy")
        return place if proxy is None else self._place_of(proxy)

    @property
    def first_route(self) -> list[str]:
        """The Route of what we send first."""
        return [] if self.outbound_proxy is None else [f"<{self.outbound_proxy}>"]

    def _place_of(self, uri: Uri) -> tuple[str, int]:
        return uri.host.strip("[]"), uri.port or (TLS_PORT if self.transport == "tls" else DEFAULT_PORT)

    @property
    def own_domain(self) -> str | None:
        """Of our address, where it is not the address that we listen on."""
        return self.domain or (self.server_uri.host if self.server else None)

    def room_of(self, number: str) -> str | None:
        """Return the room of a number, by the first pattern that fits all of it, or None."""
        if len(number) > LONGEST_NUMBER:
            return None
        for pattern, room in self.rooms.items():
            if found := re.fullmatch(pattern, number):
                try:
                    name = found.expand(room)
                except (re.error, IndexError):
                    return None
                return name if NAME.fullmatch(name) else None
        return None


def read_tables(tables: Sequence[dict[str, Any]]) -> tuple[SipSettings, ...]:
    """Return the settings of all tables; raises `InvalidSetting`."""
    known, found = {one.name for one in fields(SipSettings)}, []
    for table in tables:
        for name in table:
            if name not in known:
                raise InvalidSetting(f"sip: no setting named {name!r}; there are: {', '.join(sorted(known))}")
        try:
            given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in table.items()}
            found.append(SipSettings(**given))
        except InvalidSetting as error:
            raise InvalidSetting(f"sip: {error}") from error
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise InvalidSetting(f"sip: expected tables of different names, got {', '.join(names)}")
    return tuple(found)
