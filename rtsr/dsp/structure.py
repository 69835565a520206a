"""The generated band of one frame: the fine structure of the received band under the envelope that the network gives.

The received frame's spectrum is copied upwards, normalised in the bands of the envelope, mixed with noise, and
scaled to the envelope. Copies keep what the voice is made of, harmonics or noise; the envelope says how loud each band is
(spectral band replication, Dietz et al. 2002, AES convention paper 5553, in the frame's spectrum).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..spec import Spec
from .envelope import Bands
from .windows import FloatArray

CounterArray = NDArray[np.int64]

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


@njit(nogil=True, cache=True)
def _band_powers(
    short: FloatArray, edge: int, first_bin: int, lower: NDArray[np.int32], fraction: FloatArray, powers: FloatArray
) -> None:
    """Sum the triangles of the bands over the received bins and, from `edge` on, their copies; powers (count,)."""
    start, length = edge // 2, edge - edge // 2
    powers[:] = 0
    for k in range(first_bin, len(lower)):
        source = k if k < edge else start + (k - edge) % length
        if source < len(short):
            power = short[source, 0] ** 2 + short[source, 1] ** 2
            powers[lower[k]] += (np.float32(1) - fraction[k]) * power
            powers[lower[k] + 1] += fraction[k] * power


@njit(nogil=True, cache=True)
def add_fine_structure(
    short: FloatArray,
    envelope: FloatArray,
    cutoff_hz: float,
    bin_hz: float,
    frame: int,
    silence: float,
    first_bin: int,
    lower: NDArray[np.int32],
    fraction: FloatArray,
    weight: FloatArray,
    table: FloatArray,
    gains: FloatArray,
    generated: FloatArray,
) -> None:
    """Write one frame's generated spectrum, zero below the cutoff.

    short (bins, 2): the received frame through the synthesis window, up to half of the input's rate; envelope (count,):
    natural log of each band's mean power; frame: how many came before; silence: power of a frame at `SILENCE_DBFS`;
    first_bin, lower, fraction, weight: those of `Bands`; table: `phasors`; gains (count,): room for the gains of the
    copies; generated (bins_out, 2).
    """
    generated[:] = 0
    edge = int(cutoff_hz / bin_hz)
    if edge >= len(generated):
        return
    total = 0.0
    for k in range(len(short)):
        total += short[k, 0] ** 2 + short[k, 1] ** 2
    audible = np.float32(min(total / silence, 1.0))
    _band_powers(short, edge, first_bin, lower, fraction, gains)
    for b in range(len(gains)):
        gains[b] = np.float32(-0.5) * np.log(gains[b] * weight[b] + np.float32(POWER_FLOOR))
    start, length = edge // 2, edge - edge // 2
    one = np.float32(1)
    for k in range(edge, len(generated)):
        missing = np.float32(min((k * bin_hz - cutoff_hz) / bin_hz + 1, 1.0)) * audible
        b, part = lower[k], fraction[k]
        log_power = (one - part) * envelope[b] + part * envelope[b + 1]
        if log_power < LEAST:
            continue
        level = np.float32(0.5) * min(log_power, np.float32(ENVELOPE_CEILING))
        along = min(max((k * bin_hz / cutoff_hz - NOISE_FROM) / (NOISE_TO - NOISE_FROM), 0.0), 1.0)
        ratio = np.float32(LEAST_NOISE + (MOST_NOISE - LEAST_NOISE) * along)
        copied = missing / np.sqrt(one + ratio * ratio)
        noise = copied * ratio * np.exp(level)
        copied *= np.exp(level + (one - part) * gains[b] + part * gains[b + 1])
        shift = k - start - (k - edge) % length
        if shift * frame % 2:
            copied = -copied  # the phase that a shift by whole bins gains in a hop of half a frame
        source = k - shift
        phase = phase_index(frame, k)
        for part_index in range(2):
            received = short[source, part_index] if source < len(short) else np.float32(0)
            generated[k, part_index] = copied * received + noise * table[phase, part_index]


def silence_power(spec: Spec) -> float:
    """Return the sum over bins of a frame's power at `SILENCE_DBFS` through the synthesis window."""
    return float(10 ** (SILENCE_DBFS / 10) * spec.synthesis**2 / 4)


class FineStructure:
    """The constants of `add_fine_structure` for one model."""

    def __init__(self, spec: Spec) -> None:
        self.bands = Bands.of(spec)
        self.bin_hz = spec.rate / spec.synthesis
        self.silence = silence_power(spec)
