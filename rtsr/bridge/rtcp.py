"""RTCP (RFC 3550, section 6): reports read and written, and what they are made from. The event loop's."""

from __future__ import annotations

import secrets
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .jitter import NUMBERS, unwrap
from .rtp import REPORTS, VERSION

SENDER_REPORT, RECEIVER_REPORT, DESCRIPTION, BYE = 200, 201, 202, 203
CNAME = 1
BLOCK = struct.Struct("!IB3sIIII")  # of a report: section 6.4.1
SENDER = struct.Struct("!IIIII")
NTP_EPOCH_S = 2_208_988_800  # of 1970, since 1900
MOST_REMEMBERED = 8  # reports of ours, whose echo tells the round trip
LONGEST_ROUND_TRIP_S = 10.0
MOST_LOST = (1 << 23) - 1


class Block(NamedTuple):
    """What a receiver says about the stream of one source."""

    source: int
    fraction_lost: float  # since its last report
    lost: int  # altogether; negative where packets came twice
    highest: int
    jitter: int  # ticks of the clock
    last: int  # the middle 32 bits of the NTP time of the last report from that source; 0: none
    since_s: float  # that the receiver has had it


class Report(NamedTuple):
    """What a compound RTCP packet says."""

    source: int
    leaves: bool
    sent: int = 0  # the middle 32 bits of its NTP time, of a sender report
    blocks: tuple[Block, ...] = ()


def parse_report(data: bytes) -> Report | None:
    """Return what a compound RTCP packet says (RFC 3550, A.2); None for anything else."""
    parts = list(_parts(data))
    if not parts or parts[0][0] not in (SENDER_REPORT, RECEIVER_REPORT) or sum(len(p) for _, p in parts) != len(data):
        return None
    kind, first = parts[0]
    source = int.from_bytes(first[4:8])
    leaves = any(kind == BYE and int.from_bytes(part[4:8]) == source for kind, part in parts)
    is_sender = kind == SENDER_REPORT and len(first) >= 8 + SENDER.size
    start = 8 + (SENDER.size if kind == SENDER_REPORT else 0)
    room = max(0, len(first) - start) // BLOCK.size
    blocks = tuple(_block(first, start + n * BLOCK.size) for n in range(min(first[0] & 0x1F, room)))
    return Report(source, leaves, int.from_bytes(first[10:14]) if is_sender else 0, blocks)


