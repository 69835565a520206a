"""What passes to an aioice connection, on a scripted clock and on real sockets."""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace

import pytest
from aioice import Candidate, Connection
from aioice.stun import Class, Message, Method

from rtsr.bridge.limits import (
    FLOOD_SWEEPS,
    MEDIA_BURST,
    MEDIA_PER_S,
    MOST_CANDIDATES,
    MOST_WAITING,
    OTHERS_BURST,
    REPORTS_BURST,
    REPORTS_PER_S,
    AddressPolicy,
    ConnectionLimits,
)

PEER, OTHER = ("192.0.2.1", 5_000), ("192.0.2.2", 5_000)
SOUND, REPORT, HELLO = b"\x80\x60" + bytes(60), b"\x81\xc9" + bytes(60), b"\x16\xfe\xff" + bytes(60)
CHECK = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
ANYWHERE = AddressPolicy(loopback=True)


class Line:
    """A socket that counts what passes to it."""

    def __init__(self) -> None:
        self.now_s, self.came = 100.0, 0
        self.checks: list[Message] = []
        self.socket = SimpleNamespace(datagram_received=self.take)
        self.connection = SimpleNamespace(
            _protocols=[self.socket],
            _remote_candidates=[SimpleNamespace(_network_host=PEER[0], port=PEER[1])],
            _early_checks=deque(),
            _queue=asyncio.Queue(),
            _add_remote_candidate=None,
            check_incoming=lambda message, place, protocol: self.checks.append(message),
            _nominated={},
        )
        self.limits = ConnectionLimits(self.connection, ANYWHERE, self.take_media, lambda: self.now_s)
        self.limits.watch()

    def take(self, data: bytes, place: tuple) -> None:
        self.came += 1

    def take_media(self, data: bytes) -> None:
        assert 128 <= data[0] <= 191
        self.came += 1

    def send(self, data: bytes, place: tuple = PEER, times: int = 1) -> int:
        before = self.came
        for _ in range(times):
            self.socket.datagram_received(data, place)
        return self.came - before


def test_a_flood_is_stopped_before_it_is_decrypted():
    line = Line()
    passed = 0
    for _ in range(10):
        passed += line.send(SOUND, times=5_000)
        line.now_s += 1
    assert passed <= MEDIA_BURST + 10 * MEDIA_PER_S
    assert line.limits.refused == 50_000 - passed


def test_what_a_voice_needs_passes():
    line = Line()
    for _ in range(4_000):  # ten seconds of the shortest packets of Opus, a report and a check every second
        assert line.send(SOUND)
        line.now_s += 0.0025
    for _ in range(10):
        assert line.send(REPORT)
        assert line.send(CHECK)
        line.now_s += 1
    assert line.send(SOUND, times=100) == 100, "what has piled up for two seconds"
    assert line.limits.refused == 0


def test_reports_have_a_limit_of_their_own():
    line = Line()
    assert line.send(REPORT, times=1_000) == REPORTS_BURST
    line.now_s += 1
    assert line.send(REPORT, times=1_000) == REPORTS_PER_S
    assert line.send(SOUND, times=50) == 50


@pytest.mark.parametrize("data", [SOUND, REPORT, HELLO, CHECK])
def test_only_a_peer_that_sends_too_much_without_end_is_a_flood(data):
    line = Line()
    line.send(data, times=5_000)
    assert not line.limits.floods(), "once"
    for _ in range(FLOOD_SWEEPS - 1):
        line.send(data, times=5_000)
        line.now_s += 1
        assert not line.limits.floods()
    line.send(data, times=5_000)
    line.now_s += 1
    assert line.limits.floods()


def test_what_others_send_makes_no_peer_a_flood():
    line = Line()
    for _ in range(4 * FLOOD_SWEEPS):
        for data in (SOUND, REPORT, HELLO, CHECK):
            line.send(data, OTHER, times=2_000)
        line.now_s += 1
        assert not line.limits.floods()


def test_a_flood_with_a_pause_begins_anew():
    line = Line()
    for number in range(6 * FLOOD_SWEEPS):
        line.send(SOUND, times=5_000 if number % FLOOD_SWEEPS else 50)
        line.now_s += 1
        assert not line.limits.floods()


@pytest.mark.parametrize(
    ("first", "passes"),
    [
        (4, False),
        (19, False),
        (20, True),
        (63, True),
        (64, False),
        (127, False),
        (128, True),
        (191, True),
        (192, False),
    ],
)
def test_the_first_byte_tells_dtls_and_srtp(first, passes):
    """RFC 7983: 20 to 63, and 128 to 191."""
    assert Line().send(bytes([first, 96]) + bytes(60)) == passes


def test_others_spend_nothing_of_the_peers_limits():
    line = Line()
    for data in (SOUND, REPORT, HELLO):
        assert line.send(data, OTHER, times=1_000) == 0
    assert line.send(CHECK, OTHER, times=1_000) == OTHERS_BURST
    assert line.send(SOUND, times=100) == 100
    assert line.send(CHECK, times=50) == 50
    line.connection._early_checks.append((None, OTHER, None))
    assert line.send(HELLO, OTHER) == 1, "its check was authentic, and its handshake follows at once"


@pytest.mark.parametrize("data", [b"", b"\x80", HELLO[:12], b"\x80" + bytes(3_000), b"\x05" + bytes(60), bytes(3_000)])
def test_what_is_neither_stun_nor_dtls_nor_srtp_is_refused(data):
    assert Line().send(data) == 0


def test_what_nobody_reads_does_not_pile_up():
    line = Line()
    for _ in range(MOST_WAITING):
        line.connection._queue.put_nowait(b"")
    assert line.send(HELLO) == 0


