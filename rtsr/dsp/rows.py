"""The path around the network for many voices of one pair of rates: `stream.py`'s, one row a voice.

Every loop here calls the kernels that a single stream calls, row by row, so that both give the same samples. Rows
that are not active stand still. All kernels release the interpreter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..spec import Spec
from .band import CUTOFF, CutoffTracker, DoubleArray, clean, lay_over, track
from .frames import Frames, slide
from .overlap import OverlapAdd, add
from .resample import Resampler, polyphase
from .windows import FloatArray

BoolArray = NDArray[np.bool_]


@njit(nogil=True, cache=True)
def _receive(
    blocks: FloatArray,
    active: BoolArray,
    branches: FloatArray,
    up: int,
    down: int,
    past: FloatArray,
    received: FloatArray,
    history: FloatArray,
    window: FloatArray,
    frames: FloatArray,
) -> None:
    """Clean each row's hop in place, delay or resample it to `received`, and window its history to `frames`."""
    for r in range(len(active)):
        if active[r]:
            hop = blocks[r]
            clean(hop, hop)
            polyphase(past[r], hop, branches, up, down, 0, received[r])
            slide(history[r], hop, window, frames[r])


@njit(nogil=True, cache=True)
def _listen(
    bins: FloatArray,
    active: BoolArray,
    spectrum: FloatArray,
    per_band: int,
    smoothed: DoubleArray,
    before: DoubleArray,
    held: DoubleArray,
    known: DoubleArray,
    frames_per_s: float,
    full_scale: float,
    fixed: FloatArray,
    least: float,
    most: float,
    nothing_missing: float,
    told: FloatArray,
) -> None:
    """Fill each row's spectrum, track its cutoff, and say what the network is told: the fixed one if it is a number."""
    common = min(bins.shape[1], spectrum.shape[1])
    for r in range(len(active)):
        if active[r]:
            spectrum[r, :common] = bins[r, :common]
            bands = (smoothed[r], before[r], held[r])
            track(spectrum[r], held.shape[1], per_band, *bands, known[r], frames_per_s, full_scale, least, most)
            cutoff = known[r, CUTOFF] if np.isnan(fixed[r]) else fixed[r]
            told[r] = cutoff if cutoff <= most else nothing_missing


@njit(nogil=True, cache=True)
def _generate(
    frames: FloatArray,
    active: BoolArray,
    window: FloatArray,
    held: FloatArray,
    hops: FloatArray,
    branches: FloatArray,
    up: int,
    down: int,
    past: FloatArray,
    lifted: FloatArray,
    received: FloatArray,
    gain_now: DoubleArray,
    gain: DoubleArray,
    out: FloatArray,
) -> None:
    """Overlap-add each row's frame, resample it if `up` is not 0, and lay it over what was received."""
    for r in range(len(active)):
        if active[r]:
            add(frames[r], window, held[r], hops[r])
            generated = hops[r]
            if up:
                polyphase(past[r], hops[r], branches, up, down, 0, lifted[r])
                generated = lifted[r]
            lay_over(received[r], generated, gain_now[r], gain[r], out[r])
            gain_now[r] = gain[r]


@dataclass
class Memory:
    """What rows remember from hop to hop; each array's first axis is the row."""

    dry: FloatArray
    history: FloatArray
    smoothed: DoubleArray
    before: DoubleArray
    held_bands: DoubleArray
    known: DoubleArray
    held: FloatArray
    lift: FloatArray
    gain_now: DoubleArray