def _block(data: bytes, at: int) -> Block:
    source, fraction, lost, highest, jitter, last, since = BLOCK.unpack_from(data, at)
    return Block(source, fraction / 256, int.from_bytes(lost, signed=True), highest, jitter, last, since / 65_536)


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and bytes of each packet of a compound one, until one is not whole."""
    while len(data) >= 8 and data[0] >> 6 == VERSION and data[1] in REPORTS:
        size = 4 + 4 * int.from_bytes(data[2:4])
        if not 8 <= size <= len(data):
            return
        yield data[1], data[:size]
        data = data[size:]


def _packet(kind: int, count: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("!BBH", VERSION << 6 | count, kind, len(body) // 4) + body


@dataclass
class Reception:
    """What has been received of one source: loss (RFC 3550, A.3) and interarrival jitter (A.8)."""

    clock_hz: int
    received: int = 0
    jitter: float = 0.0  # ticks of the clock
    _first: int | None = None
    _highest: int = 0
    _transit: float | None = None
    _before: tuple[int, int] = (0, 0)  # expected and received, at the last report

    def hear(self, number: int, stamp: int, arrived_s: float, *, audio: bool) -> None:
        """Note a packet; of those without audio the time stamp does not count."""
        self.received += 1
        if self._first is None:
            self._first = self._highest = number
        self._highest = max(self._highest, unwrap(number, self._highest, NUMBERS))
        if not audio:
            return
        transit = arrived_s * self.clock_hz - stamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            if change < self.clock_hz:  # more than a second: the stream's time stamps have begun anew
                self.jitter += (change - self.jitter) / 16
        self._transit = transit

    @property
    def expected(self) -> int:
        """How many packets the sender's numbers stand for."""
        return 0 if self._first is None else self._highest - self._first + 1

    @property
    def lost(self) -> int:
        """How many of them did not arrive; less those that arrived twice."""
        return self.expected - self.received

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter."""
        return 1000 * self.jitter / self.clock_hz

    def block(self, source: int, last: int, since_s: float) -> bytes:
        """Return a report block, and begin the next interval."""
        expected, received = self.expected - self._before[0], self.received - self._before[1]
        self._before = self.expected, self.received
        lost = max(0, expected - received)
        fraction = min(255, 256 * lost // expected) if expected > 0 else 0
        total = max(-MOST_LOST, min(self.lost, MOST_LOST)).to_bytes(3, signed=True)
        since = min(round(since_s * 65_536), (1 << 32) - 1) if last else 0
        return BLOCK.pack(source, fraction, total, self._highest % (1 << 32), round(self.jitter), last, since)


@dataclass
class Reports:
    """Reports of one call: ours are made from what was sent and received, theirs tell the round trip."""

    source: int
    reception: Reception
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    sent: int = 0
    sent_bytes: int = 0
    sent_stamp: int = 0  # of the last packet
    round_trip_ms: float | None = None  # smoothed as in RFC 6298
    remote: Block | None = None  # what the peer said last about our stream
    _name: bytes = field(default_factory=lambda: secrets.token_urlsafe(9).encode())
    _told: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))
    _peer: int | None = None
    _peer_sent: int = 0
    _peer_heard_s: float = 0.0

    def note_sent(self, stamp: int, payload: bytes) -> None:
        """Count a packet of ours."""
        self.sent += 1
        self.sent_bytes += len(payload)
        self.sent_stamp = stamp

    def take(self, report: Report) -> None:
        """Read a report of the peer's."""
        now_s, now = self.clock(), self._now()[1]
        self._peer = report.source
        if report.sent:
            self._peer_sent, self._peer_heard_s = report.sent, now_s
        for block in report.blocks:
            if block.source != self.source:
                continue
            self.remote = block
            round_trip_s = ((now - block.last) % (1 << 32)) / 65_536 - block.since_s
            if block.last in self._told and 0 <= round_trip_s < LONGEST_ROUND_TRIP_S:
                found = 1000 * round_trip_s
                old = self.round_trip_ms
                self.round_trip_ms = found if old is None else old + (found - old) / 8

    def write(self, peer: int | None, *, leaves: bool = False) -> bytes:
        """Return a compound packet about the stream of `peer`, if any: a report, our name, and BYE if we leave."""
        last = self._peer_sent if self._peer == peer else 0
        blocks = b"" if peer is None else self.reception.block(peer, last, self.clock() - self._peer_heard_s)
        count = len(blocks) // BLOCK.size
        source = self.source.to_bytes(4)
        if self.sent:
            (high, low), middle = self._now()
            self._told.append(middle)
            counters = (value % (1 << 32) for value in (self.sent_stamp, self.sent, self.sent_bytes))
            sender = SENDER.pack(high, low, *counters)
            report = _packet(SENDER_REPORT, count, source + sender + blocks)
        else:
            report = _packet(RECEIVER_REPORT, count, source + blocks)
        items = source + bytes([CNAME, len(self._name)]) + self._name + b"\0"
        return report + _packet(DESCRIPTION, 1, items) + (_packet(BYE, 1, source) if leaves else b"")

    def _now(self) -> tuple[tuple[int, int], int]:
        """The NTP time in seconds and fractions, and its middle 32 bits."""
        now_s = self.wall_clock() + NTP_EPOCH_S
        high, low = int(now_s) % (1 << 32), int((now_s % 1) * (1 << 32))
        return (high, low), (high & 0xFFFF) << 16 | low >> 16

    def stats(self) -> dict[str, Any]:
        """Return what is known of the path, in plain numbers; None where it was not measured."""
        clock_hz, remote = self.reception.clock_hz, self.remote
        return {
            "lost": self.reception.lost,
            "jitter_ms": round(self.reception.jitter_ms, 1),
            "round_trip_ms": None if self.round_trip_ms is None else round(self.round_trip_ms, 1),
            "remote_lost": remote.lost if remote else None,
            "remote_fraction_lost": round(remote.fraction_lost, 4) if remote else None,
            "remote_jitter_ms": round(1000 * remote.jitter / clock_hz, 1) if remote else None,
        }
