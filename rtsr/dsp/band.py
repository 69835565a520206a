"""Where the received band ends, and how the generated one is laid over it."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..spec import Spec
from .windows import FloatArray

DoubleArray = NDArray[np.float64]

BAND_HZ = 100.0
ACTIVE_DB = -65.0  # frames quieter than this, or 40 dB under the loudest of late, say nothing about the band
EMPTY_DB = -55.0  # a band this far under the loudest band holds nothing
EMPTY_BELOW_DBFS = -95.0  # nor does one this quiet
CLIFF_DB = 10.0  # the received band ends in a drop this large; a voice that only fades towards the top has none
CLIFF_BANDS = 3
RELEASE_DB_PER_S = 15.0  # how fast a band that fell silent is forgotten
SETTLE_S = 0.15  # how long a new cutoff must stand before it is believed
SAME_HZ = 150.0  # candidates this close are the same cutoff

LOUDEST, CANDIDATE, STANDING, CUTOFF = range(4)


@njit(nogil=True, cache=True)
def _find_edge(held: DoubleArray, bands: int, floor: float) -> int:
    """Return how many bands hold something, or -1 where they end in no cliff."""
    edge = bands
    while edge > 0 and held[edge - 1] <= floor:
        edge -= 1
    if edge == bands or edge < 2 * CLIFF_BANDS:
        return edge if edge == bands else -1
    below = 0.0
    for b in range(edge - CLIFF_BANDS, edge):
        below += held[b]
    above = 0.0
    beyond = min(edge + 1 + CLIFF_BANDS, bands)
    for b in range(edge + 1, beyond):
        above += held[b]
    if beyond == edge + 1 or 10 * np.log10(below / (above * CLIFF_BANDS / (beyond - edge - 1) + 1e-20)) > CLIFF_DB:
        return edge
    return -1


@njit(nogil=True, cache=True)
def track(
    spectrum: FloatArray,
    bands: int,
    per_band: int,
    smoothed: DoubleArray,
    held: DoubleArray,
    state: DoubleArray,
    frames_per_s: float,
    full_scale: float,
) -> None:
    """Update the held spectrum with one frame, and move the cutoff when another has stood long enough."""
    forget = 10 ** (-RELEASE_DB_PER_S / frames_per_s / 10)
    total = 0.0
    for b in range(bands):
        power = 0.0
        for k in range(1 + b * per_band, 1 + (b + 1) * per_band):
            power += spectrum[k, 0] ** 2 + spectrum[k, 1] ** 2
        power /= full_scale
        smoothed[b] += 0.25 * (power - smoothed[b])
        total += power
    state[LOUDEST] = max(state[LOUDEST] * forget, total)
    if total < max(10 ** (ACTIVE_DB / 10), state[LOUDEST] * 1e-4):
        return
    strongest = 0.0
    for b in range(bands):
        held[b] = max(held[b] * forget, smoothed[b])
        strongest = max(strongest, held[b])
    floor = max(strongest * 10 ** (EMPTY_DB / 10), 10 ** (EMPTY_BELOW_DBFS / 10))
    edge = _find_edge(held, bands, floor)
    found = state[CUTOFF] if edge < 0 else edge * BAND_HZ
    if abs(found - state[CANDIDATE]) > SAME_HZ:
        state[CANDIDATE] = found
        state[STANDING] = 0
    state[STANDING] += 1
    if state[STANDING] >= SETTLE_S * frames_per_s and abs(state[CANDIDATE] - state[CUTOFF]) > SAME_HZ:
        state[CUTOFF] = state[CANDIDATE]


class CutoffTracker:
    """Watches received spectra and says where their band ends, in Hz; slow to change its mind.

    Bands of 100 Hz keep their loudest level of the last seconds. The cutoff is the top of the highest one that is
    not empty, provided the spectrum falls off a cliff there; it moves once the same answer stood for 0.15 s of
    speech. Until then it is half of the input's rate: nothing is added that could be there already.
    """

    def __init__(self, spec: Spec, rate: int) -> None:
        self.nyquist = min(rate, spec.rate) / 2
        self.per_band = round(BAND_HZ * spec.history / spec.rate)
        self.bands = int(self.nyquist / BAND_HZ)
        self.full_scale = float(spec.history**2 / 16)
        self.frames_per_s = float(spec.frames_per_s)
        self.smoothed = np.zeros(self.bands, np.float64)
        self.held = np.zeros(self.bands, np.float64)
        self.state = np.zeros(4, np.float64)
        self.reset()

    @property
    def cutoff_hz(self) -> float:
        """Where the received band ends, as far as is known."""
        return float(self.state[CUTOFF])

    def push(self, spectrum: FloatArray) -> float:
        """Take one spectrum (bins_in, 2) and return the cutoff in Hz."""
        track(
            spectrum,
            self.bands,
            self.per_band,
            self.smoothed,
            self.held,
            self.state,
            self.frames_per_s,
            self.full_scale,
        )
        return self.cutoff_hz

    def reset(self) -> None:
        """Forget everything heard."""
        self.smoothed[:] = 0
        self.held[:] = 0
        self.state[:] = (0, self.nyquist, 0, self.nyquist)


@njit(nogil=True, cache=True)
def clean(block: FloatArray, out: FloatArray) -> None:
    """Copy a block with everything beyond full scale clipped to [-1, 1] and what is no number set to 0."""
    for i in range(len(block)):
        x = block[i]
        out[i] = 0.0 if np.isnan(x) else min(max(x, -1.0), 1.0)


@njit(nogil=True, cache=True)
def lay_over(received: FloatArray, generated: FloatArray, gain_from: float, gain_to: float, out: FloatArray) -> None:
    """out = received + gain * generated, the gain sliding over the block, clipped to full scale."""
    step = (gain_to - gain_from) / len(out)
    for i in range(len(out)):
        x = received[i] + np.float32(gain_from + step * (i + 1)) * generated[i]
        out[i] = min(max(x, np.float32(-1)), np.float32(1))
