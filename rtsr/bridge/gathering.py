"""The ICE candidates that the bridge offers: its own sockets, what STUN says of them, and a relay. The event loop's.

aioice opens sockets on every address but loopback and on any port, and knows one TURN server. This takes the place of
its gathering, and keeps its checks.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import random
import socket
from asyncio.staggered import staggered_race
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ifaddr
from aioice import Candidate, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, relayed_candidate

from ..errors import PoolFull
from .config import BridgeSettings, address, is_loopback, port_range
from .ice_servers import IceServer, IceServers

GATHER_S = 1.5  # that servers have to answer: the peer waits for it
NEXT_S = 0.2  # after which the next server is tried as well
RECEIVE_BUFFER = 262_144  # bytes of a socket
log = logging.getLogger("rtsr.bridge")


def local_addresses(chosen: tuple[str, ...], loopback: bool) -> list[str]:
    """Return the addresses of this machine that are among `chosen`, which are addresses, networks and interfaces.

    Where none is chosen, all but those of loopback, which are the last ones with `loopback`. Link-local ones of IPv6
    have a zone that no candidate can carry, and are left out.
    """
    wanted = [network for one in chosen if (network := _network(one))]
    found: list[str] = []
    local: list[str] = []
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            if not isinstance(one.ip, str) and one.ip[2]:
                continue
            address = ipaddress.ip_address(one.ip if isinstance(one.ip, str) else one.ip[0])
            if chosen:
                named = adapter.nice_name in chosen or adapter.name in chosen
                found += [str(address)] if named or any(address in network for network in wanted) else []
            else:
                (local if address.is_loopback else found).append(str(address))
    return found + (local if loopback else [])


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Gathering:
    """Where calls are taken. `attach` lets a connection of aioice gather this way."""

    addresses: tuple[str, ...] = ()  # and networks and interfaces; none: all of this machine
    loopback: bool = False
    ports: tuple[int, int] | None = None  # the first and the last; None: the system chooses
    advertise: tuple[str, ...] = ()  # in candidates instead of our own address, one of each version
    servers: IceServers = field(default_factory=IceServers)
    relay: bool = True  # whether there is a relayed candidate, where there are TURN servers

    @classmethod
    def of(cls, settings: BridgeSettings, servers: IceServers) -> Gathering:
        """Return what the settings say."""
        loopback = is_loopback(address(settings.listen, "listen")[0])
        ports = port_range(settings.ice_ports, "ice_ports") if settings.ice_ports else None
        return cls(settings.ice_addresses, loopback, ports, settings.advertise, servers, settings.relay)

    def attach(self, connection: Any, relay: bool) -> None:
        """Let a connection that has not gathered yet do it this way; `relay`: whether this one needs a relay."""
        connection.get_component_candidates = partial(self._gather, connection, relay and self.relay)

    async def _gather(self, connection: Any, relay: bool, component: int, addresses: list[str]) -> list[Candidate]:
        """Open the sockets and return their candidates; raises `PoolFull` where all ports are taken."""
        sockets = [
            protocol
            for address in local_addresses(self.addresses, self.loopback)
            if (protocol := await self._open(connection, component, address))
        ]
        work = [self._reflexive(protocol) for protocol in sockets if self._asks_stun(protocol.local_candidate.host)]
        if relay and self.servers.turn:
            work.append(self._relayed(connection, component))
        found = await asyncio.gather(*(_within(GATHER_S, one) for one in work))
        for protocol in sockets:
            self._advertise(protocol.local_candidate)
        return [protocol.local_candidate for protocol in sockets] + [one for one in found if one]

    async def _open(self, connection: Any, component: int, address: str) -> StunProtocol | None:
        """Open a socket and give it its candidate; None where the system does not let us."""
        for port in self._ports_to_try():
            try:
                transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: StunProtocol(connection), local_addr=(address, port)
                )
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                log.warning("no socket on %s: %s", address, error)
                return None
            connection._protocols.append(protocol)  # at once, so that it is closed whatever comes
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            host, port = transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            return protocol
        raise PoolFull("all UDP ports for calls (ice_ports) are taken")

    def _ports_to_try(self) -> Iterable[int]:
        """Return the ports of the range, from a random one on."""
        if self.ports is None:
            return (0,)
        first, last = self.ports
        count = last - first + 1
        begin = random.randrange(count)
        return (first + (begin + n) % count for n in range(count))

    def _advertise(self, candidate: Candidate) -> None:
        """Put the public address of the same version into a candidate; loopback is for peers on this machine."""
        if ipaddress.ip_address(candidate.host).is_loopback:
            return
        for public in self.advertise:
            if ipaddress.ip_address(public).version == ipaddress.ip_address(candidate.host).version:
                candidate.host = public

    def _asks_stun(self, host: str) -> bool:
        """Whether a socket needs STUN: what is advertised is known, and loopback is the same everywhere."""
        own = ipaddress.ip_address(host)
        known = any(ipaddress.ip_address(public).version == own.version for public in self.advertise)
        return bool(self.servers.stun) and not known and not own.is_loopback

    async def _reflexive(self, protocol: StunProtocol) -> Candidate | None:
        """Ask the STUN servers what address a socket has to others."""
        host = protocol.local_candidate.host
        places = [await _place_for(one, host) for one in self.servers.stun]
        ask = [partial(_ask_stun, protocol, place) for place in places if place]
        return await _first("STUN", ask) if ask else None

    async def _relayed(self, connection: Any, component: int) -> Candidate | None:
        """Allocate a relay on the first TURN server that gives one."""
        credential = self.servers.credential()
        assert credential is not None
        allocate = [
            partial(
                relayed_candidate,
                component=component,
                hide_related_address=False,
                protocol_factory=lambda: StunProtocol(connection),
                turn_server=(one.host, one.port),
                turn_username=credential.username,
                turn_password=credential.password,
                turn_ssl=one.tls,
                turn_transport=one.transport,
            )
            for one in self.servers.turn
        ]
        found = await _first("TURN", allocate)
        if found is None:
            return None
        if connection._closing:  # the call has ended meanwhile
            await found[1].close()
            return None
        connection._protocols.append(found[1])
        return found[0]


async def _place_for(server: IceServer, host: str) -> tuple[str, int] | None:
    """Return where a server is for a socket on a host: an address of its IP version that there is a route to."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(server.host, server.port, family=family, type=socket.SOCK_DGRAM)
        place = (str(found[0][4][0]), int(found[0][4][1]))
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
            probe.connect(place)
    except OSError as error:
        level = logging.WARNING if family == socket.AF_INET else logging.DEBUG  # many servers have no address of IPv6
        log.log(level, "STUN server %s is not asked from %s: %s", server.host, host, error)
        return None
    return place


