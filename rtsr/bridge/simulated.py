"""Legs whose packets come from no network: for what the bridge runs and measures before it listens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .codec import CODECS, make_encoder
from .config import BridgeSettings
from .jitter import Packet
from .leg import Leg, Speaker
from .media import MediaThread
from .mix import MIX_RATE

PACKET_MS = 20


def noise(codec: str, count: int) -> list[bytes]:
    """Return packets of noise, which costs more to code than a voice does."""
    encoder, rng = make_encoder(codec, PACKET_MS), np.random.default_rng(0)
    block = MIX_RATE * PACKET_MS // 1000
    return [encoder.encode(0.1 * rng.standard_normal(block).astype(np.float32)) for _ in range(count)]


class SimulatedLeg:
    """A leg that speaks packets in turn, again and again; one that is None is lost. Ticked by hand."""

    def __init__(
        self,
        media: MediaThread,
        name: str,
        room: str,
        codec: str,
        payloads: Sequence[bytes | None],
        narrow_hz: int | None = None,
    ) -> None:
        """Join a room; raises `PoolFull`."""
        least_s = BridgeSettings().target_ms / 1000
        self._speaker = Speaker(codec, media.frames_per_s, narrow_hz=narrow_hz, least_s=least_s)
        self._payloads, self._stamps = payloads, CODECS[codec].clock * PACKET_MS // 1000
        self._ticks = round(PACKET_MS / 1000 / media.hop_s)
        media.join(Leg(name, room, self._speaker, lambda packet, stamp: None, codec)).result()

    def speak(self, tick: int, now_s: float) -> None:
        """Send the packet that is due in a tick, if one is."""
        number, place = divmod(tick, self._ticks)
        payload = self._payloads[number % len(self._payloads)]
        if place == 0 and payload is not None:
            self._speaker.put(Packet(number, number * self._stamps, payload, now_s))
