"""The two ends of the path: samples are cleaned as they arrive, and the two bands are added as they leave."""

from __future__ import annotations

import numpy as np
from numba import njit

from .band import DoubleArray
from .stage import BoolArray, Stage
from .windows import FloatArray


@njit(nogil=True, cache=True)
def clean(hops: FloatArray, active: BoolArray) -> None:
    """Clip each active row of `hops`, (rows, hop), to [-1, 1] in place, and set NaN to 0."""
    for r in range(len(active)):
        if active[r]:
            for i in range(hops.shape[1]):
                x = hops[r, i]
                hops[r, i] = np.float32(0) if np.isnan(x) else min(max(x, np.float32(-1)), np.float32(1))


@njit(nogil=True, cache=True)
def _mix(
    received: FloatArray,
    generated: FloatArray,
    active: BoolArray,
    gain_now: DoubleArray,
    gain: DoubleArray,
    out: FloatArray,
) -> None:
    """out = received + gain * generated, clipped to full scale, for each active row; moves `gain_now` on to `gain`.

    received, generated and out (rows, hop_out) at the output's rate; gain_now and gain (rows,) are linear factors, at
    the end of the last hop and at the end of this one. In between the factor moves in a straight line.
    """
    samples = out.shape[1]
    for r in range(len(active)):
        if active[r]:
            step = (gain[r] - gain_now[r]) / samples
            for i in range(samples):
                x = received[r, i] + np.float32(gain_now[r] + step * (i + 1)) * generated[r, i]
                out[r, i] = min(max(x, np.float32(-1)), np.float32(1))
            gain_now[r] = gain[r]


class Mixer(Stage):
    """Adds the generated band to the received one; a new gain slides in over one hop."""

    def __init__(self, hop_out: int, rows: int = 1) -> None:
        super().__init__(rows)
        self.gain = np.ones(rows, np.float64)  # linear, written by the owner
        self.gain_now = np.ones(rows, np.float64)
        self.out = np.zeros((rows, hop_out), np.float32)

    @property
    def memory(self) -> tuple[DoubleArray, ...]:
        """The gain at the end of the last hop."""
        return (self.gain_now,)

    def push(self, received: FloatArray, generated: FloatArray, active: BoolArray | None = None) -> FloatArray:
        """Take a hop of both bands of every row, (rows, hop_out), and return their sums, (rows, hop_out)."""
        _mix(received, generated, self.all_rows if active is None else active, self.gain_now, self.gain, self.out)
        return self.out

    def clear(self, row: int) -> None:
        """Start a row with the gain that it is set to."""
        self.gain_now[row] = self.gain[row]

    def move(self, source: int, target: int) -> None:
        """Copy a row's gains over another's."""
        super().move(source, target)
        self.gain[target] = self.gain[source]
