"""From generated spectra to samples: the synthesis half of the path."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..spec import Spec
from .stage import BoolArray, Stage
from .windows import FloatArray, synthesis_window


@njit(nogil=True, cache=True, fastmath=True)
def _add(frames: FloatArray, active: BoolArray, window: FloatArray, held: FloatArray, out: FloatArray) -> None:
    """Complete the hop that each active row's last frame began, and hold what this one begins.

    frames (rows, 2 * hop), window (2 * hop,); held and out (rows, hop); samples at the model's rate.
    """
    hop = out.shape[1]
    for r in range(len(active)):
        if active[r]:
            for i in range(hop):
                out[r, i] = held[r, i] + frames[r, i] * window[i]
                held[r, i] = frames[r, hop + i] * window[hop + i]


class OverlapAdd(Stage):
    """Windows and adds generated frames; each one completes the hop that began one hop before the newest."""

    def __init__(self, spec: Spec, rows: int = 1) -> None:
        super().__init__(rows)
        self.window = synthesis_window(spec)
        self.held = np.zeros((rows, spec.overlap), np.float32)
        self.frames = np.zeros((rows, spec.synthesis), np.float32)
        self.hops = np.zeros((rows, spec.hop), np.float32)

    @property
    def memory(self) -> tuple[FloatArray, ...]:
        """The windowed second half of the last frame."""
        return (self.held,)

    def push(self, generated: FloatArray, active: BoolArray | None = None) -> FloatArray:
        """Take a spectrum of every row, (rows, bins_out, 2), and return the completed hops, (rows, hop)."""
        active = self.all_rows if active is None else active
        n, synthesis = len(active), len(self.window)
        bins = generated[:n].view(np.complex64)[..., 0]
        np.fft.irfft(bins, n=synthesis, out=self.frames[:n])  # type: ignore[arg-type]  # numpy's stubs know only doubles
        _add(self.frames, active, self.window, self.held, self.hops)
        return self.hops
