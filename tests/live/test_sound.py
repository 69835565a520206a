"""Sound through `rtsr live` and real servers: what comes out, when, and without gaps."""

from __future__ import annotations

import time

import numpy as np
import pytest
from servers import RATE, Recorder, play
from signals import narrowed, power_db, voice_like

import rtsr
from rtsr.eval.metrics import lsd

SECONDS = 5
THROUGH = ("--input", "A.monitor", "--output", "B", "--cutoff", "4000")


def voice(seconds: float = SECONDS) -> np.ndarray:
    return narrowed(voice_like(seconds, RATE, seed=3), RATE, 3900)


MOST_S = 0.2  # by which anything may be late


def through(server, sink: str, source: str, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Play into a sink; return what its monitor heard, what the source gave at the same time, and the delay in ms."""
    time.sleep(1.5)  # until the ring has learnt how little it needs
    before, after = Recorder(server, f"{sink}.monitor"), Recorder(server, source)
    play(server, sink, sound).wait(30)
    time.sleep(0.3)
    (heard, began), (given, given_began) = before.stop(), after.stop()
    skipped = round((given_began - began) * RATE)
    heard, given = heard[max(0, skipped) :], given[max(0, -skipped) :]
    n = min(len(heard), len(given))
    return heard[:n], given[:n], 1000 * lag(heard[:n], given[:n]) / RATE


def lag(reference: np.ndarray, signal: np.ndarray) -> int:
    """Return by how many samples `signal` is late, at most MOST_S; a voice resembles itself a syllable later."""
    size = 2 * len(reference)
    cross = np.fft.irfft(np.fft.rfft(signal, size) * np.conj(np.fft.rfft(reference, size)), size)
    return int(np.argmax(cross[: int(MOST_S * RATE)]))


def test_speech_comes_out_enhanced_whole_and_as_offline(server, live, model_path):
    running = live(server, *THROUGH)
    heard, given, _ = through(server, "A", "B.monitor", voice())
    stats = running.stats()
    offline = rtsr.enhance(heard, RATE, RATE, model=model_path, cutoff=4000)
    late = lag(offline, given)
    expected, got, true = offline[: len(given) - late], given[late:], voice_like(SECONDS, RATE, seed=3)
    start = lag(true, expected[: len(true)])
    spoken = slice(start + RATE, start + (SECONDS - 1) * RATE)
    assert power_db(got[spoken], RATE, 4500, 7500) > power_db(heard[spoken], RATE, 4500, 7500) + 20
    distances = [lsd(true[RATE : (SECONDS - 1) * RATE], one[spoken], RATE) for one in (expected, got)]
    print("LSD offline and live:", distances)
    assert distances[1] == pytest.approx(distances[0], abs=0.02)
    assert no_gaps(expected[start:], got[start:])
    assert stats["overloads"] == 0


def no_gaps(expected: np.ndarray, got: np.ndarray) -> bool:
    """Whether nothing is lost or doubled: every 50 ms of sound stay within a sample or two of where they belong."""
    for start in range(RATE, (SECONDS - 1) * RATE, RATE // 20):
        piece = expected[start : start + RATE // 20]
        if np.abs(piece).max() < 0.05:
            continue
        around = got[start - 48 : start + RATE // 20 + 48]
        errors = [np.square(around[k : k + len(piece)] - piece).mean() for k in range(97)]
        if min(errors) > 0.02 * np.square(piece).mean():
            return False
    return True
