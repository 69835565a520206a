"""Runs once what calls will run: what numba compiles or loads at its first use would hold up the clock in a call."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..backend.null import NullBackend
from ..spec import Spec
from .codec import CODECS, make_encoder
from .config import BridgeSettings
from .jitter import Packet
from .leg import Leg, Speaker
from .media import NARROW_RATES, MediaThread
from .mix import MIX_RATE

PACKETS, PACKET_MS = 20, 20
LOST = 10  # of the packets


def rehearse(spec: Spec, packet_ms: int) -> None:
    """Let a leg of each codec, and of each narrowed one, speak to all others with a packet lost.

    Without a network, which `MediaThread` runs when it is made. Takes tenths of a second, and longer than ten seconds
    on a machine where nothing has been compiled yet.
    """
    kinds = list(product(CODECS, (None, *NARROW_RATES)))
    media = MediaThread(NullBackend(spec), len(kinds), lambda packets: None, packet_ms)
    try:
        legs = [_join(media, codec, narrow_hz) for codec, narrow_hz in kinds]
        spoken = {codec: _speak(codec) for codec in CODECS}
        for tick in range(round(PACKETS * PACKET_MS / 1000 / media.hop_s)):
            now_s = tick * media.hop_s
            for speaker in legs:
                for packet in spoken[speaker.codec]:
                    if now_s <= packet.arrived_s < now_s + media.hop_s and packet.number != LOST:
                        speaker.put(packet)
            media.tick(now_s)
    finally:
        media.stop()


def _join(media: MediaThread, codec: str, narrow_hz: int | None) -> Speaker:
    least_s = BridgeSettings().target_ms / 1000
    speaker = Speaker(codec, media.frames_per_s, narrow_hz=narrow_hz, least_s=least_s)
    media.join(Leg(f"{codec} {narrow_hz}", "rehearsal", speaker, lambda packet, stamp: None, codec)).result()
    return speaker


def _speak(codec: str) -> list[Packet]:
    """Packets of noise, each due when the one before it ends."""
    encoder, rng = make_encoder(codec, PACKET_MS), np.random.default_rng(0)
    block, step = MIX_RATE * PACKET_MS // 1000, CODECS[codec].clock * PACKET_MS // 1000
    noise = 0.1 * rng.standard_normal((PACKETS, block)).astype(np.float32)
    return [Packet(n, n * step, encoder.encode(noise[n]), n * PACKET_MS / 1000) for n in range(PACKETS)]
