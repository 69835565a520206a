"""What `rtsr bridge` is to do: every setting, its bounds, and the TOML table that it may stand in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yarl import URL

from ..daemon.config import check, settings_of
from ..errors import InvalidSetting
from .codec import CODECS, PCMU
from .ice_servers import Credential, IceServers

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a room, and of a call
PACKET_MS = (10, 20)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """Everything a bridge is made from; docs/bridge.md explains each."""

    listen: str = "127.0.0.1:8443"
    tls_cert: str | None = None
    tls_key: str | None = None
    tokens: tuple[str, ...] = ()  # a request has to carry one of them; none: none is required
    token_file: str | None = None  # holds more of them, one a line
    allow_plain_http: bool = False  # tokens may be sent to others' machines without TLS
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks whose X-Forwarded-Proto and -Host are believed
    origins: tuple[str, ...] = ()  # of pages elsewhere that may call, such as https://example.org
    model: str = "voice-16k"
    backend: str = "auto"
    calls: int | None = None  # at once; None: as many as were measured to fit
    rooms: int = 64
    peers: int = 16  # per room
    packet_ms: int = 20  # 10 or 20
    target_ms: float = 10.0  # the least that a packet waits for the slower ones
    idle_s: float = 30.0  # without a packet from a speaker, and the call ends
    connect_s: float = 15.0  # from an offer to a connection
    drain_s: float = 30.0  # that calls have to end by themselves after SIGTERM
    report_url: str | None = None  # where a report of each call is posted when it ends
    record: str | None = None  # the folder for recordings; None: nothing is recorded
    record_on_request: bool = False  # only rooms for which a request asked; otherwise all
    record_track_mib: int = 2_048  # of one file, before its recording ends
    record_free_mib: int = 1_024  # of the disk that recordings leave free
    sdp_bytes: int = 65_536  # of an offer
    private_peers: bool = True  # whether a peer may name addresses that are not of the public internet
    stun: tuple[str, ...] = ()  # URLs (RFC 7064)
    turn: tuple[str, ...] = ()  # URLs (RFC 7065); the bridge takes the first that answers, peers get all
    turn_username: str | None = None
    turn_password: str | None = None
    turn_secret: str | None = None  # shared with the TURN servers: credentials are made of it, and expire
    turn_lifetime_s: float = 3_600.0  # of such credentials
    relay: bool = True  # whether the bridge itself takes a relay; false: TURN is for its peers alone
    advertise: tuple[
        str, ...
    ] = ()  # public addresses, at most one of IPv4 and one of IPv6, in candidates instead of its own
    ice_addresses: tuple[str, ...] = ()  # addresses, networks and interfaces for calls; none: all
    ice_ports: str | None = None  # FIRST-LAST, UDP ports for calls; None: the system chooses
    connections: int = 256  # of HTTP clients at once
    connections_per_address: int = 64  # of them, from one that is no trusted proxy
    http_s: float = 20.0  # that a client may be idle, or take to send a request's head or to receive an answer
    rtp: str | None = None  # HOST:PORT of a plain RTP leg
    rtp_sources: tuple[str, ...] = ()  # addresses and networks that may send to it; none: all that can reach it
    rtp_host: str = "127.0.0.1"  # on which legs of plain RTP are opened by request
    rtp_ports: str | None = None  # FIRST-LAST, from which their ports are taken; None: the system chooses
    audiosocket: str | None = None  # HOST:PORT for AudioSocket; rtp_sources says who may connect
    middlebox_url: str | None = None  # WebSocket of a program that hears the enhanced voice and answers
    rtp_silent_s: float = 8.0  # without a packet of its caller, and the call ends
    room: str = "phone"  # that it joins
    codec: str = PCMU  # that it sends and receives
    sip: tuple[dict[str, Any], ...] = ()  # tables [[bridge.sip]]; sip/settings.py reads them

    def __post_init__(self) -> None:
        bounds = {
            "calls": (1, 1_000),
            "rooms": (1, 10_000),
            "peers": (2, 1_000),
            "target_ms": (5.0, 250.0),
            "idle_s": (1.0, 86_400.0),
            "connect_s": (1.0, 600.0),
            "drain_s": (0.0, 86_400.0),
            "rtp_silent_s": (1.0, 600.0),
            "record_track_mib": (1, 1_048_576),
            "record_free_mib": (0, 1_073_741_824),
            "sdp_bytes": (1_024, 1_048_576),
            "turn_lifetime_s": (60.0, 604_800.0),
            "connections": (1, 100_000),
            "connections_per_address": (1, 100_000),
            "http_s": (1.0, 3_600.0),
        }
        check(self, bounds)
        if self.packet_ms not in PACKET_MS:
            raise InvalidSetting(f"packet_ms: expected 10 or 20, got {self.packet_ms}")
        if self.codec not in CODECS:
            raise InvalidSetting(f"codec: expected one of {', '.join(CODECS)}, got {self.codec!r}")
        if self.report_url is not None:
            _check_url(self.report_url, "report_url", "http")
        if self.middlebox_url is not None:
            _check_url(self.middlebox_url, "middlebox_url", "ws")
        if not NAME.fullmatch(self.room):
            raise InvalidSetting(f"room: expected 1 to 64 letters, digits, - or _, got {self.room!r}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidSetting("tls_cert and tls_key: expected both or none")
        self._check_access()
        self._check_ice()
        networks(self.rtp_sources, "rtp_sources")
        numeric_address(self.rtp_host, "rtp_host")
        if self.rtp_ports is not None:
            port_range(self.rtp_ports, "rtp_ports")
        if self.audiosocket is not None:
            self._check_reachable(self.audiosocket, "audiosocket")
        if self.rtp is not None:
            self._check_reachable(self.rtp, "rtp")

    def _check_ice(self) -> None:
        """Raise `InvalidSetting` for what is no server, no address, or no range of ports."""
        self.ice_servers()
        versions = [ipaddress.ip_address(numeric_address(one, "advertise")).version for one in self.advertise]
        if len(versions) != len(set(versions)):
            raise InvalidSetting(
                f"advertise: expected one address of IPv4, one of IPv6, or one of each, got {versions}"
            )
        if self.ice_ports is not None:
            port_range(self.ice_ports, "ice_ports")

    def ice_servers(self) -> IceServers:
        """Return the STUN and TURN servers; raises `InvalidSetting`."""
        if (self.turn_username is None) != (self.turn_password is None):
            raise InvalidSetting("turn_username and turn_password: expected both or none")
        static = Credential(self.turn_username, self.turn_password or "") if self.turn_username is not None else None
        return IceServers(self.stun, self.turn, static, self.turn_secret, self.turn_lifetime_s)

    def _check_reachable(self, place: str, name: str) -> None:
        """Raise `InvalidSetting` where others could send to a port and nobody says who may."""
        host, _ = address(place, name)
        if not self.rtp_sources and not is_loopback(host):
            raise InvalidSetting(f"{name}: {host} can be reached by others; expected a --rtp-source with it")

    def _check_access(self) -> None:
        """Raise `InvalidSetting` where others could come in without a token, or read one on its way."""
        if "" in self.tokens:
            raise InvalidSetting("tokens: expected no empty one")
        for proxy in self.trusted_proxies:
            _network(proxy)
        host, _ = address(self.listen, "listen")
        if is_loopback(host):
            return
        if not self.tokens and self.token_file is None:
            raise InvalidSetting(f"listen: {host} can be reached by others; expected a --token with it")
        if self.tls_cert is None and not self.allow_plain_http:
            raise InvalidSetting(
                f"listen: a token that is sent to {host} without TLS can be read on its way; expected --tls CERT KEY, "
                "or --allow-plain-http where a proxy in front of it encrypts"
            )

    def address_for_others(self, host: str) -> str:
        """Return the address that is advertised instead of one of ours; loopback is for peers on this machine."""
        own = ipaddress.ip_address(host)
        same = (one for one in self.advertise if ipaddress.ip_address(one).version == own.version)
        return host if own.is_loopback else next(same, host)

    def trusts(self, host: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        try:
            found = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(found in _network(proxy) for proxy in self.trusted_proxies)

    def all_tokens(self) -> tuple[str, ...]:
        """Return the tokens, those of the file included, which is read now; raises `InvalidSetting`."""
        if self.token_file is None:
            return self.tokens
        try:
            lines = Path(self.token_file).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSetting(f"token_file: {self.token_file} cannot be read ({error})") from error
        found = tuple(line.strip() for line in lines if line.strip())
        if not found:
            raise InvalidSetting(f"token_file: expected a token a line in {self.token_file}, got none")
        return self.tokens + found


def _check_url(text: str, name: str, scheme: str) -> None:
    """Raise `InvalidSetting` for what is no URL of a scheme, with or without TLS."""
    try:
        url = URL(text)
        fits = url.scheme in (scheme, f"{scheme}s") and bool(url.host)
    except ValueError:
        fits = False
    if not fits:
        raise InvalidSetting(f"{name}: expected {scheme}://... or {scheme}s://..., got {text!r}")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidSetting(f"trusted_proxies: expected an address or a network, got {text!r} ({error})") from None


def address(text: str, name: str) -> tuple[str, int]:
    """Read HOST:PORT, an IPv6 host in brackets; raises `InvalidSetting`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or len(port) > 5 or not 0 <= int(port) <= 65_535:
        raise InvalidSetting(f"{name}: expected HOST:PORT, got {text!r}")
    return host.strip("[]"), int(port)


