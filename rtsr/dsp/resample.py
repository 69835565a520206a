"""A streaming polyphase resampler with linear phase and a delay that the caller chooses."""

from __future__ import annotations

from math import gcd

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import InvalidSetting
from .windows import FloatArray

STOP_DB = 80.0
MOST_PHASES = 50_000  # a filter has so many branches; rates without a common divisor would take gigabytes


def half_or_width(other: float) -> float:
    """Return the half length in samples that a transition takes, or the transition that a half length allows.

    The transition is in cycles a sample, for 80 dB; their product is fixed, so either gives the other (Kaiser 1974).
    """
    return (STOP_DB - 7.95) / (2 * 14.36 * other)


def lowpass(centre: int, cutoff: float) -> NDArray[np.float64]:
    """Return a Kaiser-windowed sinc, 2 * centre + 1 taps with unit gain at 0 Hz (Kaiser 1974).

    `cutoff` is the -6 dB point in cycles a sample; `half_or_width(centre)` is what lies between pass and stop.
    """
    n = np.arange(-centre, centre + 1)
    beta = 0.1102 * (STOP_DB - 8.7)
    taps = 2 * cutoff * np.sinc(2 * cutoff * n) * np.kaiser(len(n), beta)
    return taps / taps.sum()


@njit(nogil=True, cache=True, fastmath=True)
def polyphase(
    heard: FloatArray, block: FloatArray, branches: FloatArray, up: int, down: int, start: int, out: FloatArray
) -> int:
    """Write the outputs that a block completes and return how many; `start` is the first one's place on the fine grid.

    `heard` begins with the history, one sample less than taps, and has room for the block after it: in one array a
    sum is taken in the same order, and to the same bits, wherever a block begins. Moves the history on.
    """
    taps, new = branches.shape[1], len(block)
    for i in range(new):
        heard[taps - 1 + i] = block[i]
    count = 0
    place = start
    while place < new * up:
        branch = branches[place % up]
        first = place // up
        total = np.float32(0)
        for k in range(taps):
            total += branch[k] * heard[first + k]
        out[count] = total
        count += 1
        place += down
    for k in range(taps - 1):
        heard[k] = heard[new + k]
    return count


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
        if max(self.up, self.down) > MOST_PHASES:
            raise InvalidSetting(f"expected rates that are in a simpler ratio, got {rate_in} and {rate_out} Hz")
        centre = round(delay * self.down)
        if centre < 1 or abs(centre - delay * self.down) > 1e-6:
            raise InvalidSetting(f"expected a delay of at least one step on the grid of 1/{self.down}, got {delay}")
        self.rate_in, self.rate_out, self.delay = rate_in, rate_out, delay
        self.branches = self._branches(centre)
        self.past = self.branches.shape[1] - 1
        self.heard = np.zeros(self.past, np.float32)  # the history, and room for a block after it
        self.place = 0

    def _branches(self, centre: int) -> FloatArray:
        """Return the filter as one row of taps a phase, newest input last; shape (up, taps)."""
        if self.up == self.down:
            prototype = np.zeros(centre + 1)
            prototype[-1] = 1
        else:
            finest = self.up * self.rate_in
            cutoff = self.rate_in / 2 / finest
            if self.down > self.up:
                cutoff = self.rate_out / 2 / finest - half_or_width(centre) / 2
            prototype = float(self.up) * lowpass(centre, cutoff)
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
        end = self.past + len(block)
        if end > len(self.heard):
            self.heard = np.concatenate([self.heard[: self.past], np.zeros(len(block), np.float32)])
        count = polyphase(self.heard, block, self.branches, self.up, self.down, self.place, out)
        self.place += count * self.down - len(block) * self.up
        return out[:count]

    def reset(self) -> None:
        """Forget everything heard."""
        self.heard[:] = 0
        self.place = 0
