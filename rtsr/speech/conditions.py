"""What telephones do to a voice: codecs, bands, lost packets, noise, levels; and what should have arrived instead."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..dsp.windows import FloatArray
from ..errors import InvalidSetting, MissingDependency, UnknownName
from . import codecs
from .codecs import RATE
from .corpus import read_at
from .g711 import g711
from .narrow import decimate, narrow

CLEAN = "clean"
PACKET_S = 0.02
LOST = 0.05  # of the packets
SNR_DB = 15.0
CLIPPED_DB = -15.0  # of the peak, where clipping begins
LOW_DB = -30.0
BAND_HZ = (300.0, 3400.0)


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording as a line gave it: `received` at `rate`, whose band ends at `cutoff_hz`, and the wideband `truth`."""

    truth: FloatArray
    received: FloatArray
    rate: int
    cutoff_hz: float

    def low(self, rate: int) -> tuple[FloatArray, int] | None:
        """Return what was received at a whole part of `rate` with nothing above its band, and that part, if it is so.

        A sixth of 16 kHz is no whole number of Hz: such a recording comes at the full rate and is thinned out here.
        """
        factor = round(rate / (2 * self.cutoff_hz))
        if self.rate * factor == rate:
            return self.received, factor
        if self.rate == rate and abs(rate - 2 * self.cutoff_hz * factor) < 1:
            return self.received[::factor], factor
        return None


def clean(truth: FloatArray, rate: int, cutoff_hz: float) -> Heard:
    """Narrow a recording, down to twice the cutoff where that is a whole part of `rate`, otherwise at its own rate."""
    factor = round(rate / (2 * cutoff_hz))
    if rate % factor or rate // factor != 2 * cutoff_hz:
        return Heard(truth, narrow(truth, rate, cutoff_hz), rate, cutoff_hz)
    return Heard(truth, decimate(truth, rate, factor), rate // factor, cutoff_hz)


def lose(x: FloatArray, rate: int, rng: np.random.Generator, share: float = LOST) -> FloatArray:
    """Drop packets of 20 ms; in a lost one's place the one before is heard again, at half its level."""
    size = round(PACKET_S * rate)
    out = x.copy()
    for start in range(size, len(x), size):
        if rng.random() < share:
            out[start : start + size] = 0.5 * out[start - size : start][: len(x) - start]
    return out


def band_pass(x: FloatArray, rate: int, band_hz: tuple[float, float] = BAND_HZ) -> FloatArray:
    """Keep 300 to 3400 Hz, without phase: 4th-order Butterworth slopes there and back."""
    signal = _scipy_signal()
    sos = signal.butter(4, band_hz, "bandpass", fs=rate, output="sos")
    return np.asarray(signal.sosfiltfilt(sos, x), np.float32)


def clip(x: FloatArray) -> FloatArray:
    """Cut everything off that is within 15 dB of the peak."""
    most = np.abs(x).max() * 10 ** (CLIPPED_DB / 20)
    return np.clip(x, -most, most)


def with_noise(voice: FloatArray, noise: FloatArray, rng: np.random.Generator, snr_db: float = SNR_DB) -> FloatArray:
    """Lay a random stretch of a noise under a voice, so far below it."""
    start = int(rng.integers(0, max(1, len(noise) - len(voice))))
    under = np.resize(noise[start:], len(voice))
    gain = np.sqrt(np.mean(voice**2) / (np.mean(under**2) + 1e-12)) * 10 ** (-snr_db / 20)
    return np.asarray(voice + gain * under, np.float32)


LINES: dict[str, Callable[[FloatArray, np.random.Generator], FloatArray]] = {  # 8 kHz in, 8 kHz out
    "a-law": lambda x, rng: g711(x, "a"),
    "mu-law": lambda x, rng: g711(x, "mu"),
    "amr-12.2": lambda x, rng: codecs.amr(x, 12_200),
    "amr-4.75": lambda x, rng: codecs.amr(x, 4_750),
    "opus-16": lambda x, rng: codecs.opus(x, 16_000),
    "opus-10": lambda x, rng: codecs.opus(x, 10_000),
    "opus-6": lambda x, rng: codecs.opus(x, 6_000),
    "band-pass": lambda x, rng: band_pass(x, RATE),
    "loss": lambda x, rng: lose(g711(x, "a"), RATE, rng),
    "clipping": lambda x, rng: clip(x),
}
NOISE, LOW = "noise", "low-level"
CONDITIONS = (*LINES, NOISE, LOW)


def parse(text: str) -> list[str]:
    """Read "all" or names separated by commas; raises `UnknownName`."""
    names = list(CONDITIONS) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in CONDITIONS:
            raise UnknownName("condition", name, ("all", *CONDITIONS))
    return names


def hear(truth: FloatArray, rate: int, condition: str, name: str, noises: list[FloatArray]) -> Heard:
    """Return a recording as it comes over a telephone of 8 kHz; what is drawn depends on its `name` alone.

    The truth is what a wideband line would have brought from the same place: at a low level it is low, in noise there
    is the noise; a codec, a loss or clipping is not part of it.
    """
    rng = np.random.default_rng([zlib.crc32(name.encode()), CONDITIONS.index(condition)])
    if condition == LOW:
        truth = truth * np.float32(10 ** (LOW_DB / 20))
    elif condition == NOISE:
        if not noises:
            raise InvalidSetting("expected a folder of noise for the condition noise: give one with --noise")
        truth = with_noise(truth, noises[int(rng.integers(len(noises)))], rng)
    low = decimate(truth, rate, rate // RATE)
    line = LINES.get(condition)
    received = low if line is None else line(low, rng)
    return Heard(truth, received, RATE, BAND_HZ[1] if condition == "band-pass" else RATE / 2)


def read_noises(folder: Path, rate: int) -> list[FloatArray]:
    """Read a folder's recordings of noise, mono at `rate`; [] where there is no such folder."""
    from ..io.file import find_audio  # here, as it loads an audio library

    return [read_at(path, rate) for path in find_audio(folder)] if folder.is_dir() else []


def _scipy_signal() -> Any:
    try:
        return importlib.import_module("scipy.signal")
    except ImportError as error:
        raise MissingDependency("scipy", "report", "the band of a telephone") from error
