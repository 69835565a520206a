"""A jitter buffer: packets in the order of their numbers, and the spread of their transit times."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

ROOM = 64  # packets
LONGEST_WAY_S = 1.0  # by which a packet may be slower or faster than the fastest before it
SPAN_S = 2.0  # extremes of transit times are those of the last one to two spans
NUMBERS, STAMPS = 1 << 16, 1 << 32


class Packet(NamedTuple):
    """The fields of an RTP packet, and when it arrived on the bridge's clock.

    An empty payload is one that holds no sound: comfort noise (RFC 3389), a telephone event (RFC 4733), padding. Its
    number counts, its time stamp does not: that of an event is when the event began.
    """

    number: int
    stamp: int
    payload: bytes
    arrived_s: float
    noise: bytes = b""  # of an empty one: what comfort noise describes


def unwrap(value: int, near: int, modulus: int) -> int:
    """Return the whole number closest to `near` that a counter of so many values shows as `value`."""
    return near + (value - near + modulus // 2) % modulus - modulus // 2


@dataclass(slots=True)
class Counts:
    """What became of a stream's packets; written by the media thread, read by anyone."""

    received: int = 0
    lost: int = 0  # were not there when their turn came
    late: int = 0  # came after their turn, or twice
    refused: int = 0  # found no room, or could not be decoded
    restarts: int = 0  # times that numbers or time stamps began anew
    recovered: int = 0  # of the lost ones: heard from the copy that the next packet bore (in-band FEC)
    concealed_hops: int = 0
    underruns: int = 0  # times that nothing was there, and what came then was late and not lost
    dropped_hops: int = 0  # taken out to return to the target
    inserted_hops: int = 0  # put in to return to the target


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
    def usual(self) -> float:
        """The largest value that each of the last two spans reached: one that was seen once does not count."""
        return min(self._now[1], self._before[1])

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
    """The next packets of one stream by number, at most `ROOM`; used by the media thread.

    The `stamp` of what is taken is unwrapped, so that it goes on rising where the 32 bits of RTP begin anew, and counts
    samples.
    """

    rate: int  # of the time stamps
    scale: int = 1  # samples for each of their ticks
    counts: Counts = field(default_factory=Counts)
    noise: bytes = b""  # what the last packet of comfort noise describes, if no sound has been taken since
    restarted: bool = False  # numbers or time stamps have begun anew since someone last cleared this
    _waiting: dict[int, Packet] = field(default_factory=dict)
    _next: int | None = None
    _stamp: int = 0
    _transit: Extremes = field(default_factory=Extremes)
    _suspect: Packet | None = None  # is far from the others; the stream has begun anew if the next one follows it

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

    @property
    def usual_spread_s(self) -> float:
        """The same without packets that were slow once."""
        return max(0.0, self._transit.usual - self._transit.least)

    def put(self, packet: Packet) -> None:
        """Take a packet as it comes; what is late, double, too many or stray is counted and forgotten.

        The stream begins anew where two packets in sequence are far from those before (RFC 3550, A.1).
        """
        self.counts.received += 1
        if self._next is None:
            self._next, self._stamp = packet.number, packet.stamp
        if not self._is_far(packet):
            self._keep(packet)
        elif self._suspect and self._follow(self._suspect, packet):
            first = self._suspect
            self._restart(first)
            self._keep(first)
            self._keep(packet)
        else:
            self.counts.refused += self._suspect is not None
            self._suspect = packet

    def _is_far(self, packet: Packet) -> bool:
        assert self._next is not None
        if abs(unwrap(packet.number, self._next, NUMBERS) - self._next) >= ROOM:
            return True
        least_s = self._transit.least
        return bool(packet.payload) and least_s < inf and abs(self._transit_s(packet) - least_s) > LONGEST_WAY_S

    def _transit_s(self, packet: Packet) -> float:
        return packet.arrived_s - unwrap(packet.stamp, self._stamp, STAMPS) / self.rate

    def _follow(self, first: Packet, second: Packet) -> bool:
        """Whether two packets are consecutive in one stream."""
        if second.number != (first.number + 1) % NUMBERS:
            return False
        passed = unwrap(second.stamp, first.stamp, STAMPS) - first.stamp
        apart_s = second.arrived_s - first.arrived_s - passed / self.rate
        return not (first.payload and second.payload) or abs(apart_s) <= LONGEST_WAY_S

    def _keep(self, packet: Packet) -> None:
        assert self._next is not None
        number = unwrap(packet.number, self._next, NUMBERS)
        stamp = unwrap(packet.stamp, self._stamp, STAMPS)
        if packet.payload:
            self._stamp = max(self._stamp, stamp)
            self._transit.see(packet.arrived_s - stamp / self.rate, packet.arrived_s)
        if number < self._next or number in self._waiting:
            self.counts.late += 1
            return
        self._waiting[number] = packet._replace(number=number, stamp=stamp * self.scale)
        self._pass_silent()

    def _restart(self, packet: Packet) -> None:
        self.counts.restarts += 1
        self.counts.refused += len(self._waiting)
        self._waiting.clear()
        self._next, self._stamp = packet.number, packet.stamp
        self._transit, self._suspect, self.noise = Extremes(), None, b""
        self.restarted = True

    def _pass_silent(self) -> None:
        """Pass the packets in turn that hold no sound."""
        while self._next in self._waiting and not self._waiting[self._next].payload:
            self.noise = self._waiting.pop(self._next).noise or self.noise
            self._next += 1

    def peek(self) -> Packet | None:
        """Return the earliest packet with sound that is there, next in turn or not."""
        number = min((number for number, packet in self._waiting.items() if packet.payload), default=None)
        return None if number is None else self._waiting[number]

    @property
    def next_is_there(self) -> bool:
        """Whether the next packet in turn has come."""
        return self._next in self._waiting

    def take(self) -> Packet | None:
        """Return the next packet in turn, None if it is not there."""
        if self._next is None or self._next not in self._waiting:
            return None
        packet = self._waiting.pop(self._next)
        self._next += 1
        self.noise = b""
        self._pass_silent()
        return packet

    def skip(self) -> None:
        """Give up the next packet in turn: it is lost, and late should it still come."""
        if self._next is not None:
            self._next += 1
            self.counts.lost += 1
            self._pass_silent()

    def skip_to_first(self) -> int:
        """Give up all that precede the earliest packet with sound that is there, and return how many were lost."""
        first, lost = self.peek(), self.counts.lost
        while first and self._next != first.number:
            self.skip()
        return self.counts.lost - lost
