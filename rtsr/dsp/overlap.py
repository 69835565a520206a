"""From generated spectra to samples: the synthesis half of the path."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..spec import Spec
from .windows import FloatArray, synthesis_window


@njit(nogil=True, cache=True, fastmath=True)
def add(frame: FloatArray, window: FloatArray, held: FloatArray, out: FloatArray) -> None:
    """Complete the hop that the last frame began, and hold what this one begins."""
    hop = len(out)
    for i in range(hop):
        out[i] = held[i] + frame[i] * window[i]
        held[i] = frame[hop + i] * window[hop + i]


class OverlapAdd:
    """Windows and adds generated frames; each `push` completes the hop that began one hop before the newest."""

    def __init__(self, spec: Spec) -> None:
        self.window = synthesis_window(spec)
        self.held = np.zeros(spec.overlap, np.float32)
        self.frame = np.zeros(spec.synthesis, np.float32)
        self.hop = np.zeros(spec.hop, np.float32)

    def push(self, generated: FloatArray) -> FloatArray:
        """Take a spectrum (bins_out, 2) and return the completed hop (hop,), valid until the next call."""
        np.fft.irfft(generated.view(np.complex64)[:, 0], n=len(self.frame), out=self.frame)  # type: ignore[arg-type]  # numpy's stubs know only doubles
        add(self.frame, self.window, self.held, self.hop)
        return self.hop

    def reset(self) -> None:
        """Forget the half frame that is held."""
        self.held[:] = 0
