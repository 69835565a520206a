"""Whether what a far peer heard is the enhanced voice: aligned piece by piece, as calls lose and make up time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

import rtsr
from rtsr.bridge.codec import LAWS
from rtsr.dsp.resample import Resampler
from rtsr.speech.g711 import g711
from rtsr.speech.metrics import lsd

RATE = 48_000
PIECE = RATE // 2
ALIKE = 0.7  # correlation of a piece with its reference, to count
DEMO = Path(rtsr.__file__).parent / "data" / "demo" / "prompt-8k.wav"


def demo_voice() -> np.ndarray:
    """The bundled telephone prompt at 8 kHz."""
    sound, rate = soundfile.read(DEMO, dtype="float32")
    assert rate == 8_000
    return sound


def at_48k(sound: np.ndarray, rate: int) -> np.ndarray:
    """The same sound at 48 kHz, and nothing above what it held."""
    return sound if rate == RATE else Resampler(rate, RATE, 480).process(np.concatenate([sound, np.zeros(rate // 100)]))


def as_g711(sound: np.ndarray, name: str) -> np.ndarray:
    """What a decoder of G.711 gives of a voice at 8 kHz."""
    return g711(sound, LAWS[name])


def enhanced(sound: np.ndarray, rate: int) -> np.ndarray:
    """What rtsr makes of a whole recording, at 48 kHz."""
    return rtsr.enhance(sound, rate, rate_out=RATE)


@dataclass
class Likeness:
    """How a heard voice compares with the offline enhancement, over the pieces that could be aligned."""

    pieces: int
    lsd: float  # to the offline enhancement
    lsd_plain: float  # of the voice that was sent, to the same
    high_db: float  # energy from 4.2 to 7.5 kHz, relative to the offline enhancement's
    lags_s: list[float]


def compare(heard: np.ndarray, sent: np.ndarray, offline: np.ndarray) -> Likeness:
    """All three at 48 kHz; `sent` and `offline` are aligned with each other, `heard` with nothing."""
    found: list[tuple[float, float, float, float]] = []
    size = 1 << (len(offline) + PIECE).bit_length()
    spectrum = np.fft.rfft(offline, size)
    for start in range(0, len(heard) - PIECE, PIECE // 2):
        piece = heard[start : start + PIECE]
        if np.sqrt(np.mean(piece**2)) < 0.01:
            continue
        place, likeness = _place(piece, offline, spectrum, size)
        if likeness < ALIKE or place + PIECE > len(offline):
            continue
        true, plain = offline[place : place + PIECE], sent[place : place + PIECE]
        band = (0.0, 7_800.0)
        high = _energy(piece) / max(_energy(true), 1e-12)
        scores = lsd(true, piece, RATE, band), lsd(true, plain, RATE, band)
        found.append((*scores, 10 * np.log10(high + 1e-12), (start - place) / RATE))
    if not found:
        return Likeness(0, np.inf, np.inf, -np.inf, [])
    near, far, high_db, lags = zip(*found, strict=True)
    return Likeness(len(found), float(np.median(near)), float(np.median(far)), float(np.median(high_db)), list(lags))


def _place(piece: np.ndarray, whole: np.ndarray, spectrum: np.ndarray, size: int) -> tuple[int, float]:
    cross = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, size)), size)[: len(whole)]
    place = int(np.argmax(cross))
    there = whole[place : place + len(piece)]
    return place, float(cross[place] / (np.linalg.norm(there) * np.linalg.norm(piece) + 1e-9))


def _energy(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    return float(spectrum[(hz > 4_200) & (hz < 7_500)].sum())