async def _ask_stun(protocol: StunProtocol, place: tuple[str, int]) -> Candidate:
    """Ask a STUN server (RFC 8489) what address a socket has to others; aioice does so over IPv4 alone."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    response, _ = await protocol.request(request, place)
    host, port = response.attributes["XOR-MAPPED-ADDRESS"]
    own = protocol.local_candidate
    return Candidate(
        foundation=candidate_foundation("srflx", "udp", own.host),
        component=own.component,
        transport="udp",
        priority=candidate_priority(own.component, "srflx"),
        host=host,
        port=port,
        type="srflx",
        related_address=own.host,
        related_port=own.port,
    )


async def _first(kind: str, attempts: Sequence[Callable[[], Any]]) -> Any:
    """Return what the first attempt that succeeds does, the next one begun when one fails or takes long; else None."""
    result, winner, failures = await staggered_race(attempts, NEXT_S)
    if winner is None:
        why = "; ".join(f"{type(error).__name__}: {error}" for error in failures if error)
        log.warning("no %s server answered: %s", kind, why)
    return result


async def _within(limit_s: float, work: Any) -> Any:
    """Return a result, or None where there is none in time."""
    try:
        async with asyncio.timeout(limit_s):
            return await work
    except TimeoutError:
        log.warning("a STUN or TURN server did not answer within %g s", limit_s)
        return None
