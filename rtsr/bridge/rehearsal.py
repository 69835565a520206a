"""Runs once what calls will run: what numba compiles or loads at its first use would hold up the clock in a call."""

from __future__ import annotations

import threading
from itertools import product

from ..backend.null import NullBackend
from ..spec import Spec
from .codec import CODECS
from .log import log_event
from .media import NARROW_RATES, MediaThread
from .simulated import PACKET_MS, SimulatedLeg, noise

PACKETS = 20
NOTICE_S = 3.0


def rehearse(spec: Spec, packet_ms: int) -> None:
    """Let a leg of each codec, and of each narrowed one, speak to all others with a packet lost.

    Without a network, which `MediaThread` runs when it is made. Takes tenths of a second, and longer than ten seconds
    on a machine where nothing has been compiled yet, which it logs.
    """
    notice = threading.Timer(NOTICE_S, log_event, ("compiling",), {"why": "the first start takes half a minute"})
    notice.daemon = True
    notice.start()
    kinds = list(product(CODECS, (None, *NARROW_RATES)))
    spoken: dict[str, list[bytes | None]] = {codec: [*noise(codec, PACKETS)] for codec in CODECS}
    for payloads in spoken.values():
        payloads[PACKETS // 2] = None
    media = MediaThread(NullBackend(spec), len(kinds), lambda packets: None, packet_ms)
    try:
        legs = [
            SimulatedLeg(media, f"{codec} {narrow_hz}", "rehearsal", codec, spoken[codec], narrow_hz)
            for codec, narrow_hz in kinds
        ]
        for tick in range(round(PACKETS * PACKET_MS / 1000 / media.hop_s)):
            now_s = tick * media.hop_s
            for leg in legs:
                leg.speak(tick, now_s)
            media.tick(now_s)
    finally:
        notice.cancel()
        media.stop()
