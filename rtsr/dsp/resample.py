"""A streaming polyphase resampler with linear phase and a delay that the caller chooses."""

from __future__ import annotations

from math import gcd

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import InvalidSetting
from .windows import FloatArray

STOP_DB = 80.0


def lowpass(centre: int, stop_width: float, cutoff: float) -> NDArray[np.float64]:
    """Return a Kaiser-windowed sinc, 2 * centre + 1 taps with unit gain at 0 Hz (Kaiser 1974).

    `cutoff` is the -6 dB point in cycles a sample; `stop_width` from pass to stop is what the length allows.
    """
    n = np.arange(-centre, centre + 1)
    beta = 0.1102 * (STOP_DB - 8.7)
    taps = 2 * cutoff * np.sinc(2 * cutoff * n) * np.kaiser(len(n), beta)
    return taps / taps.sum()


@njit(nogil=True, cache=True, fastmath=True)
def polyphase(
    history: FloatArray, block: FloatArray, branches: FloatArray, up: int, down: int, start: int, out: FloatArray
) -> int:
    """Write the outputs that `block` completes; `start` is the first one's place on the fine grid."""
    past = len(history)
    taps = branches.shape[1]
    count = 0
    place = start
    while place < len(block) * up:
        newest = place // up
        branch = branches[place % up]
        total = np.float32(0)
        if newest >= taps - 1:
            first = newest - taps + 1
            for k in range(taps):
                total += branch[k] * block[first + k]
        else:
            for k in range(taps):
                at = newest - taps + 1 + k
                total += branch[k] * (block[at] if at >= 0 else history[past + at])
        out[count] = total
        count += 1
        place += down
    return count


@njit(nogil=True, cache=True)
def remember(history: FloatArray, block: FloatArray) -> None:
    """Move the history on by a block."""
    past, new = len(history), len(block)
    kept = max(past - new, 0)
    for i in range(kept):
        history[i] = history[i + new]
    for i in range(past - kept):
        history[kept + i] = block[new - past + kept + i]


class Resampler:
    """Converts one voice from `rate_in` to `rate_out`, delayed by exactly `delay` output samples.

    The delay is also the quality: a linear-phase filter of that half length, 80 dB down. Up-sampling puts its
    -6 dB point at the input's Nyquist frequency; down-sampling puts its stop edge at the output's. Equal rates
    are a plain delay, bit for bit. `delay` may be a fraction as long as it falls on the common fine grid.
    """

    def __init__(self, rate_in: int, rate_out: int, delay: float) -> None:
        if rate_in <= 0 or rate_out <= 0:
            raise InvalidSetting(f"expected positive rates, got {rate_in} and {rate_out}")
        shared = gcd(rate_in, rate_out)
        self.up, self.down = rate_out // shared, rate_in // shared
        centre = round(delay * self.down)
        if centre < 1 or abs(centre - delay * self.down) > 1e-6:
            raise InvalidSetting(f"expected a delay of at least one step on the grid of 1/{self.down}, got {delay}")
        self.rate_in, self.rate_out, self.delay = rate_in, rate_out, delay
        self.branches = self._branches(centre)
        self.history = np.zeros(self.branches.shape[1] - 1, np.float32)
        self.place = 0

    def _branches(self, centre: int) -> FloatArray:
        """Return the filter as one row of taps a phase, newest input last; shape (up, taps)."""
        if self.up == self.down:
            prototype = np.zeros(centre + 1)
            prototype[-1] = 1
        else:
            stop_width = (STOP_DB - 7.95) / (14.36 * 2 * centre)
            finest = self.up * self.rate_in
            cutoff = self.rate_in / 2 / finest
            if self.down > self.up:
                cutoff = self.rate_out / 2 / finest - stop_width / 2
            prototype = float(self.up) * lowpass(centre, stop_width, cutoff)
        taps = -(-len(prototype) // self.up)
        padded = np.zeros(taps * self.up)
        padded[: len(prototype)] = prototype
        return np.ascontiguousarray(padded.reshape(taps, self.up).T[:, ::-1], np.float32)

    def count(self, samples: int) -> int:
        """How many output samples the next `samples` inputs give."""
        return max(0, -(-(samples * self.up - self.place) // self.down))

    def process(self, block: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Take any number of samples and return those that are complete, in `out` if it is given and fits."""
        if out is None:
            out = np.empty(self.count(len(block)), np.float32)
        count = polyphase(self.history, block, self.branches, self.up, self.down, self.place, out)
        self.place += count * self.down - len(block) * self.up
        remember(self.history, block)
        return out[:count]

    def reset(self) -> None:
        """Forget everything heard."""
        self.history[:] = 0
        self.place = 0
