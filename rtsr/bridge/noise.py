"""What is heard in a pause that a sender has described: noise as loud and coloured as it says (RFC 3389)."""

from __future__ import annotations

import av
import numpy as np

from ..dsp.windows import FloatArray
from ..speech.g711 import FULL_SCALE

MOST_BYTES = 13  # of a description: a level and 12 reflection coefficients; FFmpeg reads no more


class ComfortNoise:
    """Adds noise to the hops of a pause, with a fade of one hop at either end. Used by the engine's thread."""

    def __init__(self, rate: int, hop: int) -> None:
        self._rate = rate
        self._rise = ((np.arange(hop) + 0.5) / hop).astype(np.float32)
        self._decoder: av.AudioCodecContext | None = None
        self._ready = np.zeros(0, np.float32)
        self._heard = b""  # the description of the noise that is heard now

    def add(self, hop: FloatArray, description: bytes) -> FloatArray:
        """Return a hop with the noise that a packet of comfort noise describes; an empty one ends it."""
        if not description and not self._heard:
            return hop
        begins, ends = not self._heard, not description
        noise = self._make(len(hop), description or self._heard)
        self._heard = description
        if begins:
            noise = noise * self._rise
        elif ends:
            noise = noise * self._rise[::-1]
        return hop + noise

    def _make(self, count: int, description: bytes) -> FloatArray:
        if self._decoder is None:
            self._decoder = av.CodecContext.create("comfortnoise", "r")
            self._decoder.layout, self._decoder.sample_rate = "mono", self._rate
        while len(self._ready) < count:
            frames = self._decoder.decode(av.Packet(description[:MOST_BYTES]))
            more = [frame.to_ndarray().reshape(-1).astype(np.float32) / FULL_SCALE for frame in frames]
            if not more:  # the decoder never withholds a frame; a loop without an end would stop all calls
                more = [np.zeros(count, np.float32)]
            self._ready = np.concatenate([self._ready, *more])
        noise, self._ready = self._ready[:count], self._ready[count:]
        return noise
