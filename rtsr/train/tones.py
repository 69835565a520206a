"""Tones, from which nothing is missing: test tones, signals of telephone networks, keys, sweeps and chords.

Each kind takes times in seconds, float64 of shape (samples,), and the highest frequency in Hz, and returns (samples,).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def _sines(time: np.ndarray, hz: Iterable[float], rng: np.random.Generator) -> np.ndarray:
    return np.sum([np.sin(2 * np.pi * (f * time + rng.random())) for f in hz], axis=0)


def _cadence(time: np.ndarray, on_s: float, off_s: float, rng: np.random.Generator) -> np.ndarray:
    """Return a gate of 0 and 1 with slopes of 2 to 10 ms, at a random place of its first stretch of 1."""
    phase = (time + rng.uniform(0, 0.8 * on_s)) % (on_s + off_s)
    slope = rng.uniform(0.002, 0.01)
    return np.clip(np.minimum(phase, on_s - phase) / slope, 0, 1)


def single_tone(time: np.ndarray, top: float, rng: np.random.Generator) -> np.ndarray:
    """A test tone, steady or on and off."""
    steady = _sines(time, [float(np.exp(rng.uniform(np.log(150), np.log(top))))], rng)
    return steady if rng.random() < 0.6 else steady * _cadence(time, rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6), rng)


def call_progress(time: np.ndarray, top: float, rng: np.random.Generator) -> np.ndarray:
    """Dial, ringback and busy tones of North America and Europe (ITU-T E.180, supplement 2)."""
    hz = CALL_PROGRESS[rng.integers(len(CALL_PROGRESS))]
    return _sines(time, hz, rng) * _cadence(time, rng.choice([0.25, 0.5, 1.0, 4.0]), rng.choice([0.25, 0.5, 3.0]), rng)


def keys(time: np.ndarray, top: float, rng: np.random.Generator) -> np.ndarray:
    """Keys of a telephone (ITU-T Q.23), pressed one after another or one of them held."""
    on_s, off_s = rng.uniform(0.04, 0.25), rng.uniform(0.04, 0.2)
    if rng.random() < 0.3:
        on_s = 2.0
    pressed = (time // (on_s + off_s)).astype(int)
    low, high = rng.choice(KEY_ROWS, pressed[-1] + 1)[pressed], rng.choice(KEY_COLUMNS, pressed[-1] + 1)[pressed]
    phase = time % (on_s + off_s)
    pair = np.sin(2 * np.pi * low * phase) + 10 ** (rng.uniform(-4, 4) / 20) * np.sin(2 * np.pi * high * phase)
    return pair * np.clip(np.minimum(phase, on_s - phase) / 0.003, 0, 1)


def sweep(time: np.ndarray, top: float, rng: np.random.Generator) -> np.ndarray:
    """A tone that moves from anywhere to anywhere, in octaves."""
    first, last = rng.uniform(np.log(100), np.log(top), 2)
    hz = np.exp(first + (last - first) * time / time[-1])
    return np.sin(2 * np.pi * np.cumsum(hz) * time[1])


def chords(time: np.ndarray, top: float, rng: np.random.Generator) -> np.ndarray:
    """Notes with their partials, struck together and fading or held, as music on hold."""
    out, period = np.zeros_like(time), rng.uniform(0.2, 1.2)
    struck = time % period
    for strike in range(int(time[-1] / period) + 1):
        for note in 110 * 2 ** (rng.integers(0, 37, rng.integers(1, 5)) / 12):
            partials = [n * note for n in range(1, rng.integers(2, 8)) if n * note < top]
            tone = sum((f / note) ** -1.5 * _sines(time, [f], rng) for f in partials)
            out += tone * ((time // period).astype(int) == strike)
    attack = np.clip(np.minimum(struck, period - struck) / 0.01, 0, 1)
    return out * attack * np.exp(-rng.uniform(0, 4) * struck)


CALL_PROGRESS = ((350, 440), (440, 480), (480, 620), (425,), (400, 450), (950,), (1400,), (1800,))
KEY_ROWS, KEY_COLUMNS = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)
TONES = (single_tone, call_progress, keys, sweep, chords)


def draw_tones(samples: int, rate: int, cutoff: float, rng: np.random.Generator) -> np.ndarray:
    """Return one kind of tones with a peak between -45 and -3 dBFS; the top ones lie just below the cutoff."""
    time = np.arange(samples) / rate
    drawn = TONES[rng.integers(len(TONES))](time, 0.97 * cutoff, rng)
    return drawn * 10 ** (rng.uniform(-45, -3) / 20) / (np.abs(drawn).max() + 1e-9)
