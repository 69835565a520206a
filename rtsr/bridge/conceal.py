"""Packet loss concealment by pitch repetition (as in ITU-T G.711 Appendix I), and cross-fades.

Signals are float32 of shape (samples,) in [-1, 1]. The kernels keep the interpreter lock: most take less time than
handing it over and back.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..dsp.windows import FloatArray

HISTORY_MS = 40
PITCH_MS = (2.5, 16.0)  # periods that are looked for: 400 Hz to 62 Hz
SEARCH_RATE = 8_000  # at which they are
FADE_MS = 60  # from the last sample that was heard to silence


@njit(cache=True)
def period(history: FloatArray, shortest: int, longest: int, stride: int) -> int:
    """Return the pitch period of the end of `history`, (samples,): the lag with the largest normalised correlation.

    Lags from `shortest` to `longest` samples are tried in steps of `stride` samples, over every `stride`-th sample.
    """
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


@njit(cache=True)
def make_cycle(history: FloatArray, lag: int, cycle: FloatArray) -> None:
    """Fill `cycle[:lag]` with the last `lag` samples of `history`; both are (samples,).

    Its last quarter cross-fades to the samples before its start, so that it repeats without a step.
    """
    size, slide = len(history), lag // 4
    for i in range(lag):
        cycle[i] = history[size - lag + i]
    for i in range(slide):
        weight = 0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / slide)
        place = lag - slide + i
        cycle[place] += weight * (history[size - lag - slide + i] - cycle[place])


@njit(cache=True)
def repeat(cycle: FloatArray, lag: int, step: float, done: int, fade: int, out: FloatArray) -> None:
    """Fill `out`, (samples,), with `cycle[:lag]` repeated, from `done` samples after the loss on.

    The gain falls to 0 over `fade` samples. `step`, the difference between the last sample and the start of the
    cycle, is added and fades over half a period.
    """
    slide = lag // 2
    for i in range(len(out)):
        n = done + i
        gain = max(0.0, 1.0 - n / fade)
        rest = 0.5 + 0.5 * np.cos(np.pi * n / slide) if n < slide else 0.0
        out[i] = gain * min(max(cycle[n % lag] + step * rest, -1.0), 1.0)


@njit(cache=True)
def cross_fade(old: FloatArray, new: FloatArray, out: FloatArray) -> None:
    """Write the raised-cosine cross-fade from `old` to `new` to `out`, all (samples,); `out` may be one of them."""
    count = len(out)
    for i in range(count):
        weight = 0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / count)
        out[i] = (1 - weight) * old[i] + weight * new[i]


class Concealer:
    """Keeps the last 40 ms of one stream and extrapolates them. Used by one thread; its memory does not grow."""

    def __init__(self, rate: int) -> None:
        self._history = np.zeros(HISTORY_MS * rate // 1000, np.float32)
        self._shortest, self._longest = (round(ms * rate / 1000) for ms in PITCH_MS)
        self._stride, self._fade = max(1, rate // SEARCH_RATE), FADE_MS * rate // 1000
        self._cycle = np.zeros(self._longest, np.float32)
        self._step, self._lag, self._done = 0.0, 0, 0

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
        """Return the next `count` concealed samples."""
        if not self._done:
            self._begin()
        out = np.empty(count, np.float32)
        repeat(self._cycle, self._lag, self._step, self._done, self._fade, out)
        self._done += count
        return out

    def _begin(self) -> None:
        """Note the last period, and by how much its start misses the last sample's natural successor."""
        past = self._history
        self._lag = period(past, self._shortest, self._longest, self._stride)
        make_cycle(past, self._lag, self._cycle)
        self._step = float(past[-1] - past[-1 - self._lag])
