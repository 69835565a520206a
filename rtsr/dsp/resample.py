"""Streaming polyphase resamplers with linear phase and a delay that the caller chooses."""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import InvalidSetting
from .stage import BoolArray, Plain, Stage
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


class PolyphaseFilter(NamedTuple):
    """A linear-phase filter between two rates; numba takes it as one argument."""

    branches: FloatArray  # (up, taps), a row of taps a phase of the fine grid, for the newest input last
    up: int  # output samples in the shortest time in which both rates have a whole number
    down: int  # input samples in that time

    @property
    def past(self) -> int:
        """How many samples before a block its outputs depend on."""
        return self.branches.shape[1] - 1


def design(rate_in: int, rate_out: int, delay: float) -> PolyphaseFilter:
    """Return the filter from `rate_in` to `rate_out` that delays by exactly `delay` output samples.

    The delay is also the quality: a linear-phase filter of that half length, 80 dB down. Up-sampling puts its
    -6 dB point at the input's Nyquist frequency; down-sampling puts its stop edge at the output's. Equal rates
    are a plain delay, bit for bit. `delay` may be a fraction as long as it falls on the common fine grid.
    Raises `InvalidSetting` for rates or a delay that cannot be.
    """
    if rate_in <= 0 or rate_out <= 0:
        raise InvalidSetting(f"expected positive rates, got {rate_in} and {rate_out}")
    shared = gcd(rate_in, rate_out)
    up, down = rate_out // shared, rate_in // shared
    if max(up, down) > MOST_PHASES:
        raise InvalidSetting(f"expected rates that are in a simpler ratio, got {rate_in} and {rate_out} Hz")
    centre = round(delay * down)
    if centre < 1 or abs(centre - delay * down) > 1e-6:
        raise InvalidSetting(f"expected a delay of at least one step on the grid of 1/{down}, got {delay}")
    if up == down:
        prototype = np.zeros(centre + 1)
        prototype[-1] = 1
    else:
        finest = up * rate_in
        cutoff = rate_in / 2 / finest
        if down > up:
            cutoff = rate_out / 2 / finest - half_or_width(centre) / 2
        prototype = float(up) * lowpass(centre, cutoff)
    taps = -(-len(prototype) // up)
    padded = np.zeros(taps * up)
    padded[: len(prototype)] = prototype
    return PolyphaseFilter(np.ascontiguousarray(padded.reshape(taps, up).T[:, ::-1], np.float32), up, down)


@njit(nogil=True, cache=True, fastmath=True)
def polyphase(heard: FloatArray, block: FloatArray, fir: PolyphaseFilter, start: int, out: FloatArray) -> int:
    """Write the outputs that a block completes and return how many; `start` is the first one's place on the fine grid.

    block (samples,) at the input's rate, out (outputs,) at the output's. `heard`, at least (fir.past + samples,),
    begins with the last fir.past inputs and has room for the block after them: in one array the sums have the same
    order, and so the same bits, wherever a block begins. Moves these inputs on.
    """
    branches, up, down = fir
    taps, new = branches.shape[1], len(block)
    heard[taps - 1 : taps - 1 + new] = block
    count = 0
    if up == down:  # a plain delay, as `design` makes it
        out[:new] = heard[:new]
        count = new
    place = start + count * down
    while place < new * up:
        branch = branches[place % up]
        seen = heard[place // up : place // up + taps]  # of a known length: the sum is vectorised
        total = np.float32(0)
        for k in range(taps):
            total += branch[k] * seen[k]
        out[count] = total
        count += 1
        place += down
    for k in range(taps - 1):
        heard[k] = heard[new + k]
    return count


@njit(nogil=True, cache=True)
def _resample(hops: FloatArray, active: BoolArray, fir: Plain, heard: FloatArray, out: FloatArray) -> None:
    """Resample a hop of each active row: hops (rows, hop), heard (rows, past + hop), out (rows, hop_out).

    `fir` is a `PolyphaseFilter` as a plain tuple, which numba takes in a fifth of the time.
    """
    for r in range(len(active)):
        if active[r]:
            polyphase(heard[r], hops[r], PolyphaseFilter(*fir), 0, out[r])


class HopResampler(Stage):
    """Converts the hops of a batch with one filter; a hop lasts a whole number of samples at both rates."""

    def __init__(self, fir: PolyphaseFilter, hop: int, rows: int = 1) -> None:
        super().__init__(rows)
        self._filter = tuple(fir)
        self.heard = np.zeros((rows, fir.past + hop), np.float32)  # the last fir.past samples, and room for a hop
        self.out = np.zeros((rows, hop * fir.up // fir.down), np.float32)

    @property
    def memory(self) -> tuple[FloatArray, ...]:
        """The last inputs."""
        return (self.heard,)

    def push(self, hops: FloatArray, active: BoolArray | None = None) -> FloatArray:
        """Take a hop of every row, (rows, hop), and return them at the other rate, (rows, hop_out)."""
        _resample(hops, self.all_rows if active is None else active, self._filter, self.heard, self.out)
        return self.out


class Resampler:
    """Converts blocks of any length from `rate_in` to `rate_out` with the filter that `design` makes of its arguments.

    Raises what `design` raises. Used by one thread.
    """

    def __init__(self, rate_in: int, rate_out: int, delay: float) -> None:
        self.filter, self.delay = design(rate_in, rate_out, delay), delay
        self.rate_in, self.rate_out = rate_in, rate_out
        self.heard = np.zeros(self.filter.past, np.float32)  # the last inputs, and room for a block after them
        self.place = 0

    def count(self, samples: int) -> int:
        """How many output samples the next `samples` inputs give."""
        return max(0, -(-(samples * self.filter.up - self.place) // self.filter.down))

    def process(self, block: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Take any number of samples and return those that are complete, in `out` if it is given and fits."""
        if out is None:
            out = np.empty(self.count(len(block)), np.float32)
        fir = self.filter
        if fir.past + len(block) > len(self.heard):
            self.heard = np.concatenate([self.heard[: fir.past], np.zeros(len(block), np.float32)])
        count = polyphase(self.heard, block, fir, self.place, out)
        self.place += count * fir.down - len(block) * fir.up
        return out[:count]

    def reset(self) -> None:
        """Forget everything heard."""
        self.heard[:] = 0
        self.place = 0