class Rows:
    """Framing, detection, overlap-add and mixing of up to `rows` voices; the network is the caller's.

    `enter` and `leave` work on the first n rows of every array. Used by one thread; allocates nothing in between.
    """

    def __init__(self, spec: Spec, dry: Resampler, lift: Resampler | None, rows: int, nothing_missing: float) -> None:
        self.spec, self.nothing_missing = spec, nothing_missing
        self.dry, self.lift = dry, lift
        rate, hop, hop_out = dry.rate_in, spec.hop_at(dry.rate_in), spec.hop_at(dry.rate_out)
        self.tracker, single = CutoffTracker(spec, rate), Frames(spec, rate)
        self.analysis, self.synthesis = single.window, OverlapAdd(spec).window
        self.branches = lift.branches if lift else np.zeros((1, 1), np.float32)
        self.blocks = np.zeros((rows, hop), np.float32)
        self.received = np.zeros((rows, hop_out), np.float32)
        self.out = np.zeros((rows, hop_out), np.float32)
        self._frames = np.zeros((rows, len(single.window)), np.float32)
        self._bins = np.zeros((rows, len(single.bins)), np.complex64)
        self.spectrum = np.zeros((rows, spec.bins_in, 2), np.float32)
        self.told = np.zeros(rows, np.float32)
        self.generated = np.zeros((rows, spec.bins_out, 2), np.float32)
        self._made = np.zeros((rows, spec.synthesis), np.float32)
        self._hops = np.zeros((rows, spec.hop), np.float32)
        self._lifted = np.zeros((rows, hop_out if lift else 0), np.float32)
        self.fixed = np.full(rows, np.nan, np.float32)
        self.gain = np.ones(rows, np.float64)
        self.memory = Memory(
            dry=np.zeros((rows, dry.past + hop), np.float32),
            history=np.zeros_like(self._frames),
            smoothed=np.zeros((rows, self.tracker.bands), np.float64),
            before=np.zeros((rows, self.tracker.bands), np.float64),
            held_bands=np.zeros((rows, self.tracker.bands), np.float64),
            known=np.zeros((rows, len(self.tracker.state)), np.float64),
            held=np.zeros((rows, spec.overlap), np.float32),
            lift=np.zeros((rows, lift.past + spec.hop if lift else 0), np.float32),
            gain_now=np.zeros(rows, np.float64),
        )

    def enter(self, active: BoolArray) -> None:
        """Take the hops in `blocks` of the active of the first len(active) rows; fills `spectrum` and `told`."""
        n, m = len(active), self.memory
        dry = self.dry
        _receive(
            self.blocks,
            active,
            dry.branches,
            dry.up,
            dry.down,
            m.dry,
            self.received,
            m.history,
            self.analysis,
            self._frames,
        )
        np.fft.rfft(self._frames[:n], out=self._bins[:n])  # type: ignore[arg-type]  # numpy's stubs know only doubles
        t = self.tracker
        _listen(
            self._bins.view(np.float32).reshape(len(self._bins), -1, 2),
            active,
            self.spectrum,
            t.per_band,
            m.smoothed,
            m.before,
            m.held_bands,
            m.known,
            t.frames_per_s,
            t.full_scale,
            self.fixed,
            self.spec.cutoff_min_hz,
            self.spec.cutoff_max_hz,
            self.nothing_missing,
            self.told,
        )

    def leave(self, active: BoolArray) -> None:
        """Turn `generated` of the active of the first len(active) rows into their hops in `out`."""
        n, m = len(active), self.memory
        spectra = self.generated[:n].view(np.complex64)[..., 0]
        np.fft.irfft(spectra, n=self.spec.synthesis, out=self._made[:n])  # type: ignore[arg-type]
        up, down = (self.lift.up, self.lift.down) if self.lift else (0, 0)
        _generate(
            self._made,
            active,
            self.synthesis,
            m.held,
            self._hops,
            self.branches,
            up,
            down,
            m.lift,
            self._lifted,
            self.received,
            m.gain_now,
            self.gain,
            self.out,
        )

    def clear(self, row: int) -> None:
        """Make a row that of a new stream with the settings it has."""
        for whole in vars(self.memory).values():
            whole[row] = 0
        self.memory.known[row] = self.tracker.first
        self.memory.gain_now[row] = self.gain[row]

    def move(self, source: int, target: int) -> None:
        """Copy all that one row remembers and is set to over another, and what it received last."""
        for whole in (self.received, *vars(self.memory).values()):
            whole[target] = whole[source]
        self.fixed[target], self.gain[target] = self.fixed[source], self.gain[source]
