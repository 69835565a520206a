"""What the media thread, and the one that encodes for it, spend their time on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Work:
    """Processor time in seconds, by what it was spent on."""

    thread_s: float = 0.0  # of the media thread, all of it
    codec_s: float = 0.0  # of it, jitter buffers, decoding and mixing
    encoder_s: float = 0.0  # of the encoding thread
    network_s: float = 0.0
    skipped: int = 0  # ticks that were left out after a stall
    late: int = 0  # ticks that took longer than a hop
