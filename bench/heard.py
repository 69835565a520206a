"""Two speakers that say a tone each, and what was seen and heard of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from rtsr.bridge.codec import CODECS, OPUS, make_decoder, make_encoder
from tests.live.bridge.peers import PACKET_S, RATE, Peer

WEB, TELEPHONE = "call", "rtp"  # the kinds of the two that speak
TONES = {WEB: 300.0, TELEPHONE: 700.0}  # whole periods in a packet, so that neither is in the other's level
LEVEL = 0.3
JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"  # aiortc's


class Packets(MediaStreamTrack):
    """Speaks packets that were encoded before, and lets aiortc encrypt and send them."""

    kind = "audio"

    def __init__(self, codec: str, payloads: list[bytes]) -> None:
        super().__init__()
        self.rate, self.payloads, self.given, self.began = CODECS[codec].clock, payloads, 0, 0.0

    async def recv(self) -> av.Packet:
        """Return the next packet in time."""
        self.began = self.began or time.monotonic()
        due_s = self.began + self.given * PACKET_S
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        if self.readyState != "live":
            raise MediaStreamError
        packet = av.Packet(self.payloads[self.given % len(self.payloads)])
        packet.pts, packet.time_base = round(self.given * PACKET_S * self.rate), Fraction(1, self.rate)
        self.given += 1
        return packet


@dataclass
class Seen:
    """What was seen of the calls: the bridge's word on each speaker, and what the listener heard of it."""

    told: list[tuple[float, dict[str, Any]]] = field(default_factory=list)  # by kind
    heard: list[tuple[float, dict[str, float]]] = field(default_factory=list)  # levels of a packet, by kind

    def delays(self, kind: str, since_s: float, until_s: float) -> np.ndarray:
        """Return times and delays in ms."""
        found = [
            (t, calls[kind]["speaker"]["delay_ms"])
            for t, calls in self.told
            if since_s <= t < until_s and kind in calls
        ]
        return np.array(found).reshape(-1, 2)

    def count(self, kind: str, name: str, since_s: float, until_s: float) -> int:
        """Return by how much a counter rose, over all calls that there were."""
        risen, before, call = 0, 0, None
        for at_s, calls in self.told:
            if kind not in calls or at_s >= until_s:
                continue
            now, known = calls[kind]["speaker"][name], calls[kind]["id"] == call
            if at_s >= since_s:
                risen += now - before if known else now
            call, before = calls[kind]["id"], now
        return risen

    def silent(self, kind: str, since_s: float, until_s: float) -> float:
        """Return the share of the time in which a speaker was not heard, in percent."""
        there = sum(levels[kind] > LEVEL / 2 for t, levels in self.heard if since_s <= t < until_s)
        return max(0.0, 100 * (1 - there * PACKET_S / (until_s - since_s)))


class Ear:
    """Stands where aiortc's receiver has its jitter buffer, and notes how loud each speaker is in every packet."""

    def __init__(self, peer: Peer, seen: Seen) -> None:
        self._decoder, self._seen = make_decoder(OPUS), seen
        setattr(peer.connection.getReceivers()[0], JITTER_BUFFER, self)

    def add(self, packet: Any) -> tuple[bool, None]:
        """Take a packet as it comes."""
        sound = self._decoder.decode(packet.payload)
        if sound is not None:
            t = np.arange(len(sound)) / RATE
            levels = {kind: 2 * abs(np.mean(sound * np.exp(-2j * np.pi * hz * t))) for kind, hz in TONES.items()}
            self._seen.heard.append((time.monotonic(), levels))
        return False, None


def tone(codec: str, hz: float) -> list[bytes]:
    """Return a second of a tone, as packets that may be repeated."""
    encoder = make_encoder(codec, 20)
    sound = (LEVEL * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE)).astype(np.float32)
    blocks = sound.reshape(-1, round(RATE * PACKET_S))
    return [encoder.encode(block) for block in blocks][len(blocks) // 2 :]