def numeric_address(text: str, name: str) -> str:
    """Return a numeric address; raises `InvalidSetting`."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidSetting(f"{name}: expected a numeric address, got {text!r}") from None


def port_range(text: str, name: str) -> tuple[int, int]:
    """Read FIRST-LAST, at least an even port and the next one; raises `InvalidSetting`."""
    first, _, last = text.partition("-")
    if not all(end.isdecimal() and len(end) <= 5 and 1 <= int(end) <= 65_535 for end in (first, last)):
        raise InvalidSetting(f"{name}: expected FIRST-LAST such as 10000-10999, got {text!r}")
    if int(first) + int(first) % 2 >= int(last):
        raise InvalidSetting(f"{name}: expected room for an even port and the next one, got {text!r}")
    return int(first), int(last)


def networks(texts: Iterable[str], name: str) -> tuple[Network, ...]:
    """Read addresses and networks such as 192.0.2.0/24; raises `InvalidSetting`."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise InvalidSetting(f"{name}: expected an address or a network such as 192.0.2.0/24: {error}") from error


def contains(among: Iterable[Network], host: str) -> bool:
    """Whether a numeric address, of IPv4 perhaps mapped to IPv6, is in one of the networks; a name never is."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in among if network.version == found.version)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make_settings(path: Path | None, given: dict[str, Any]) -> BridgeSettings:
    """Return the settings of a file's [bridge], overridden by those of `given` that are not None."""
    return settings_of(BridgeSettings, "bridge", path, given)
