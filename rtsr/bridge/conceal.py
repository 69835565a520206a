"""What is heard where a packet is missing: the last pitch periods, fading; and how two stretches are joined."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..dsp.windows import FloatArray

HISTORY_MS = 40
PITCH_MS = (2.5, 16.0)  # periods that are looked for: 400 Hz to 62 Hz
SEARCH_RATE = 8_000  # at which they are
FADE_MS = 60  # from the last sample that was heard to silence


@njit(nogil=True, cache=True)
def period(history: FloatArray, shortest: int, longest: int, stride: int) -> int:
    """Return the lag at which the end of a history resembles itself most (normalised correlation)."""
    best, best_lag, compared = -1.0, longest, len(history) - longest
    for lag in range(shortest, longest + 1, stride):
        product, energy = 0.0, 1e-9
        for i in range(len(history) - compared, len(history), stride):
            product += history[i] * history[i - lag]
            energy += history[i - lag] * history[i - lag]
        likeness = product / np.sqrt(energy)
        if likeness > best:
            best, best_lag = likeness, lag
    return best_lag


@njit(nogil=True, cache=True)
def repeat(history: FloatArray, lag: int, done: int, fade: int, out: FloatArray) -> None:
    """Continue a history by its last `lag` samples, over and over, from `done` on; silent after `fade`."""
    for i in range(len(out)):
        gain = max(0.0, 1.0 - (done + i) / fade)
        out[i] = gain * history[len(history) - lag + (done + i) % lag]


@njit(nogil=True, cache=True)
def cross_fade(old: FloatArray, new: FloatArray, out: FloatArray) -> None:
    """Slide from one stretch to another of the same length."""
    count = len(out)
    for i in range(count):
        weight = (i + 0.5) / count
        out[i] = (1 - weight) * old[i] + weight * new[i]


class Concealer:
    """Remembers what one voice said last and goes on with it. Used by one thread; its memory does not grow."""

    def __init__(self, rate: int) -> None:
        self._history = np.zeros(HISTORY_MS * rate // 1000, np.float32)
        self._shortest, self._longest = (round(ms * rate / 1000) for ms in PITCH_MS)
        self._stride, self._fade = max(1, rate // SEARCH_RATE), FADE_MS * rate // 1000
        self._lag = self._done = 0

    @property
    def active(self) -> bool:
        """Whether the last samples that were given are made up."""
        return self._done > 0

    def hear(self, hop: FloatArray) -> FloatArray:
        """Note a hop that came and return it, joined to what was made up before."""
        if self._done:
            made = self.make(len(hop))
            cross_fade(made, hop, made)
            hop, self._done = made, 0
        self._history[: -len(hop)] = self._history[len(hop) :]
        self._history[-len(hop) :] = hop
        return hop

    def make(self, count: int) -> FloatArray:
        """Return the next `count` samples of what might have been said."""
        if not self._done:
            self._lag = period(self._history, self._shortest, self._longest, self._stride)
        out = np.empty(count, np.float32)
        repeat(self._history, self._lag, self._done, self._fade, out)
        self._done += count
        return out
