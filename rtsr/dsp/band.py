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
CLIFF_DB = 13.0  # the band ends where it drops this much over two bands; a voice that only fades has no such place
LEAK_BANDS = 8  # how far over the edge a loud voice may leak
OCCUPIED = 0.75  # of the bands under the edge hold something, or it is no voice's edge
FULL_DB = -40.0  # more than this under the loudest band, it may only be what the window leaks from a tone
CLICK_BANDS = 0.6  # of all bands sound at once in a click, and
CLICK_S = 0.075  # for less than this, also where a lost block makes two of them; what lasts longer is a hiss
CLICK_END = 0.25  # of the floor: what a band falls under after a click
RELEASE_DB_PER_S = 10.0  # how fast a band that fell silent is forgotten
SETTLE_S = 0.15  # how long the first answer must stand before it is believed
WIDEN_S, NARROW_S = 0.3, 1.0  # and a later one: adding to what is there already is the worse mistake
SAME_HZ = 250.0  # candidates this close are the same cutoff

LOUDEST, CANDIDATE, STANDING, CUTOFF, SETTLED, FLOOR, CLICK = range(7)


@njit(nogil=True, cache=True)
def _find_edge(held: DoubleArray, bands: int, floor: float) -> int:
    """Return how many bands were received, or minus the highest one where the held spectrum ends in no cliff.

    The highest band above the floor says about where; the steepest drop over two bands just below it says exactly
    where, whatever the level, since a loud voice leaks further over the edge.
    """
    top = bands
    while top > 0 and held[top - 1] <= floor:
        top -= 1
    if top == bands:
        return bands
    edge, steepest = -top, 10 ** (CLIFF_DB / 10)
    for b in range(max(top - LEAK_BANDS, 1), top + 1):
        drop = held[b - 1] / (held[min(b + 1, bands - 1)] + 1e-20)
        if drop > steepest:
            edge, steepest = b, drop
    return edge


@njit(nogil=True, cache=True)
def _is_full(held: DoubleArray, edge: int, floor: float) -> bool:
    """Whether a band looks like a voice's, which fills it; a tone does not."""
    occupied = 0
    for b in range(edge):
        occupied += held[b] > floor
    return occupied >= OCCUPIED * edge


@njit(nogil=True, cache=True)
def _forget_clicks(
    full: bool, lasts: float, before: DoubleArray, smoothed: DoubleArray, held: DoubleArray, state: DoubleArray
) -> None:
    """Count the frames in which most bands sound, and take back what they left where they were too few for a hiss."""
    if full:
        if state[CLICK] == 0:
            before[:] = held
        state[CLICK] += 1
        return
    if 0 < state[CLICK] < lasts:
        for b in range(len(held)):
            held[b] = min(held[b], before[b])
            smoothed[b] = min(smoothed[b], held[b])
    state[CLICK] = 0


@njit(nogil=True, cache=True)
def track(
    spectrum: FloatArray,
    bands: int,
    per_band: int,
    smoothed: DoubleArray,
    before: DoubleArray,
    held: DoubleArray,
    state: DoubleArray,
    frames_per_s: float,
    full_scale: float,
    least_hz: float,
    most_hz: float,
) -> None:
    """Update the held spectrum with one frame, and move the cutoff when another has stood long enough."""
    forget = 10 ** (-RELEASE_DB_PER_S / frames_per_s / 10)
    total, sounding = 0.0, 0
    level = state[FLOOR] * (CLICK_END if state[CLICK] > 0 else 1.0)
    for b in range(bands):
        power = 0.0
        for k in range(1 + b * per_band, 1 + (b + 1) * per_band):
            power += spectrum[k, 0] ** 2 + spectrum[k, 1] ** 2
        power /= full_scale
        smoothed[b] += 0.25 * (power - smoothed[b])
        sounding += power > level
        total += power
    _forget_clicks(sounding >= CLICK_BANDS * bands, CLICK_S * frames_per_s, before, smoothed, held, state)
    state[LOUDEST] = max(state[LOUDEST] * forget, total)
    if total < max(10 ** (ACTIVE_DB / 10), state[LOUDEST] * 1e-4):
        return
    strongest = 0.0
    for b in range(bands):
        held[b] = max(held[b] * forget, smoothed[b])
        strongest = max(strongest, held[b])
    floor = max(strongest * 10 ** (EMPTY_DB / 10), 10 ** (EMPTY_BELOW_DBFS / 10))
    state[FLOOR] = floor
    edge = _find_edge(held, bands, floor)
    if edge <= 0 and -edge * BAND_HZ <= state[CUTOFF] + SAME_HZ:
        return  # no cliff, and nothing above the cutoff: no evidence for or against it
    leaked = strongest * 10 ** (FULL_DB / 10)
    if edge > 0 and (edge * BAND_HZ < least_hz or not _is_full(held, edge, max(floor, leaked))):
        return
    found = edge * BAND_HZ
    if edge <= 0 or found > most_hz:
        found = bands * BAND_HZ
    if abs(found - state[CANDIDATE]) > SAME_HZ:
        state[CANDIDATE] = found
        state[STANDING] = 0
    state[STANDING] += 1
    patience = WIDEN_S if state[CANDIDATE] > state[CUTOFF] else NARROW_S
    if not state[SETTLED]:
        patience = SETTLE_S
    if state[STANDING] < patience * frames_per_s:
        return
    state[SETTLED] = 1
    if abs(state[CANDIDATE] - state[CUTOFF]) > SAME_HZ:
        state[CUTOFF] = state[CANDIDATE]


class CutoffTracker:
    """Watches received spectra and says where their band ends, in Hz; slow to change its mind.

    Bands of 100 Hz keep their loudest level of the last seconds; the cutoff is where this held spectrum falls off a
    cliff below bands that are empty. A click is forgotten as soon as it is over. The cutoff moves once the same answer
    stood long enough, in speech. Until then it is half of the input's rate: nothing is added that could be there
    already.
    """

    def __init__(self, spec: Spec, rate: int) -> None:
        self.nyquist = min(rate, spec.rate) / 2
        self.per_band = round(BAND_HZ * spec.history / spec.rate)
        self.bands = int(self.nyquist / BAND_HZ)
        self.full_scale = float(spec.history**2 / 16)
        self.least_hz, self.most_hz = spec.cutoff_min_hz, spec.cutoff_max_hz
        self.frames_per_s = float(spec.frames_per_s)
        self.smoothed = np.zeros(self.bands, np.float64)
        self.before = np.zeros(self.bands, np.float64)
        self.held = np.zeros(self.bands, np.float64)
        self.first = (0, self.nyquist, 0, self.nyquist, 0, 10 ** (EMPTY_BELOW_DBFS / 10), 0)
        self.state = np.zeros(len(self.first), np.float64)
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
            self.before,
            self.held,
            self.state,
            self.frames_per_s,
            self.full_scale,
            self.least_hz,
            self.most_hz,
        )
        return self.cutoff_hz

    def reset(self) -> None:
        """Forget everything heard."""
        self.smoothed[:] = 0
        self.before[:] = 0
        self.held[:] = 0
        self.state[:] = self.first


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
