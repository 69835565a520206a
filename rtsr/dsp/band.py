"""Where the received band ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..spec import Spec
from .stage import BoolArray, Plain, Stage
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
TONE = 0.95  # of a frame's power in three neighbouring bands may be a tone's, which narrows no band
CLICK_BANDS = 0.6  # of all bands sound at once in a click, and
CLICK_S = 0.075  # for less than this, also where a lost block makes two of them; what lasts longer is a hiss
CLICK_END = 0.25  # of the floor: what a band falls under after a click
REMEMBERED_DB = -20.0  # what is left after a click is no evidence if it is this far under the loudest frame of late
RELEASE_DB_PER_S = 10.0  # how fast a band that fell silent is forgotten
SETTLE_S = 0.15  # how long the first answer must stand before it is taken
WIDEN_S, NARROW_S = 0.3, 1.0  # and a later one: adding to what is there already is the worse mistake
SAME_HZ = 250.0  # candidates this close are the same cutoff

STATE = range(7)
LOUDEST, CANDIDATE, STANDING, CUTOFF, SETTLED, FLOOR, CLICK = STATE  # places in `BandMemory.state`


class BandSettings(NamedTuple):
    """The sizes of the bands and what follows from a model and a rate."""

    bands: int  # of 100 Hz, up to half of the lower one of both rates
    per_band: int  # bins of a spectrum
    full_scale: float  # half the power of a band that holds a tone at full scale
    frames_per_s: float
    least_hz: float  # a voice's band ends above it
    most_hz: float  # a band that ends above it has nothing missing

    @classmethod
    def of(cls, spec: Spec, rate: int) -> BandSettings:
        """Return those of an input at `rate`."""
        return cls(
            bands=int(min(rate, spec.rate) / 2 / BAND_HZ),
            per_band=round(BAND_HZ * spec.history / spec.rate),
            full_scale=float(spec.history**2 / 16),
            frames_per_s=float(spec.frames_per_s),
            least_hz=float(spec.cutoff_min_hz),
            most_hz=float(spec.cutoff_max_hz),
        )


class BandMemory(NamedTuple):
    """The tracker's state: of one row, or of all with the row as the first axis. Powers; full scale is 1."""

    smoothed: DoubleArray  # (bands,), over some frames
    before: DoubleArray  # (bands,), `held` as it was before the click that lasts now
    held: DoubleArray  # (bands,), the loudest of the last seconds
    state: DoubleArray  # (7,), in the order of STATE: power, Hz, frames, Hz, 0 or 1, power, frames

    @classmethod
    def zeros(cls, bands: int, rows: int) -> BandMemory:
        """Return room for so many rows."""
        smoothed, before, held = (np.zeros((rows, bands), np.float64) for _ in range(3))
        return cls(smoothed, before, held, np.zeros((rows, len(STATE)), np.float64))


def first_state(spec: Spec, rate: int) -> tuple[float, ...]:
    """Return `BandMemory.state` of a row that has heard nothing: its band is as wide as the rate allows."""
    nyquist = min(rate, spec.rate) / 2
    return (0, nyquist, 0, nyquist, 0, 10 ** (EMPTY_BELOW_DBFS / 10), 0)


