"""Candidates of the bridge: addresses, ports, what is advertised, and servers that do not answer."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from aioice import Connection

from rtsr.bridge import gathering as module
from rtsr.bridge.gathering import Gathering, local_addresses
from rtsr.bridge.ice_servers import Credential, IceServers
from rtsr.errors import PoolFull

pytestmark = pytest.mark.realtime

LOOPBACK = "127.0.0.1"


def gather(wanted: Gathering, relay: bool = True) -> list[tuple[str, str, int]]:
    """What a connection gathers: type, host and port of each candidate."""

    async def run() -> list[tuple[str, str, int]]:
        connection = Connection(ice_controlling=False)
        wanted.attach(connection, relay)
        try:
            await connection.gather_candidates()
            return [(one.type, one.host, one.port) for one in connection.local_candidates]
        finally:
            await connection.close()

    return asyncio.run(run())


def free_ports(count: int) -> tuple[int, int]:
    """The first and the last of some UDP ports of loopback that nobody has."""
    for first in range(30_000, 60_000, count):
        try:
            for port in range(first, first + count):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                    one.bind((LOOPBACK, port))
        except OSError:
            continue
        return first, first + count - 1
    raise AssertionError("no free ports")


def test_loopback_is_among_the_addresses_where_it_is_asked_for():
    assert LOOPBACK in local_addresses((), loopback=True)
    assert LOOPBACK not in local_addresses((), loopback=False)
    assert local_addresses(("lo",), loopback=False)[0] == LOOPBACK
    assert local_addresses((LOOPBACK,), False) == local_addresses(("127.0.0.0/8",), False) == [LOOPBACK]
    assert local_addresses(("192.0.2.99",), loopback=True) == []


def test_ports_are_of_the_range_until_all_are_taken():
    ports = free_ports(4)

    async def run() -> None:
        wanted = Gathering((LOOPBACK,), ports=ports)
        connections = [Connection(ice_controlling=False) for _ in range(5)]
        found = set()
        for one in connections[:4]:
            wanted.attach(one, relay=False)
            await one.gather_candidates()
            found.add(one.local_candidates[0].port)
        assert found == set(range(ports[0], ports[1] + 1))
        wanted.attach(connections[4], relay=False)
        with pytest.raises(PoolFull, match="ice_ports"):
            await connections[4].gather_candidates()
        for one in connections:
            await one.close()

    asyncio.run(run())


def test_what_is_advertised_stands_for_addresses_of_its_version_but_not_for_loopback():
    found = gather(Gathering(loopback=True, advertise=("203.0.113.4",)))
    hosts = {host for _, host, _ in found}
    assert "203.0.113.4" in hosts
    assert LOOPBACK in hosts
    own = {one for one in local_addresses((), loopback=False) if "." in one}
    assert not own & hosts


def test_servers_that_are_silent_cost_a_bounded_time(monkeypatch):
    monkeypatch.setattr(module, "GATHER_S", 0.3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        port = silent.getsockname()[1]
        urls = (f"turn:{LOOPBACK}:{port}", f"turn:{LOOPBACK}:{port}?transport=tcp")
        servers = IceServers((f"stun:{LOOPBACK}:{port}",), urls, Credential("u", "p"))
        began = time.monotonic()
        found = gather(Gathering((LOOPBACK,), servers=servers))
        assert time.monotonic() - began < 2
        assert [kind for kind, _, _ in found] == ["host"]


def test_no_relay_is_taken_where_none_is_wanted():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOOPBACK, 0))
        server.setblocking(False)
        servers = IceServers(turn=(f"turn:{LOOPBACK}:{server.getsockname()[1]}",), static=Credential("u", "p"))
        assert len(gather(Gathering((LOOPBACK,), servers=servers, relay=False))) == 1
        assert len(gather(Gathering((LOOPBACK,), servers=servers), relay=False)) == 1
        with pytest.raises(BlockingIOError):
            server.recv(2_048)
