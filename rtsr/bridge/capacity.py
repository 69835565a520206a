"""How many calls this machine carries: media threads with ever more speaking legs, until their ticks take too long."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from ..backend.base import Backend
from .codec import OPUS
from .media import MediaThread
from .simulated import PACKET_MS, SimulatedLeg, noise

SHARE = 0.6  # of a hop that the media thread may take: the event loop needs the interpreter too
CALL_COUNTS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
TRIES = 2
WAITED = Path("/proc/thread-self/schedstat")  # nanoseconds on a processor and waiting for one, and how many times
WARM_UP_S, MEASURED_S = 0.2, 1.0  # of sound

log = logging.getLogger("rtsr.bridge")


def measure(model: Backend, packet_ms: int = PACKET_MS, *, paced: bool = False) -> int:
    """Return how many calls of two to a room fit: at least one, with a warning where not even that does.

    `paced` as in `p99_of`.
    """
    fits = 0
    for calls in CALL_COUNTS:
        tries = [p99_of(model, calls, packet_ms, paced=paced) for _ in range(TRIES)]
        share = min(tries)  # a passing disturbance is not the limit
        if share > SHARE:
            break
        fits = calls
    if not fits:
        log.warning("one call takes %.0f %% of this machine's time: use a faster backend or model", 100 * share)
    return max(fits, 1)


def p99_of(
    model: Backend, calls: int, packet_ms: int = PACKET_MS, *, seconds: float = MEASURED_S, paced: bool = False
) -> float:
    """Tick a media thread with so many Opus legs; returns the 99th percentile of a tick's time, in hops.

    Flat out, and without the time in which other programs had the processor: the bridge's clock goes before them.
    `paced`: each tick when it is due, as in a bridge, and all of its time. That takes as long as the sound, and is what
    tells how several bridges share a machine.
    """
    media = MediaThread(model, calls, lambda packets: None, packet_ms)
    payloads = noise(OPUS, 1000 // PACKET_MS)
    try:
        legs = [SimulatedLeg(media, str(number), str(number // 2), OPUS, payloads) for number in range(calls)]
        took: list[float] = []
        first = time.perf_counter()
        for tick in range(round((WARM_UP_S + seconds) / media.hop_s)):
            now_s = tick * media.hop_s
            if paced:
                time.sleep(max(0.0, first + now_s - time.perf_counter()))
            for number, leg in enumerate(legs):
                leg.speak(tick + number, now_s)
            waited, began = waited_s(), time.perf_counter()
            media.tick(now_s)
            took.append(time.perf_counter() - began - (0 if paced else waited_s() - waited))
    finally:
        media.stop()
    return float(np.percentile(took[round(WARM_UP_S / media.hop_s) :], 99)) / media.hop_s


def waited_s() -> float:
    """Return how long this thread could have run and had no processor since it began; 0 where Linux does not say."""
    try:
        return int(WAITED.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
