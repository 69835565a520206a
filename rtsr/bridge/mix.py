"""What each listener of a room hears: the sum of the others, made into one packet for all who hear the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ..dsp.windows import FloatArray
from .codec import make_encoder
from .leg import Leg

MIX_RATE = 48_000

Delivery = tuple[Leg, bytes, int]  # to whom, a packet, and its time stamp in samples of its codec's clock


class Outlet:
    """Hops of one mix, collected and encoded for everyone who hears it. Used by the engine's thread."""

    def __init__(self, codec: str, hop: int, hops: int, phase: int) -> None:
        self._encoder = make_encoder(codec, 1000 * hop * hops // MIX_RATE)
        self._block = np.zeros(hop * hops, np.float32)
        self._hop, self._hops, self._phase = hop, hops, phase
        self._clock = self._encoder.rate * hop // MIX_RATE  # samples of the codec a hop
        self.listeners: list[Leg] = []

    def put(self, hop: FloatArray, tick: int) -> list[Delivery]:
        """Take the hop of this tick; every so many, return a packet for each listener."""
        place = (tick + self._phase) % self._hops
        np.clip(hop, -1.0, 1.0, out=self._block[place * self._hop : (place + 1) * self._hop])
        if place + 1 < self._hops:
            return []
        packet = self._encoder.encode(self._block)
        stamp = (tick + 1 - self._hops) * self._clock
        return [(leg, packet, stamp) for leg in self.listeners] if packet else []


class Room:
    """The legs of one room. Each speaker is heard by all others, and by itself where it asked for that alone."""

    def __init__(self, hop: int, hops: int, next_phase: Callable[[], int]) -> None:
        self.legs: list[Leg] = []
        self._hop, self._hops, self._next_phase = hop, hops, next_phase
        self._outlets: dict[tuple[Leg | None, str], Outlet] = {}
        self._total = np.zeros(hop, np.float32)
        self._mix = np.zeros(hop, np.float32)

    def join(self, leg: Leg) -> None:
        """Let a leg in."""
        self.legs.append(leg)
        if leg.deliver is not None:
            key = (leg if leg.speaker else None, leg.codec)
            if key not in self._outlets:
                self._outlets[key] = Outlet(leg.codec, self._hop, self._hops, self._next_phase())
            self._outlets[key].listeners.append(leg)

    def leave(self, leg: Leg) -> None:
        """Let a leg go."""
        self.legs.remove(leg)
        for key, outlet in list(self._outlets.items()):
            if leg in outlet.listeners:
                outlet.listeners.remove(leg)
                if not outlet.listeners:
                    del self._outlets[key]

    def tick(self, heard: dict[Leg, FloatArray], tick: int) -> Iterable[Delivery]:
        """Mix the hops of this tick for everyone; returns what is to be sent."""
        self._total[:] = 0
        for leg, hop in heard.items():
            if not leg.hears_itself:
                self._total += hop
        for (who, _), outlet in self._outlets.items():
            own = heard.get(who) if who else None
            if own is None:
                yield from outlet.put(self._total, tick)
            elif who and who.hears_itself:
                yield from outlet.put(own, tick)
            else:
                np.subtract(self._total, own, out=self._mix)
                yield from outlet.put(self._mix, tick)
