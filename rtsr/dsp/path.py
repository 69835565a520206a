"""The path around the network on the host, for a batch of streams of one pair of rates: its stages, in their order.

    analyse      clean the hops, delay or resample the received band, frame, detect the cutoff
    (network)    the caller's: `spectrum` and `network_cutoff_hz` to `envelope`
    synthesise   generate, overlap-add, resample the generated band, mix

A stream is a batch of one row, so that it gives the samples that it gives in a pool. All stages release the
interpreter in their kernels; rows that are not active stand still.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ..errors import InvalidSetting
from ..spec import Spec
from .band import CutoffTracker, DoubleArray
from .frames import Frames
from .mix import Mixer, clean
from .overlap import OverlapAdd
from .resample import HopResampler, PolyphaseFilter, design
from .stage import BoolArray, Stage
from .structure import FineStructure
from .windows import FloatArray

GENERATED_DELAY_MS = 1  # of the resampler after the overlap-add, where the output is not at the model's rate
NOTHING_MISSING = 2.0  # times the model's rate: a cutoff above which no bin lies


def path_delay(spec: Spec, rate_out: int) -> int:
    """Return by how many output samples both bands are delayed: the overlap, and the generated band's resampler."""
    return spec.overlap * rate_out // spec.rate + _wet_delay(spec, rate_out)


def _wet_delay(spec: Spec, rate_out: int) -> int:
    return 0 if rate_out == spec.rate else GENERATED_DELAY_MS * rate_out // 1000


def path_filters(spec: Spec, rate: int, rate_out: int) -> tuple[PolyphaseFilter, PolyphaseFilter | None]:
    """Return the received (dry) band's filter, as long as `path_delay`, and the generated (wet) one's if it needs one.

    Raises `InvalidSetting` for an output rate under the model's.
    """
    if rate_out < spec.rate:
        raise InvalidSetting(f"expected an output rate of at least {spec.rate} Hz, got {rate_out} Hz")
    wet = None if rate_out == spec.rate else design(spec.rate, rate_out, _wet_delay(spec, rate_out))
    return design(rate, rate_out, path_delay(spec, rate_out)), wet


@njit(nogil=True, cache=True)
def _choose_cutoff(detected: DoubleArray, fixed: DoubleArray, most: float, beyond: float, out: FloatArray) -> None:
    """Write the cutoff for the network: the fixed one where it is a number, else the detected; `beyond` above `most`.

    All in Hz; detected, fixed and out (rows,).
    """
    for r in range(len(out)):
        cutoff = detected[r] if np.isnan(fixed[r]) else fixed[r]
        out[r] = cutoff if cutoff <= most else beyond


class HostPath:
    """Up to `rows` streams from `rate` to `rate_out`. Used by one thread; allocates nothing after it is made.

    `analyse` and `synthesise` work on the first n rows of every array, (n,) being the shape of `active`.
    """

    def __init__(self, spec: Spec, rate: int, rate_out: int, rows: int) -> None:
        dry, wet = path_filters(spec, rate, rate_out)
        hop, hop_out = spec.hop_at(rate), spec.hop_at(rate_out)
        self.spec = spec
        self.blocks = np.zeros((rows, hop), np.float32)  # written by the caller
        self.dry_resampler = HopResampler(dry, hop, rows)
        self.frames = Frames(spec, rate, rows)
        self.tracker = CutoffTracker(spec, rate, rows)
        self.fixed_hz = np.full(rows, math.nan, np.float64)  # written by the caller: a cutoff, NaN to detect it
        self.network_cutoff_hz = np.zeros(rows, np.float32)
        self._widest_hz = spec.cutoff_max_hz, NOTHING_MISSING * spec.rate
        self.envelope = np.zeros((rows, spec.bands), np.float32)  # written by the network
        self.structure = FineStructure(spec, rate, rows)
        self.overlap = OverlapAdd(spec, rows)
        self.wet_resampler = HopResampler(wet, spec.hop, rows) if wet else None
        self.mixer = Mixer(hop_out, rows)
        self.received = self.dry_resampler.out  # (rows, hop_out), of the last hop
        self.spectrum = self.frames.spectrum  # (rows, bins_in, 2)
        self.out = self.mixer.out  # (rows, hop_out)
        analysis = (self.dry_resampler, self.frames, self.tracker)
        stages = (*analysis, self.structure, self.overlap, self.wet_resampler, self.mixer)
        self._stages: list[Stage] = [stage for stage in stages if stage is not None]

    def analyse(self, active: BoolArray) -> None:
        """Take the hops in `blocks` of the active rows; fills `received`, `spectrum` and `network_cutoff_hz`."""
        clean(self.blocks, active)
        self.dry_resampler.push(self.blocks, active)
        spectrum = self.frames.push(self.blocks, active)
        detected = self.tracker.push(spectrum, active)
        _choose_cutoff(detected, self.fixed_hz, *self._widest_hz, self.network_cutoff_hz)

    def synthesise(self, active: BoolArray) -> None:
        """Turn `envelope` of the active rows into their hops in `out`."""
        spectra = self.structure.push(self.frames.history, self.envelope, self.network_cutoff_hz, active)
        generated = self.overlap.push(spectra, active)
        if self.wet_resampler is not None:
            generated = self.wet_resampler.push(generated, active)
        self.mixer.push(self.received, generated, active)

    def clear(self, row: int) -> None:
        """Make a row that of a new stream with the settings it has."""
        for stage in self._stages:
            stage.clear(row)

    def move(self, source: int, target: int) -> None:
        """Copy all that one row remembers and is set to over another, and what it received last."""
        for stage in self._stages:
            stage.move(source, target)
        self.received[target] = self.received[source]
        self.fixed_hz[target] = self.fixed_hz[source]
