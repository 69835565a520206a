"""From hops to spectra: the analysis half of the path."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..spec import Spec
from .stage import BoolArray, Stage
from .windows import FloatArray, analysis_window


@njit(nogil=True, cache=True)
def _slide(hops: FloatArray, active: BoolArray, window: FloatArray, history: FloatArray, frames: FloatArray) -> None:
    """Move the history of each active row on by one hop, and write it times the window to `frames`.

    hops (rows, hop) and window (history,); history and frames (rows, history); samples at the input's rate.
    """
    hop = hops.shape[1]
    kept = history.shape[1] - hop
    for r in range(len(active)):
        if active[r]:
            for i in range(kept):
                history[r, i] = history[r, i + hop]
            for i in range(hop):
                history[r, kept + i] = hops[r, i]
            for i in range(len(window)):
                frames[r, i] = history[r, i] * window[i]


class Frames(Stage):
    """The recent past of every row; each hop at `rate` gives the spectrum up to half of spec.rate.

    A frame is taken at the input's own rate: 30 ms at 8 kHz has the same bins as 30 ms at 48 kHz, so the network
    needs no resampler before it, and no resampler's delay. Bins that a low rate does not have stay zero.
    """

    def __init__(self, spec: Spec, rate: int, rows: int = 1) -> None:
        super().__init__(rows)
        self.hop = spec.hop_at(rate)
        self.window = analysis_window(spec, rate) * np.float32(spec.rate / rate)
        self.history = np.zeros((rows, len(self.window)), np.float32)
        self.frames = np.zeros_like(self.history)
        bins = len(self.window) // 2 + 1
        whole = np.zeros((rows, max(bins, spec.bins_in)), np.complex64)  # a low rate leaves the upper ones at zero
        self._bins = whole[:, :bins]
        self._common = whole.view(np.float32).reshape(rows, -1, 2)[:, : spec.bins_in]
        self._copies = bins > spec.bins_in  # those that the network wants have to lie in one piece
        self.spectrum = np.zeros((rows, spec.bins_in, 2), np.float32) if self._copies else self._common

    @property
    def memory(self) -> tuple[FloatArray, ...]:
        """The last `spec.history` samples, at the input's rate."""
        return (self.history,)

    def push(self, hops: FloatArray, active: BoolArray | None = None) -> FloatArray:
        """Take a hop of every row, (rows, hop), and return the spectra, (rows, bins_in, 2)."""
        active = self.all_rows if active is None else active
        n = len(active)
        _slide(hops, active, self.window, self.history, self.frames)
        np.fft.rfft(self.frames[:n], out=self._bins[:n])  # type: ignore[arg-type]  # numpy's stubs know only doubles
        if self._copies:
            self.spectrum[:n] = self._common[:n]
        return self.spectrum
