"""Mix-minus: each listener of a room gets the sum of the others; listeners with equal mixes share one encoder.

A listener may hear some speakers plain, without their generated band. Its mix cross-fades there; listeners whose mixes
are equal afterwards share one encoder again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ..dsp.windows import FloatArray
from .codec import CODECS, make_encoder
from .faults import Faults
from .leg import Leg
from .limiter import Limiter

MIX_RATE = 48_000
MOST_FAILED = 50  # packets of an outlet in a row, before its listeners' calls are ended
PLAIN_FADE_MS = 10  # from a speaker with its generated band to the same one without, or back

Delivery = tuple[Leg, bytes, int]  # to whom, a packet, and its time stamp by its codec's RTP clock
Hops = Callable[[Leg], FloatArray]  # a speaker's hop of this tick


class Block(NamedTuple):
    """The samples of one packet, for those who heard the mix then."""

    outlet: Outlet
    samples: FloatArray
    stamp: int
    listeners: list[Leg]

    def encode(self) -> list[Delivery]:
        """Return a packet for each listener, none where the encoder fails; the blocks of an outlet in their order."""
        packet = self.outlet.encode(self.samples, self.listeners)
        return [(leg, packet, self.stamp) for leg in self.listeners] if packet else []


class Outlet:
    """Hops of one mix, collected for everyone who hears it. Used by the media thread, but for `encode`."""

    def __init__(self, own: Leg | None, codec: str, hop: int, hops: int, phase: int, faults: Faults) -> None:
        self.own, self.codec, self.phase, self.faults = own, codec, phase, faults
        self.listeners: list[Leg] = []
        self.wanted: frozenset[Leg] = frozenset()  # speakers that are to be heard plain
        self.shares: dict[Leg, float] = {}  # how much of a speaker is heard plain now, where it is not nothing
        self.limiter = Limiter(hop, MIX_RATE)
        self._packet_ms, self._failed = 1000 * hop * hops // MIX_RATE, 0
        self._encoder = make_encoder(codec, self._packet_ms)
        self._block = np.zeros(hop * hops, np.float32)
        self._hop, self._hops = hop, hops
        self._clock = CODECS[codec].clock * hop // MIX_RATE  # ticks of the codec's RTP clock a hop
        self._ramp = np.arange(1, hop + 1, dtype=np.float32) / hop
        self._step = 1000 * hop / (MIX_RATE * PLAIN_FADE_MS)

    def branch(self) -> Outlet:
        """Return an outlet that goes on from here without a seam; between two packets."""
        other = Outlet(self.own, self.codec, self._hop, self._hops, self.phase, self.faults)
        other.wanted, other.shares, other.limiter.gain = self.wanted, self.shares.copy(), self.limiter.gain
        other._block[:] = self._block  # the encoder's memory has to begin with what was heard last
        other.encode(self._block, [])
        return other

    @property
    def settled(self) -> bool:
        """Whether everyone is heard as wanted."""
        return self.shares.keys() == self.wanted and all(share == 1 for share in self.shares.values())

    def ends_packet(self, tick: int) -> bool:
        """Whether the hop of this tick is the last of a packet."""
        return (tick + self.phase) % self._hops == self._hops - 1

    def turn_plain(self, mix: FloatArray, difference: Hops) -> None:
        """Advance the cross-fades to the plain speakers in `mix`, (hop,); `difference` is plain less enhanced."""
        for leg in self.wanted | self.shares.keys():
            before = self.shares.get(leg, 0.0)
            after = min(before + self._step, 1.0) if leg in self.wanted else max(before - self._step, 0.0)
            self.shares[leg] = after
            if not after:
                del self.shares[leg]
            mix += difference(leg) if before == after else (before + (after - before) * self._ramp) * difference(leg)

    def put(self, hop: FloatArray, tick: int) -> Block | None:
        """Take the hop of this tick; every so many, return the block that it completes, or None."""
        place = (tick + self.phase) % self._hops
        self.limiter.process(hop, self._block[place * self._hop : (place + 1) * self._hop])
        if place + 1 < self._hops:
            return None
        return Block(self, self._block.copy(), (tick + 1 - self._hops) * self._clock, self.listeners.copy())

    def encode(self, block: FloatArray, listeners: list[Leg]) -> bytes:
        """Return the packet of a block; an encoder that fails leaves it out, and another takes its place.

        The encoding thread's, as soon as a block of this outlet has been put.
        """
        try:
            packet = self._encoder.encode(block)
        except Exception as error:
            self.faults.note("encoder", f"an encoder failed: {self.codec}, for {len(listeners)} listeners", error)
            self._failed += 1
            for leg in listeners if self._failed > MOST_FAILED else ():
                leg.failed = True
            with self.faults.survived("encoder", "an encoder could not be replaced"):
                self._encoder = make_encoder(self.codec, self._packet_ms)
            return b""
        self._failed = 0
        return packet


class Room:
    """The legs of one room. Each speaker is heard by all others, and by itself where it asked for that alone.

    Who speaks has an outlet of its own. All others share one, as far as they hear the same over the same codec.
    """

    def __init__(self, hop: int, hops: int, next_phase: Callable[[], int], faults: Faults) -> None:
        self.legs: list[Leg] = []
        self.faults = faults
        self._hop, self._hops, self._next_phase = hop, hops, next_phase
        self._phase = next_phase()  # of all outlets that may be shared: their packets end together
        self._outlets: list[Outlet] = []
        self._sorted = True  # whether the listeners of each outlet want the same mix, and those of no other outlet do
        self._total, self._mix = np.zeros(hop, np.float32), np.zeros(hop, np.float32)
        self._silence = np.zeros(hop, np.float32)

    def join(self, leg: Leg) -> None:
        """Let a leg in."""
        self.legs.append(leg)
        if leg.deliver is not None:
            self._outlet_for(leg).listeners.append(leg)
        self.choose()

    def _outlet_for(self, leg: Leg) -> Outlet:
        """Return the outlet where a leg that comes finds its mix, if need be a new one."""
        wanted = self._plain_for(leg)
        for outlet in self._shared() if leg.speaker is None else ():
            if (outlet.codec, outlet.wanted) == (leg.codec, wanted):
                return outlet
        own, phase = (leg, self._next_phase()) if leg.speaker else (None, self._phase)
        self._outlets.append(Outlet(own, leg.codec, self._hop, self._hops, phase, self.faults))
        self._outlets[-1].wanted = wanted
        return self._outlets[-1]

    def leave(self, leg: Leg) -> None:
        """Let a leg go."""
        self.legs.remove(leg)
        for outlet in self._outlets:
            outlet.shares.pop(leg, None)
            if leg in outlet.listeners:
                outlet.listeners.remove(leg)
        self._outlets = [outlet for outlet in self._outlets if outlet.listeners]
        self.choose()

    def choose(self) -> None:
        """Follow what the listeners' `plain` says now: at once, or between two packets for those who share one."""
        for outlet in self._outlets:
            wanted = {self._plain_for(leg) for leg in outlet.listeners}
            if len(wanted) == 1:
                outlet.wanted = wanted.pop()
        self._sorted = False

    def _plain_for(self, listener: Leg) -> frozenset[Leg]:
        """Return the speakers that a listener hears, and wants to hear plain."""
        return frozenset(leg for leg in self.legs if leg.call in listener.plain and _hears(listener, leg))

    def _shared(self) -> list[Outlet]:
        return [outlet for outlet in self._outlets if outlet.own is None]

    def tick(self, enhanced: dict[Leg, FloatArray], plain: Hops, tick: int) -> Iterator[Block]:
        """Mix the hops of this tick for everyone; yields what is to be encoded.

        `enhanced` holds the hop of all who spoke; `plain` returns theirs where a listener wants it plain.
        """
        self._total[:] = 0
        for leg, hop in enhanced.items():
            if not leg.hears_itself:
                self._total += hop
        differences: dict[Leg, FloatArray] = {}

        def difference(leg: Leg) -> FloatArray:
            if leg not in differences:
                differences[leg] = self._silence
                with self.faults.survived("mix", "a plain hop could not be made: the speaker is heard enhanced"):
                    if leg in enhanced:
                        differences[leg] = plain(leg) - enhanced[leg]
            return differences[leg]

        for outlet in self._outlets:
            mix = self._heard_by(outlet.own, enhanced)
            if outlet.wanted or outlet.shares:
                self._mix[:] = mix
                mix = self._mix
                outlet.turn_plain(mix, difference)
            if block := outlet.put(mix, tick):
                yield block
        if not self._sorted:
            self._sort(tick)

    def _heard_by(self, own: Leg | None, enhanced: dict[Leg, FloatArray]) -> FloatArray:
        """Return the mix in which everyone is enhanced."""
        said = enhanced.get(own, self._silence) if own else self._silence
        if own and own.hears_itself:
            return said
        return self._total if said is self._silence else np.subtract(self._total, said, out=self._mix)

    def _sort(self, tick: int) -> None:
        """Between two packets: split outlets whose listeners want different mixes, merge outlets with equal ones."""
        shared = self._shared()
        if not all(outlet.ends_packet(tick) for outlet in shared):
            return
        for outlet in shared:
            for leg in [leg for leg in outlet.listeners if self._plain_for(leg) != outlet.wanted]:
                outlet.listeners.remove(leg)
                alone = outlet.branch()
                alone.wanted, alone.listeners = self._plain_for(leg), [leg]
                self._outlets.append(alone)
        self._outlets = [outlet for outlet in self._outlets if outlet.listeners]
        first: dict[tuple[str, frozenset[Leg], float], Outlet] = {}
        for outlet in self._shared():
            heard = (outlet.codec, outlet.wanted, outlet.limiter.gain)  # a gain that returns later is another sound
            same = first.setdefault(heard, outlet) if outlet.settled else outlet
            if same is not outlet:
                same.listeners += outlet.listeners
                self._outlets.remove(outlet)
        shared = self._shared()
        wanted = {(outlet.codec, outlet.wanted) for outlet in shared}
        self._sorted = len(wanted) == len(shared) and all(outlet.settled for outlet in shared)


def _hears(listener: Leg, speaker: Leg) -> bool:
    if listener is speaker:
        return listener.hears_itself
    return speaker.speaker is not None and not listener.hears_itself and not speaker.hears_itself
