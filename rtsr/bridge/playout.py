"""Playout of one speaker's packets: one hop every tick, lost packets concealed, the delay held at a target."""

from __future__ import annotations

import numpy as np

from ..dsp.windows import FloatArray
from .codec import Decoder
from .conceal import Concealer, cross_fade
from .jitter import Counts, JitterBuffer, Packet
from .noise import ComfortNoise

LEAST_TARGET_S, MOST_TARGET_S = 0.010, 0.250
LONGEST_PACKET_MS = 120
DRY_S = 0.25  # without a packet for so long, the next one is waited for as the first was
EXCESS_HOPS = 1.5  # beyond the target, before a hop is taken out
LACK_HOPS = 0.5  # below what the usual packets need, before a hop is put in
EASE_HOPS = 8  # between two that are taken out or put in


class Playout:
    """One stream at its codec's rate, hop by hop.

    The delay from a packet's fastest possible arrival to its playout is held at a target that follows the spread of
    arrivals and returns after a burst: single hops are dropped or inserted, also where the sender's clock drifts.

    Used by the media thread; times are in seconds of one clock.
    """

    def __init__(
        self, decoder: Decoder, frames_per_s: int, least_s: float = LEAST_TARGET_S, *, samples_per_tick: int = 1
    ) -> None:
        self.decoder, self.rate, self.hop = decoder, decoder.rate, decoder.rate // frames_per_s
        self.hop_s, self.least_s = 1 / frames_per_s, least_s
        self.buffer = JitterBuffer(self.rate // samples_per_tick, samples_per_tick)
        self.delay_s = 0.0  # now, from the fastest arrival to the turn
        self._conceal = Concealer(self.rate)
        self._noise = ComfortNoise(self.rate, self.hop)
        self._ready = np.zeros(2 * LONGEST_PACKET_MS * self.rate // 1000 + 4 * self.hop, np.float32)
        self._held = 0  # samples of `_ready`
        self._stamp = 0  # of the sample after them
        self._packet = 4 * self.hop  # length of the last one
        self._made = 0  # samples that were made up while nothing came; the next packet says what for
        self._owed = 0  # samples that are to be made up for lost packets
        self._since_eased = 0  # hops
        self.waiting = True  # for the turn of the first packet, or of the first after a pause

    @property
    def counts(self) -> Counts:
        """What became of the packets."""
        return self.buffer.counts

    @property
    def packet_ms(self) -> float:
        """Length of the last packet."""
        return 1000 * self._packet / self.rate

    @property
    def target_s(self) -> float:
        """What the delay is held at: as long as the slowest packets take, and a hop."""
        return min(max(self.buffer.spread_s + self.hop_s, self.least_s), MOST_TARGET_S)

    @property
    def least_delay_s(self) -> float:
        """Below it a hop is put in. Packets that were slow once do not count: they would be waited for in vain."""
        usual_s = min(max(self.buffer.usual_spread_s + self.hop_s, self.least_s), MOST_TARGET_S)
        return usual_s - LACK_HOPS * self.hop_s

    def put(self, packet: Packet) -> None:
        """Take a packet as it comes."""
        self.buffer.put(packet)

    def read(self, now_s: float) -> FloatArray:
        """Return the next hop (hop,), float32."""
        hop = self._read(now_s)
        return self._noise.add(hop, self.buffer.noise if self.waiting or self._made else b"")

    def _read(self, now_s: float) -> FloatArray:
        if self.buffer.restarted:
            self.buffer.restarted, self.waiting = False, True
            self._held = self._owed = self._made = 0
        if self.waiting and not self._begin(now_s):
            return self._conceal.make(self.hop)
        self._fill()
        if self.waiting:  # a pause has begun
            return self._conceal.make(self.hop)
        if self._held < self.hop:
            return self._make_owed() if self._owed else self._run_dry()
        self._since_eased += 1
        self.delay_s = now_s - self.buffer.floor_s - (self._stamp - self._held) / self.rate
        if self._since_eased >= EASE_HOPS:
            excess_s = self.delay_s - self.target_s
            if excess_s > EXCESS_HOPS * self.hop_s and self._held >= 2 * self.hop:
                return self._conceal.hear(self._take_shorter())
            if self.delay_s < self.least_delay_s:
                return self._put_in()
        return self._conceal.hear(self._take())

    def _begin(self, now_s: float) -> bool:
        """Whether the turn of the first packet has come."""
        first = self.buffer.peek()
        if first is None or now_s < self.buffer.floor_s + first.stamp / self.rate + self.target_s:
            return False
        self._account_for_made(first, self.buffer.skip_to_first())
        self._stamp, self.waiting = first.stamp, False
        return True

    def _fill(self) -> None:
        """Decode what is next in turn; what is missing though later packets are there is lost when its turn comes."""
        while self._held < 2 * self.hop and not self._owed:
            if self.buffer.next_is_there:
                if self._follows_a_pause():
                    if self._held < self.hop:
                        self.waiting, self._held = True, 0
                    return
                packet = self.buffer.take()
                assert packet
                self._decode(packet)
            elif self._held < self.hop and len(self.buffer):
                self.buffer.skip()
                if not self._recover():
                    self._owe()
            else:
                return

    def _follows_a_pause(self) -> bool:
        """Whether the next packet, by its time stamp, is not due when the one before it ends (RFC 3551, 4.1)."""
        packet = self.buffer.peek()
        return packet is not None and packet.stamp - self._stamp - self._made >= self.hop

    def _account_for_made(self, packet: Packet, lost: int) -> None:
        """Count what was made up while nothing came: as a pause where this packet's stamp says so, else as a lack."""
        pause = 0 if lost else max(0, packet.stamp - self._stamp)
        lacking = max(0, self._made - pause)
        self.counts.concealed_hops += -(-lacking // self.hop)
        self.counts.underruns += lacking > 0 and not lost
        self._made = 0

    def _decode(self, packet: Packet) -> None:
        samples = self.decoder.decode(packet.payload)
        if samples is None or self._held + len(samples) > len(self._ready):
            self.counts.refused += 1
            self._owe()
            return
        self._account_for_made(packet, 0)
        self._packet = len(samples)
        self._append(samples)
        self._stamp = packet.stamp + len(samples)

    def _recover(self) -> bool:
        """Append the copy of a lost packet that the next one carries, less what was concealed while waiting for it."""
        following = self.buffer.peek() if self.buffer.next_is_there else None
        if following is None or following.stamp - self._stamp != self._packet or self._made >= self._packet:
            return False
        samples = self.decoder.recover(following.payload, self._packet)
        if samples is None:
            return False
        self.counts.concealed_hops += self._made // self.hop
        self.counts.recovered += 1
        samples = samples[self._made :]
        self._made = 0
        self._append(samples)
        self._stamp += self._packet
        return True

    def _append(self, samples: FloatArray) -> None:
        self._ready[self._held : self._held + len(samples)] = samples
        self._held += len(samples)

    def _owe(self) -> None:
        """Let a packet's length be made up, less what was made up already while it was waited for."""
        credit = min(self._made, self._packet)
        self._made -= credit
        self.counts.concealed_hops += credit // self.hop
        self._owed = self._packet - credit
        self._stamp += self._packet
        self._held = 0

    def _make_owed(self) -> FloatArray:
        self._owed = max(0, self._owed - self.hop)
        self.counts.concealed_hops += 1
        return self._conceal.make(self.hop)

    def _run_dry(self) -> FloatArray:
        """Make up a hop while nothing is there; after a while, wait as at the start."""
        self._made += self.hop
        if self._made > DRY_S * self.rate:
            self.waiting, self._held = True, 0
        return self._conceal.make(self.hop)

    def _take(self) -> FloatArray:
        hop = self._ready[: self.hop].copy()
        self._held -= self.hop
        self._ready[: self._held] = self._ready[self.hop : self.hop + self._held]
        return hop

    def _take_shorter(self) -> FloatArray:
        """Return one hop for two, cross-faded from the first to the second."""
        first, second = self._take(), self._take()
        cross_fade(first, second, first)
        self.counts.dropped_hops += 1
        self._since_eased = 0
        return first

    def _put_in(self) -> FloatArray:
        """Insert one concealed hop; the next hop is cross-faded to it."""
        self.counts.inserted_hops += 1
        self._since_eased = 0
        return self._conceal.make(self.hop)
