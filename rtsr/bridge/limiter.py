"""A limiter: what is louder than full scale is turned down instead of clipped, without any delay."""

from __future__ import annotations

import numpy as np

from ..dsp.level import peak
from ..dsp.windows import FloatArray

HOLD_MS = 100  # after a peak: the next one of the same voices comes within it
RELEASE_MS = 800  # from nothing to the whole gain


class Limiter:
    """Holds one mix within full scale, hop by hop; what stays within it passes bit for bit. Used by one thread.

    Within a hop the gain falls no faster than the hop's own peaks demand. It stays for `HOLD_MS` and rises in a line.
    """

    def __init__(self, hop: int, rate: int) -> None:
        self.gain = 1.0  # at the end of the last hop
        self._rise = 1000 * hop / (rate * RELEASE_MS)  # a hop
        self._hold, self._held = HOLD_MS * rate // (1000 * hop), 0  # hops
        self._steps = np.arange(1, hop + 1, dtype=np.float64)
        self._hop = hop

    def process(self, mix: FloatArray, out: FloatArray) -> None:
        """Write a hop (hop,) of a mix to `out`, of the same length, within [-1, 1]."""
        loudest = peak(mix)
        most = 1 / loudest if loudest > 1 else 1.0
        before = self.gain
        if before == most == 1:
            out[:] = mix
            return
        self._held = 0 if most <= before else self._held + 1
        if most < before:
            magnitude = np.maximum(np.abs(mix, dtype=np.float64), 1.0)
            fall = ((1 / magnitude - before) / self._steps).min()
            gains = np.maximum(before + fall * self._steps, most)
            self.gain = most
        else:
            self.gain = min(before + (self._rise if self._held > self._hold else 0.0), most)
            gains = before + (self.gain - before) / self._hop * self._steps
        np.clip(mix * gains, -1.0, 1.0, out=out)  # against the last bit of rounding
