"""What is recorded of one speaker: hops on their way from the media thread to the thread that writes them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dsp.windows import FloatArray

CHANNELS = 2  # plain and enhanced
MOST_WAITING_S = 5.0  # that the disk may be behind; what comes then is lost, and silent in the file


@dataclass(eq=False)
class RecordedTrack:
    """One file: plain in the first channel, enhanced in the second. Its figures may be read by any thread."""

    file: str  # its name, without the folder
    tags: dict[str, str]
    rate: int
    hop: int  # samples
    waiting: deque[tuple[int, FloatArray]] = field(default_factory=deque)  # ticks and hops (hop, 2)
    first: int | None = None  # tick; set by the writer
    hops: int = 0  # of the file so far; the writer's
    lost: int = 0  # hops that found no room; the media thread's
    ended: bool = False  # nothing comes any more: the rest is to be written; the event loop's
    why: str = ""  # it could not be written any further; the writer's
    done: bool = False  # the writer has let go of it

    def put(self, tick: int, plain: FloatArray, enhanced: FloatArray) -> None:
        """Take the hops (hop,) of a tick; never waits, and keeps no more than `MOST_WAITING_S`. The media thread's."""
        if not self.lasts:
            return
        if len(self.waiting) * self.hop >= MOST_WAITING_S * self.rate:
            self.lost += 1
            return
        both = np.empty((self.hop, CHANNELS), np.float32)
        both[:, 0], both[:, 1] = plain, enhanced
        self.waiting.append((tick, both))

    @property
    def lasts(self) -> bool:
        """Whether something may still be added."""
        return not (self.done or self.ended)

    def stats(self) -> dict[str, Any]:
        """Return what the API and the report say of it."""
        hop_s = self.hop / self.rate
        return {
            "file": self.file,
            "begins_s": None if self.first is None else round(self.first * hop_s, 3),
            "seconds": round(self.hops * hop_s, 1),
            "lost_s": round(self.lost * hop_s, 3),
            "error": self.why or None,
        }
