"""What the media thread spends its time on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Work:
    """Processor time of the media thread in seconds, by what it was spent on."""

    thread_s: float = 0.0  # all of it
    codec_s: float = 0.0  # jitter buffers, decoding, mixing and encoding
    network_s: float = 0.0
    skipped: int = 0  # ticks that were left out after a stall
    late: int = 0  # ticks that took longer than a hop