@pytest.mark.parametrize(
    ("host", "port", "policy"),
    [
        ("8.8.8.8", 5_000, AddressPolicy()),
        ("8.8.8.8", 443, AddressPolicy()),
        ("2606:4700::1", 5_000, AddressPolicy(private=False)),
        ("192.168.1.4", 5_000, AddressPolicy()),
        ("fd00::1", 5_000, AddressPolicy()),
        ("127.0.0.1", 5_000, ANYWHERE),
        ("::1", 5_000, ANYWHERE),
    ],
)
def test_a_peer_may_be_here(host, port, policy):
    assert policy.admits(host, port)


@pytest.mark.parametrize(
    ("host", "port", "policy"),
    [
        ("127.0.0.1", 5_000, AddressPolicy()),
        ("::1", 5_000, AddressPolicy()),
        ("::ffff:127.0.0.1", 5_000, AddressPolicy()),
        ("224.0.0.251", 5_353, ANYWHERE),
        ("ff02::1", 5_000, ANYWHERE),
        ("169.254.169.254", 8_000, ANYWHERE),
        ("fe80::1", 5_000, ANYWHERE),
        ("fe80::1%eth0", 5_000, ANYWHERE),
        ("2606:4700::1%eth0", 5_000, ANYWHERE),
        ("2606:4700::%", 5_000, ANYWHERE),
        ("0.0.0.0", 5_000, ANYWHERE),
        ("::", 5_000, ANYWHERE),
        ("255.255.255.255", 5_000, ANYWHERE),
        ("64:ff9b::7f00:1", 5_000, ANYWHERE),
        ("10.1.2.3", 5_000, AddressPolicy(private=False)),
        ("100.64.0.1", 5_000, AddressPolicy(private=False)),
        ("fd00::1", 5_000, AddressPolicy(private=False)),
        ("8.8.8.8", 53, ANYWHERE),
        ("192.168.1.1", 80, ANYWHERE),
        ("8.8.8.8", 0, ANYWHERE),
        ("example.org", 5_000, ANYWHERE),
    ],
)
def test_a_peer_may_not_be_here(host, port, policy):
    assert not policy.admits(host, port)


def candidate(host: str, port: int, component: int = 1, transport: str = "udp") -> Candidate:
    return Candidate("1", component, transport, 99, host, port, "host")


def with_connection(test) -> None:
    async def run() -> None:
        connection = Connection(ice_controlling=False)
        connection.remote_username, connection.remote_password = "user", "x" * 22
        limits = ConnectionLimits(connection, AddressPolicy(), lambda data: None)
        await connection.gather_candidates()
        connection._early_checks_done = True
        try:
            await test(connection, limits)
        finally:
            await connection.close()

    asyncio.run(run())


def test_candidates_are_bounded_however_they_come():
    """Signalled one by one, or found as checks come from port after port."""

    async def test(connection: Connection, limits: ConnectionLimits) -> None:
        for number in range(MOST_CANDIDATES - 10):
            await connection.add_remote_candidate(candidate("192.168.77.7", 2_000 + number))
        assert len(connection.remote_candidates) == MOST_CANDIDATES - 10
        message = Message(Method.BINDING, Class.REQUEST, attributes={"PRIORITY": 1})
        for port in range(3_000, 4_000):
            connection.check_incoming(message, ("192.168.77.8", port), connection._protocols[0])
        await connection.add_remote_candidate(candidate("192.168.77.7", 5_000))
        assert len(connection.remote_candidates) == MOST_CANDIDATES
        assert len(connection._check_list) <= MOST_CANDIDATES * len(connection._protocols)
        assert limits.refused == 991

    with_connection(test)


def test_an_authentic_check_without_a_priority_is_refused():
    """aioice would raise, and each would be a traceback in the log."""

    async def test(connection: Connection, limits: ConnectionLimits) -> None:
        message = Message(Method.BINDING, Class.REQUEST, attributes={})
        connection.check_incoming(message, ("192.168.77.8", 3_000), connection._protocols[0])
        assert connection.remote_candidates == []
        assert limits.refused == 1

    with_connection(test)


@pytest.mark.parametrize(
    ("nominated", "place", "silent_s", "moves"),
    [(PEER, OTHER, 1.9, False), (PEER, OTHER, 2.1, True), (PEER, PEER, 2.1, False), (None, OTHER, 2.1, False)],
)
def test_a_check_from_elsewhere_nominates_once_the_peer_is_silent(nominated, place, silent_s, moves):
    line, check = Line(), Message(Method.BINDING, Class.REQUEST)
    if nominated:
        line.connection._nominated[1] = SimpleNamespace(remote_addr=nominated)
    line.now_s += 5
    assert line.send(CHECK)
    line.now_s += silent_s
    check.attributes["PRIORITY"] = 1
    line.connection.check_incoming(check, place, None)
    assert line.checks == [check]
    assert ("USE-CANDIDATE" in check.attributes) is moves


def test_candidates_elsewhere_are_sent_no_checks():
    async def test(connection: Connection, limits: ConnectionLimits) -> None:
        for host in ("127.0.0.1", "224.0.0.251", "169.254.1.1"):
            await connection.add_remote_candidate(candidate(host, 5_000))
        message = Message(Method.BINDING, Class.REQUEST, attributes={"PRIORITY": 1})
        connection.check_incoming(message, ("127.0.0.1", 5_000), connection._protocols[0])
        await connection.add_remote_candidate(candidate("192.168.77.7", 5_000, component=2))
        await connection.add_remote_candidate(candidate("192.168.77.7", 5_000, transport="tcp"))
        assert connection.remote_candidates == []
        assert connection._check_list == []
        assert limits.refused == 6

    with_connection(test)
