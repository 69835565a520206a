"""The generated band: the fine structure of the received band under the envelope that the network gives.

The received frame's spectrum is copied upwards, normalised in the bands of the envelope, mixed with noise, and scaled
to the envelope. Copies keep what the voice is made of, harmonics or noise; the envelope says how loud each band is.
This is spectral band replication (Dietz et al. 2002, AES convention paper 5553) within one frame's spectrum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..spec import Spec
from .envelope import Bands
from .stage import BoolArray, Plain, Stage
from .windows import FloatArray, synthesis_window

POWER_FLOOR = 1e-9  # added to powers before a logarithm; about -120 dB of a full-scale frame
SILENCE_DBFS = -108.0  # a received frame under this level fades the generated band to nothing
ENVELOPE_CEILING = 10.0  # natural log of the largest power that a generated bin may have
NOTHING = -100.0  # what a band of an envelope holds where nothing is to be generated, and
LEAST = -60.0  # the natural log of the power under which a bin is generated as exact zeros
LEAST_NOISE, MOST_NOISE = 0.2, 1.0  # amplitude of the noise relative to the copies, rising from the one to the other
NOISE_FROM, NOISE_TO = 1.25, 2.5  # times the cutoff: the further a copy is from its source, the noisier it is
PHASES = 256  # of the noise: unit phasors in a table, so that every implementation has the same ones

phasors: FloatArray = np.stack(
    [np.cos(2 * np.pi * np.arange(PHASES) / PHASES), np.sin(2 * np.pi * np.arange(PHASES) / PHASES)], axis=1
).astype(np.float32)


@njit(nogil=True, cache=True)
def phase_index(frame: int, bin_index: int) -> int:
    """Return a number below `PHASES` that looks random: an integer hash (Appleby's finaliser) of frame and bin."""
    h = (frame * 0x9E3779B1 + bin_index * 0x85EBCA77) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return (h ^ (h >> 16)) >> 24


class Sizes(NamedTuple):
    """The constants of one model: `Bands`, the distance of bins in Hz, and the power of a frame at `SILENCE_DBFS`."""

    first_bin: int
    lower: NDArray[np.int32]  # (bins_out,)
    fraction: FloatArray  # (bins_out,)
    weight: FloatArray  # (bands,)
    table: FloatArray  # (PHASES, 2)
    bin_hz: float
    silence: float


@njit(nogil=True, cache=True)
def _normalising_gains(short: FloatArray, edge: int, sizes: Plain, gains: FloatArray) -> None:
    """Write half the natural log of what makes each band's mean power 1, copies included, to `gains`, (bands,).

    short (bins, 2): the received frame's spectrum; from bin `edge` on there are copies of its upper half.
    """
    first_bin, lower, fraction, weight = sizes[:4]
    start, length = edge // 2, edge - edge // 2
    gains[:] = 0
    for k in range(first_bin, len(lower)):
        source = k if k < edge else start + (k - edge) % length
        if source < len(short):
            power = short[source, 0] ** 2 + short[source, 1] ** 2
            gains[lower[k]] += (np.float32(1) - fraction[k]) * power
            gains[lower[k] + 1] += fraction[k] * power
    for b in range(len(gains)):
        gains[b] = np.float32(-0.5) * np.log(gains[b] * weight[b] + np.float32(POWER_FLOOR))


@njit(nogil=True, cache=True)
def _generate(
    short: FloatArray,
    envelope: FloatArray,
    cutoff_hz: float,
    frame: int,
    sizes: Plain,
    gains: FloatArray,
    generated: FloatArray,
) -> None:
    """Write one frame's generated spectrum, (bins_out, 2), zero below the cutoff.

    short (bins, 2): the received frame's spectrum through the synthesis window, up to half of the input's rate;
    envelope (bands,): natural log of each band's mean power; frame: how many came before; gains (bands,): room.
    """
    _, lower, fraction, _, table, bin_hz, silence = sizes
    generated[:] = 0
    edge = int(cutoff_hz / bin_hz)
    if edge >= len(generated):
        return
    total = 0.0
    for k in range(len(short)):
        total += short[k, 0] ** 2 + short[k, 1] ** 2
    audible = np.float32(min(total / silence, 1.0))
    _normalising_gains(short, edge, sizes, gains)
    start, length = edge // 2, edge - edge // 2
    one = np.float32(1)
    for k in range(edge, len(generated)):
        b, part = lower[k], fraction[k]
        log_power = (one - part) * envelope[b] + part * envelope[b + 1]
        if log_power < LEAST:
            continue
        level = np.float32(0.5) * min(log_power, np.float32(ENVELOPE_CEILING))
        along = min(max((k * bin_hz / cutoff_hz - NOISE_FROM) / (NOISE_TO - NOISE_FROM), 0.0), 1.0)
        ratio = np.float32(LEAST_NOISE + (MOST_NOISE - LEAST_NOISE) * along)
        missing = np.float32(min((k * bin_hz - cutoff_hz) / bin_hz + 1, 1.0))
        copied = missing * audible / np.sqrt(one + ratio * ratio)
        noise = copied * ratio * np.exp(level)
        copied *= np.exp(level + (one - part) * gains[b] + part * gains[b + 1])
        source = start + (k - edge) % length
        if (k - source) * frame % 2:
            copied = -copied  # the phase that a shift by whole bins gains in a hop of half a frame
        phase = phase_index(frame, k)
        for half in range(2):
            received = short[source, half] if source < len(short) else np.float32(0)
            generated[k, half] = copied * received + noise * table[phase, half]


@njit(nogil=True, cache=True)
def _window_newest(history: FloatArray, active: BoolArray, window: FloatArray, frames: FloatArray) -> None:
    """Write the newest samples of each active row's `history`, (rows, samples), times `window` to `frames`.

    window (window,); frames (rows, window).
    """
    older = history.shape[1] - len(window)
    for r in range(len(active)):
        if active[r]:
            for i in range(len(window)):
                frames[r, i] = history[r, older + i] * window[i]


@njit(nogil=True, cache=True)
def _generate_rows(
    spectra: FloatArray,
    envelopes: FloatArray,
    cutoffs_hz: FloatArray,
    active: BoolArray,
    counter: NDArray[np.int64],
    sizes: Plain,
    gains: FloatArray,
    generated: FloatArray,
) -> None:
    """Call `_generate` for each active row and count its frame.

    spectra (rows, bins, 2), envelopes (rows, bands), cutoffs_hz (rows,), counter (rows,) frames before this one,
    generated (rows, bins_out, 2); gains (bands,) is room for one row.
    """
    for r in range(len(active)):
        if active[r]:
            _generate(spectra[r], envelopes[r], cutoffs_hz[r], counter[r], sizes, gains, generated[r])
            counter[r] += 1


def silence_power(spec: Spec) -> float:
    """Return the sum over bins of a frame's power at `SILENCE_DBFS` through the synthesis window."""
    return float(10 ** (SILENCE_DBFS / 10) * spec.synthesis**2 / 4)


class FineStructure(Stage):
    """Makes each row's generated spectrum of what was received in the last two hops and of an envelope.

    A frame is taken at the input's own rate, as in `Frames`.
    """

    def __init__(self, spec: Spec, rate: int, rows: int = 1) -> None:
        super().__init__(rows)
        bands = Bands.of(spec)
        self._sizes = tuple(
            Sizes(
                bands.first_bin,
                bands.lower,
                bands.fraction,
                bands.weight,
                phasors,
                spec.rate / spec.synthesis,
                silence_power(spec),
            )
        )
        self.window = synthesis_window(spec, rate) * np.float32(spec.rate / rate)
        self.frames = np.zeros((rows, len(self.window)), np.float32)
        self._bins = np.zeros((rows, len(self.window) // 2 + 1), np.complex64)
        common = min(self._bins.shape[1], spec.bins_out)
        self._short = self._bins.view(np.float32).reshape(rows, -1, 2)[:, :common]
        self._gains = np.zeros(spec.bands, np.float32)
        self.counter = np.zeros(rows, np.int64)
        self.generated = np.zeros((rows, spec.bins_out, 2), np.float32)

    @property
    def memory(self) -> tuple[NDArray[np.int64], ...]:
        """How many frames came before: the place of the noise, and the phase of the copies."""
        return (self.counter,)

    def push(
        self, history: FloatArray, envelopes: FloatArray, cutoffs_hz: FloatArray, active: BoolArray | None = None
    ) -> FloatArray:
        """Return the generated spectra, (rows, bins_out, 2).

        history (rows, samples): at least the last two hops at the input's rate; envelopes (rows, bands): natural log of
        each band's mean power; cutoffs_hz (rows,).
        """
        active = self.all_rows if active is None else active
        n = len(active)
        _window_newest(history, active, self.window, self.frames)
        np.fft.rfft(self.frames[:n], out=self._bins[:n])  # type: ignore[arg-type]  # numpy's stubs know only doubles
        _generate_rows(
            self._short, envelopes, cutoffs_hz, active, self.counter, self._sizes, self._gains, self.generated
        )
        return self.generated
