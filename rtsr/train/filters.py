"""What limits the band of a received signal: cutoffs and the magnitude responses of filters, drawn at random.

A filter takes a frequency grid in Hz, float64 of shape (bins,), and returns its magnitude over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import signal

from ..dsp.band import BAND_HZ
from ..dsp.windows import FloatArray

Response = tuple[FloatArray, float]  # magnitude over the frequency grid, and the cutoff that it leaves in Hz


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What is drawn from: the `named` cutoffs and their shares, and the range of those in between, in Hz."""

    named: tuple[float, ...] = (4000.0, 2000.0, 16000 / 12)  # x2, x4 and x6 of 16 kHz
    shares: tuple[float, ...] = (0.48, 0.36, 0.16)
    lowest: float = 1200.0
    highest: float = 6500.0

    def draw(self, rng: np.random.Generator, varied: bool) -> float:
        """Return a named one; half of the varied ones lie anywhere in the range, low ones more often."""
        if varied and rng.random() < 0.5:
            return float(np.exp(rng.uniform(np.log(self.lowest), np.log(self.highest))))
        return float(rng.choice(self.named, p=self.shares))


def windowed_sinc(hz: FloatArray, cutoff: float, rng: np.random.Generator) -> FloatArray:
    """A linear-phase low-pass as a resampler has it; 40 to 400 Hz from pass to stop, which is at the cutoff."""
    width = 40 * 10 ** rng.uniform(0, 1)
    return 0.5 * (1 + np.cos(np.pi * np.clip((hz - cutoff + width) / width, 0, 1)))


def _iir(design: Callable[[float], np.ndarray]) -> Callable[..., FloatArray]:
    def response(hz: FloatArray, cutoff: float, rng: np.random.Generator) -> FloatArray:
        nyquist = hz[-1]
        edge = cutoff * rng.uniform(0.8, 0.97) / nyquist
        sos = design(float(edge))
        magnitude = np.abs(signal.sosfreqz(sos, np.pi * hz / nyquist)[1])
        return magnitude ** rng.choice([1, 2])  # once, or forwards and backwards as filtfilt does

    return response


chebyshev = _iir(lambda edge: signal.cheby1(8, 0.05, edge, output="sos"))  # scipy's decimate
butterworth = _iir(lambda edge: signal.butter(10, edge, output="sos"))
elliptic = _iir(lambda edge: signal.ellip(8, 0.1, 60, edge, output="sos"))


def telephone(hz: FloatArray, cutoff: float, rng: np.random.Generator) -> FloatArray:
    """A 300-3400 Hz telephone band (ITU-T G.712 in outline), scaled down with the cutoff."""
    low = signal.butter(int(rng.integers(1, 4)), rng.uniform(150, 320) / hz[-1], "high", output="sos")
    high = elliptic(hz, cutoff, rng)
    return high * np.abs(signal.sosfreqz(low, np.pi * hz / hz[-1])[1])


FAMILY: tuple[tuple[Callable[..., FloatArray], float], ...] = (
    (windowed_sinc, 0.6),
    (chebyshev, 0.1),
    (butterworth, 0.1),
    (elliptic, 0.1),
    (telephone, 0.1),
)


def draw_response(hz: np.ndarray, cutoffs: Cutoffs, varied: bool, rng: np.random.Generator) -> Response:
    """Draw a filter of the family, or a clean one where not `varied`, and the cutoff that the network is given."""
    cutoff = cutoffs.draw(rng, varied)
    kinds, weights = zip(*FAMILY, strict=True)
    kind: Callable[..., FloatArray] = kinds[rng.choice(len(kinds), p=weights)] if varied else windowed_sinc
    response = kind(hz, cutoff, rng)
    if kind is windowed_sinc or rng.random() < 0.4:
        return response, cutoff  # the nominal cutoff, as a caller gives it
    heard = hz[np.flatnonzero(response > 0.1)[-1]]  # where the band really ends, as a detector finds it
    return response, float(np.clip(heard + rng.uniform(-50, 100), cutoffs.lowest - BAND_HZ, cutoff))