@njit(nogil=True, cache=True)
def _find_edge(held: DoubleArray, bands: int, floor: float) -> int:
    """Return how many bands were received, or minus the highest one where the held spectrum has no steep end.

    held (bands,): peak-held power of each band; floor: in the same power. The highest band above the floor gives a
    first estimate; the steepest drop over two bands just below it gives the edge at any level, since the leakage of a
    loud voice reaches further over it.
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
    """Whether most bands below `edge` are above the floor, as a voice's are; a tone's are not. held (bands,)."""
    occupied = 0
    for b in range(edge):
        occupied += held[b] > floor
    return occupied >= OCCUPIED * edge


@njit(nogil=True, cache=True)
def _is_tone(smoothed: DoubleArray) -> bool:
    """Whether three neighbouring bands hold nearly all of `smoothed`, (bands,) power: a tone, a swept one too."""
    total, most = 0.0, 0.0
    for b in range(len(smoothed)):
        total += smoothed[b]
        if b >= 2:
            most = max(most, smoothed[b - 2] + smoothed[b - 1] + smoothed[b])
    return most > TONE * total


@njit(nogil=True, cache=True)
def _forget_clicks(full: bool, lasts: float, memory: BandMemory) -> None:
    """Count the frames in a row in which most bands sound; restore `held` where they were too few.

    full: whether most bands sound in this frame; lasts: frames that noise of a voice lasts at least;
    memory: of one row.
    """
    smoothed, before, held, state = memory
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
def _measure(spectrum: FloatArray, settings: BandSettings, memory: BandMemory) -> float:
    """Smooth the power of every band with that of one frame, drop clicks, and return the frame's power.

    spectrum (bins_in, 2).
    """
    smoothed, state = memory.smoothed, memory.state
    total, sounding = 0.0, 0
    level = state[FLOOR] * (CLICK_END if state[CLICK] > 0 else 1.0)
    for b in range(settings.bands):
        power = 0.0
        for k in range(1 + b * settings.per_band, 1 + (b + 1) * settings.per_band):
            power += spectrum[k, 0] ** 2 + spectrum[k, 1] ** 2
        power /= settings.full_scale
        smoothed[b] += 0.25 * (power - smoothed[b])
        sounding += power > level
        total += power
    _forget_clicks(sounding >= CLICK_BANDS * settings.bands, CLICK_S * settings.frames_per_s, memory)
    return total


@njit(nogil=True, cache=True)
def _consider(found: float, frames_per_s: float, state: DoubleArray) -> None:
    """Count for how many frames the same cutoff, in Hz, was found, and take it once it lasted long enough.

    state (places,): see CUTOFF, CANDIDATE and STANDING.
    """
    if abs(found - state[CANDIDATE]) > SAME_HZ:
        state[CANDIDATE] = found
        state[STANDING] = 0
    state[STANDING] += 1
    hold_s = WIDEN_S if state[CANDIDATE] > state[CUTOFF] else NARROW_S
    if not state[SETTLED]:
        hold_s = SETTLE_S
    if state[STANDING] < hold_s * frames_per_s:
        return
    state[SETTLED] = 1
    if abs(state[CANDIDATE] - state[CUTOFF]) > SAME_HZ:
        state[CUTOFF] = state[CANDIDATE]


@njit(nogil=True, cache=True)
def _track(spectrum: FloatArray, settings: BandSettings, memory: BandMemory) -> None:
    """Update one row's memory with one `spectrum`, (bins_in, 2), and its cutoff once another one lasted long enough."""
    bands, held, state = settings.bands, memory.held, memory.state
    forget = 10 ** (-RELEASE_DB_PER_S / settings.frames_per_s / 10)
    total = _measure(spectrum, settings, memory)
    state[LOUDEST] = max(state[LOUDEST] * forget, total)
    if total < max(10 ** (ACTIVE_DB / 10), state[LOUDEST] * 1e-4):
        return
    strongest = 0.0
    for b in range(bands):
        held[b] = max(held[b] * forget, memory.smoothed[b])
        strongest = max(strongest, held[b])
    floor = max(strongest * 10 ** (EMPTY_DB / 10), 10 ** (EMPTY_BELOW_DBFS / 10))
    state[FLOOR] = floor
    clicks = 0 < state[CLICK] < CLICK_S * settings.frames_per_s
    if clicks or strongest < state[LOUDEST] * 10 ** (REMEMBERED_DB / 10):
        return
    edge = _find_edge(held, bands, floor)
    if edge <= 0 and -edge * BAND_HZ <= state[CUTOFF] + SAME_HZ:
        return  # no steep drop, and nothing above the cutoff: no evidence for or against it
    leaked = strongest * 10 ** (FULL_DB / 10)
    if edge > 0 and (edge * BAND_HZ < settings.least_hz or not _is_full(held, edge, max(floor, leaked))):
        return
    found = edge * BAND_HZ
    if edge <= 0 or found > settings.most_hz:
        found = bands * BAND_HZ
    if found < state[CUTOFF] and _is_tone(memory.smoothed):
        return
    _consider(found, settings.frames_per_s, state)


@njit(nogil=True, cache=True)
def _track_rows(spectra: FloatArray, active: BoolArray, settings: Plain, memory: Plain) -> None:
    """Track the cutoff of each active row.

    spectra (rows, bins_in, 2); settings and memory are `BandSettings` and `BandMemory` of all rows as plain tuples,
    which numba takes in a fifth of the time.
    """
    smoothed, before, held, state = memory
    for r in range(len(active)):
        if active[r]:
            _track(spectra[r], BandSettings(*settings), BandMemory(smoothed[r], before[r], held[r], state[r]))


class CutoffTracker(Stage):
    """Watches received spectra and says where the band of each row ends, in Hz; it changes slowly.

    Bands of 100 Hz keep their loudest level of the last seconds; the cutoff is where this held spectrum drops
    steeply below bands that are empty. A click is forgotten as soon as it is over. The cutoff moves once the same
    answer stood long enough, in speech. Until then it is half of the input's rate: nothing is added that could be
    there already.
    """

    def __init__(self, spec: Spec, rate: int, rows: int = 1) -> None:
        super().__init__(rows)
        self.settings, self.first = BandSettings.of(spec, rate), first_state(spec, rate)
        self._memory = BandMemory.zeros(self.settings.bands, rows)
        self._arguments = tuple(self.settings), tuple(self._memory)
        self.cutoff_hz = self._memory.state[:, CUTOFF]  # (rows,), as far as is known
        for row in range(rows):
            self.clear(row)

    @property
    def memory(self) -> tuple[DoubleArray, ...]:
        """Every band's power, and what is known of the cutoff."""
        return self._memory

    def push(self, spectra: FloatArray, active: BoolArray | None = None) -> DoubleArray:
        """Take a spectrum of every row, (rows, bins_in, 2), and return the cutoffs in Hz, (rows,)."""
        _track_rows(spectra, self.all_rows if active is None else active, *self._arguments)
        return self.cutoff_hz

    def clear(self, row: int) -> None:
        """Clear a row's state."""
        super().clear(row)
        self._memory.state[row] = self.first
