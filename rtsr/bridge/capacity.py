"""How many calls this machine carries: media threads with ever more speaking legs, until their ticks take too long."""

from __future__ import annotations

import logging
import time

import numpy as np

from ..backend.base import Backend
from .codec import OPUS, make_encoder
from .config import BridgeSettings
from .jitter import Packet
from .leg import Leg, Speaker
from .media import MediaThread
from .mix import MIX_RATE

SHARE = 0.6  # of a hop that the media thread may take: the event loop needs the interpreter too
CALL_COUNTS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
PACKET_MS = 20
TRIES = 2
WARM_UP_S, MEASURED_S = 0.2, 1.0  # of sound

log = logging.getLogger("rtsr.bridge")


def measure(model: Backend, packet_ms: int = PACKET_MS) -> int:
    """Return how many calls of two to a room fit: at least one, with a warning where not even that does."""
    fits = 0
    for calls in CALL_COUNTS:
        share = min(p99_of(model, calls, packet_ms) for _ in range(TRIES))  # a passing disturbance is not the limit
        if share > SHARE:
            break
        fits = calls
    if not fits:
        log.warning("one call takes %.0f %% of this machine's time: use a faster backend or model", 100 * share)
    return max(fits, 1)


def p99_of(model: Backend, calls: int, packet_ms: int) -> float:
    """Tick a media thread with so many Opus legs flat out; returns the 99th percentile of a tick's time, in hops."""
    media = MediaThread(model, calls, lambda packets: None, packet_ms)
    legs = [_leg(media, number) for number in range(calls)]
    payloads = _payloads()
    try:
        for leg in legs:
            media.join(leg).result()
        took: list[float] = []
        for tick in range(round((WARM_UP_S + MEASURED_S) / media.hop_s)):
            now_s = tick * media.hop_s
            for number, leg in enumerate(legs):
                _speak(leg, payloads, tick + number, now_s, media.hop_s)
            began = time.perf_counter()
            media.tick(now_s)
            took.append(time.perf_counter() - began)
    finally:
        media.stop()
    return float(np.percentile(took[round(WARM_UP_S / media.hop_s) :], 99)) / media.hop_s


def _leg(media: MediaThread, number: int) -> Leg:
    speaker = Speaker(OPUS, media.frames_per_s, least_s=BridgeSettings().target_ms / 1000)
    return Leg(str(number), str(number // 2), speaker, lambda packet, stamp: None, OPUS)


def _payloads() -> list[bytes]:
    """A second of noise in Opus, which costs more than a voice does."""
    encoder, rng = make_encoder(OPUS, PACKET_MS), np.random.default_rng(0)
    block = MIX_RATE * PACKET_MS // 1000
    return [encoder.encode(0.1 * rng.standard_normal(block).astype(np.float32)) for _ in range(1000 // PACKET_MS)]


def _speak(leg: Leg, payloads: list[bytes], tick: int, now_s: float, hop_s: float) -> None:
    """Put a packet where one is due."""
    number, place = divmod(tick, round(PACKET_MS / 1000 / hop_s))
    if place == 0 and leg.speaker:
        samples = MIX_RATE * PACKET_MS // 1000
        leg.speaker.put(Packet(number, number * samples, payloads[number % len(payloads)], now_s))
