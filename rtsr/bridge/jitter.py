"""Packets that come unevenly, put in order; and how long the network makes us wait for the slowest of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

ROOM = 64  # packets
SPAN_S = 2.0  # extremes of transit times are those of the last one to two spans
NUMBERS, STAMPS = 1 << 16, 1 << 32


class Packet(NamedTuple):
    """What an RTP packet says, and when it arrived on the bridge's clock."""

    number: int
    stamp: int
    payload: bytes
    arrived_s: float


def unwrap(value: int, near: int, modulus: int) -> int:
    """Return the whole number closest to `near` that a counter of so many values shows as `value`."""
    return near + (value - near + modulus // 2) % modulus - modulus // 2


@dataclass(slots=True)
class Counts:
    """What became of a stream's packets; written by the engine's thread, read by anyone."""

    received: int = 0
    lost: int = 0  # were not there when their turn came
    late: int = 0  # came after their turn, or twice
    refused: int = 0  # found no room, or could not be decoded
    restarts: int = 0  # times that numbers or time stamps began anew
    concealed_hops: int = 0
    underruns: int = 0  # times that nothing was there, and what came then was late and not lost
    dropped_hops: int = 0  # taken out to return to the target


class Extremes:
    """The least and the largest of what was seen in the last one to two spans."""

    def __init__(self) -> None:
        self._began_s = -inf
        self._now, self._before = (inf, -inf), (inf, -inf)

    def see(self, value: float, now_s: float) -> None:
        """Note a value."""
        if now_s - self._began_s > SPAN_S:
            self._before = self._now if now_s - self._began_s < 2 * SPAN_S else (inf, -inf)
            self._began_s, self._now = now_s, (inf, -inf)
        self._now = min(self._now[0], value), max(self._now[1], value)

    @property
    def least(self) -> float:
        """Infinity before the first."""
        return min(self._now[0], self._before[0])

    @property
    def most(self) -> float:
        """Minus infinity before the first."""
        return max(self._now[1], self._before[1])


@dataclass
class JitterBuffer:
    """The next packets of one stream by number, at most `ROOM`; used by the engine's thread.

    `stamp` is unwrapped: it goes on rising where the 32 bits of RTP begin anew.
    """

    rate: int
    counts: Counts = field(default_factory=Counts)
    restarted: bool = False  # numbers or time stamps have begun anew since someone last cleared this
    _waiting: dict[int, Packet] = field(default_factory=dict)
    _next: int | None = None
    _stamp: int = 0
    _transit: Extremes = field(default_factory=Extremes)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def floor_s(self) -> float:
        """When the fastest packets would have arrived, had their time stamp been 0."""
        return self._transit.least

    @property
    def spread_s(self) -> float:
        """By how much the slowest packets were later than the fastest."""
        return max(0.0, self._transit.most - self._transit.least)

    def put(self, packet: Packet) -> None:
        """Take a packet as it comes; what is late, double or too many is counted and forgotten."""
        self.counts.received += 1
        if self._next is None:
            self._next, self._stamp = packet.number, packet.stamp
        number = unwrap(packet.number, self._next, NUMBERS)
        stamp = unwrap(packet.stamp, self._stamp, STAMPS)
        transit = packet.arrived_s - stamp / self.rate
        if abs(number - self._next) >= ROOM or (self._transit.least < inf and abs(transit - self._transit.least) > 1):
            self._restart(packet)
            number, stamp = packet.number, packet.stamp
            transit = packet.arrived_s - stamp / self.rate
        self._stamp = max(self._stamp, stamp)
        self._transit.see(transit, packet.arrived_s)
        if number < self._next or number in self._waiting:
            self.counts.late += 1
            return
        self._waiting[number] = packet._replace(number=number, stamp=stamp)

    def _restart(self, packet: Packet) -> None:
        self.counts.restarts += 1
        self.counts.refused += len(self._waiting)
        self._waiting.clear()
        self._next, self._stamp = packet.number, packet.stamp
        self._transit = Extremes()
        self.restarted = True

    def peek(self) -> Packet | None:
        """Return the earliest packet that is there, next in turn or not."""
        return self._waiting[min(self._waiting)] if self._waiting else None

    def take(self) -> Packet | None:
        """Return the next packet in turn, None if it is not there."""
        if self._next is None or self._next not in self._waiting:
            return None
        packet = self._waiting.pop(self._next)
        self._next += 1
        return packet

    def skip(self) -> None:
        """Give up the next packet in turn: it is lost, and late should it still come."""
        if self._next is not None:
            self._next += 1
            self.counts.lost += 1

    def skip_to_first(self) -> None:
        """Give up all that precede the earliest packet that is there."""
        if self._waiting and self._next is not None:
            first = min(self._waiting)
            self.counts.lost += first - self._next
            self._next = first
