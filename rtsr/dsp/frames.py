"""From hops to spectra: the analysis half of the path."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..spec import Spec
from .windows import FloatArray, analysis_window


@njit(nogil=True, cache=True)
def slide(history: FloatArray, hop: FloatArray, window: FloatArray, frame: FloatArray) -> None:
    """Move the history on by one hop and window it into `frame`."""
    kept = len(history) - len(hop)
    for i in range(kept):
        history[i] = history[i + len(hop)]
    for i in range(len(hop)):
        history[kept + i] = hop[i]
    for i in range(len(history)):
        frame[i] = history[i] * window[i]


class Frames:
    """The recent past of one voice; each `push` of a hop at `rate` gives the spectrum up to half of spec.rate.

    A frame is taken at the input's own rate: 30 ms at 8 kHz has the same bins as 30 ms at 48 kHz, so the network
    needs no resampler before it, and no resampler's delay. Bins that a low rate does not have stay zero.
    """

    def __init__(self, spec: Spec, rate: int) -> None:
        self.hop = spec.hop_at(rate)
        self.window = analysis_window(spec, rate) * np.float32(spec.rate / rate)
        self.history = np.zeros_like(self.window)
        self.frame = np.zeros_like(self.window)
        self.bins = np.zeros(len(self.window) // 2 + 1, np.complex64)
        self.common = min(len(self.bins), spec.bins_in)
        self.spectrum = np.zeros((spec.bins_in, 2), np.float32)

    def push(self, hop: FloatArray) -> FloatArray:
        """Take one hop, shape (hop,), and return the spectrum (bins_in, 2), valid until the next call."""
        slide(self.history, hop, self.window, self.frame)
        np.fft.rfft(self.frame, out=self.bins)  # type: ignore[arg-type]  # numpy's stubs know only doubles
        self.spectrum[: self.common] = self.bins.view(np.float32).reshape(-1, 2)[: self.common]
        return self.spectrum

    def reset(self) -> None:
        """Forget everything heard."""
        self.history[:] = 0
