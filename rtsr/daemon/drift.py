"""Two devices, two clocks: a slow correction that keeps the queue between them where it was."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..dsp.windows import FloatArray

TAPS = 32  # of the interpolating filter, which delays by half of them
PHASES = 512  # of which neighbours are interpolated linearly: errors below -100 dB
SETTLE_S, LEARN_S = 2.0, 2.0  # of flow: let pass, and listened to, before the level is known that is to be kept
SMOOTH_S = 1.0  # devices take blocks; the level is a saw
CALM_S = 0.001  # until the level has left this once, nothing is corrected: equal clocks stay bit-exact
OMEGA = 0.1  # rad/s of the loop, critically damped: a change of 200 ppm moves the level by 0.7 ms
MOST = 1e-3


def _branches() -> FloatArray:
    """Return windowed sincs for every fraction of a sample, shape (PHASES + 1, TAPS); row 0 is a unit impulse."""
    fraction = np.arange(PHASES + 1)[:, None] / PHASES
    t = np.arange(TAPS) - (TAPS // 2 - 1) - fraction
    window = np.i0(9.0 * np.sqrt(np.clip(1 - (t / (TAPS / 2)) ** 2, 0, 1))) / np.i0(9.0)
    rows = np.sinc(t) * window
    return np.ascontiguousarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


@njit(nogil=True, cache=True, fastmath=True)
def _stretch(cells: FloatArray, branches: FloatArray, place: float, ratio: float, out: FloatArray) -> tuple[int, float]:
    """Interpolate `cells`, (samples,), at `place`, `place + ratio` and so on into `out`, at most (out,) samples.

    branches (phases + 1, taps): the interpolating filter at each phase. Returns how many, and the next place.
    """
    phases, taps = len(branches) - 1, branches.shape[1]
    count = 0
    while place + taps <= len(cells) and count < len(out):
        first = int(place)
        fine = (place - first) * phases
        row = int(fine)
        if fine == 0.0:
            out[count] = cells[first + taps // 2 - 1]
        else:
            part = np.float32(fine - row)
            total = np.float32(0)
            for k in range(taps):
                coefficient = branches[row, k] + part * (branches[row + 1, k] - branches[row, k])
                total += coefficient * cells[first + k]
            out[count] = total
        count += 1
        place += ratio
    return count, place


class Drift:
    """Resamples by a ratio within 0.1 % of one, steered by how full the queue behind it is.

    Learns the level while the first seconds flow, then holds it: a proportional-integral loop. Equal clocks never
    make it begin, and what passes is a copy. The worker's thread; allocates nothing.
    """

    delay = TAPS // 2

    def __init__(self, rate: int, hop: int) -> None:
        self.rate, self.hop = rate, hop
        self.branches = _branches()
        self.cells = np.zeros(TAPS + hop, np.float32)
        self.out = np.zeros(hop + 4, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the past and the level, as after a device was opened anew."""
        self.cells[:] = 0
        self.place, self.ratio, self.engaged = 1.0, 1.0, False
        self.integral = 0.0
        self.relearn()

    def relearn(self) -> None:
        """Learn anew which level is to be kept; the ratio found so far stays, clocks do not change."""
        self.seen_s, self.total = 0.0, 0.0
        self.level = self.target = 0.0

    @property
    def ppm(self) -> float:
        """By how much the input's clock is found to be faster, in parts per million."""
        return self.integral * 1e6

    def observe(self, ready: int) -> None:
        """Take note of the queue's level after a hop, and steer."""
        level, step = ready / self.rate, self.hop / self.rate
        if self.seen_s < SETTLE_S + LEARN_S:
            self.seen_s += step
            self.total += level * step if self.seen_s > SETTLE_S else 0.0
            self.level = self.target = self.total / LEARN_S
            return
        self.level += (level - self.level) * step / SMOOTH_S
        error = self.level - self.target
        self.engaged |= abs(error) > CALM_S
        if not self.engaged:
            return
        self.integral = min(max(self.integral + OMEGA**2 * error * step, -MOST), MOST)
        self.ratio = 1.0 + min(max(self.integral + 2 * OMEGA * error, -MOST), MOST)

    def process(self, block: FloatArray) -> FloatArray:
        """Take one hop and return about one hop, `delay` samples late; valid until the next call."""
        self.cells[:TAPS] = self.cells[-TAPS:].copy()
        self.cells[TAPS:] = block
        count, place = _stretch(self.cells, self.branches, self.place, self.ratio, self.out)
        self.place = place - self.hop
        return self.out[:count]
