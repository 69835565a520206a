"""Sound through `rtsr live`, real servers and every host: what comes out is enhanced, whole, and as offline."""

from __future__ import annotations

import time

import numpy as np
import pytest

import rtsr
from rtsr.speech.metrics import lsd
from tests.live.running import (
    JACK_BLOCK_MS,
    SETTLED_S,
    THROUGH,
    THROUGH_JACK,
    Running,
    lag,
    patiently,
    through_whole,
    voice,
)
from tests.live.servers import RATE, Server
from tests.live.stillness import undisturbed
from tests.signals import narrowed, power_db, voice_like

SECONDS = 6
PLACES = range(0, RATE // 200, RATE // 800)  # where the hops may have begun; elsewhere they make another hiss
EDGE = RATE // 2  # at either end, left out
MODEL = "voice-16k"  # what people run; one that hisses in silence would differ where the live network sleeps
TOP_HZ = 2000  # of what is looked at for gaps: above, a fraction of a sample would count
PIECE = RATE // 20
LEAST = 0.05  # of a piece's peak, to be looked at
HELD_DB = 12.0  # by which a piece's hiss may fall short of the one offline, as its hops lie elsewhere


@pytest.mark.parametrize("host", ["sounddevice on PulseAudio", "sounddevice on PipeWire", "pyaudio", "jack"])
def test_a_voice_comes_out_enhanced_whole_and_as_offline(start_server, live, host, tmp_path):
    server = start_server("pipewire" if host in ("jack", "sounddevice on PipeWire") else "pulse")
    way = (*THROUGH, "--host", host.split()[0], *patiently(tmp_path))
    if host == "jack":
        way = (*THROUGH_JACK, *patiently(tmp_path, JACK_BLOCK_MS))
    running = live(server, *way, "--model", MODEL)
    time.sleep(SETTLED_S)
    undisturbed(lambda: listen(running, server))


def listen(running: Running, server: Server) -> None:
    """Say something and compare what comes out with what the same model makes offline of what went in."""
    heard, given, delay_ms = through_whole(running, server, voice(SECONDS))
    print(f"{delay_ms:.1f} ms late")
    offline = [rtsr.enhance(heard[skip:], RATE, RATE, model=MODEL, cutoff=4000) for skip in PLACES]
    late, true = lag(offline[0], given), voice_like(SECONDS, RATE, seed=3)
    expected, got = offline[0][: len(given) - late], given[late:]
    start = lag(true, expected[: len(true)])
    spoken = slice(start + EDGE, start + SECONDS * RATE - EDGE)
    said = [one[spoken.start - skip : spoken.stop - skip] for one, skip in zip(offline, PLACES, strict=True)]
    for low_hz, high_hz in ((200, 3500), (4500, 7500)):
        level, levels = power_db(got[spoken], RATE, low_hz, high_hz), [power_db(x, RATE, low_hz, high_hz) for x in said]
        assert min(levels) - 1 < level < max(levels) + 1
    assert level > power_db(voice(SECONDS)[EDGE:-EDGE], RATE, 4500, 7500) + 20
    distances = [lsd(true[EDGE:-EDGE], one, RATE) for one in said]
    distance = lsd(true[EDGE:-EDGE], got[spoken], RATE)
    print("LSD offline and live:", distances, distance)
    assert min(distances) - 0.02 < distance < max(distances) + 0.02
    assert no_gaps(narrowed(expected[start:], RATE, TOP_HZ), narrowed(got[start:], RATE, TOP_HZ))
    assert no_plain_moments(expected[start:], got[start:])


def test_the_measures_notice_what_they_are_for():
    said, whole = voice(SECONDS + 1), voice_like(SECONDS + 1, RATE, seed=3)
    narrow = narrowed(said, RATE, TOP_HZ)
    middle, plain = int(2.73 * RATE), whole.copy()
    plain[middle : middle + RATE // 7] = said[middle : middle + RATE // 7]
    lost = np.delete(narrow, range(middle, middle + 48))
    doubled = np.insert(narrow, middle, narrow[middle - 48 : middle])
    silent = narrow.copy()
    silent[middle : middle + RATE // 200] = 0
    slow = np.interp(np.arange(len(narrow)) * 0.9993, np.arange(len(narrow)), narrow)
    assert [no_gaps(narrow, x) for x in (narrow, slow, lost, doubled, silent)] == [True, True, False, False, False]
    assert [no_plain_moments(whole, x) for x in (whole, plain)] == [True, False]


def pieces(expected: np.ndarray) -> list[int]:
    """Where the pieces of 50 ms begin in which something is said."""
    starts = range(EDGE, SECONDS * RATE - EDGE, PIECE)
    return [s for s in starts if np.abs(expected[s : s + PIECE]).max() >= LEAST]


def no_gaps(expected: np.ndarray, got: np.ndarray) -> bool:
    """Whether nothing is lost or doubled: every 50 ms of what was received come where the ones before them say.

    They may move as two clocks may be corrected, by 0.1 %, so the first is looked for within 5 ms. What is generated is
    measured by `no_plain_moments`: where the hops begin changes its phases.
    """
    place, last, reach = 0, 0, RATE // 200
    for start in pieces(expected):
        piece = expected[start : start + PIECE]
        reach = 2 + (start - last) // 800 if last else reach
        near = range(place - reach, place + reach + 1)
        errors = {k: np.square(got[start + k : start + k + PIECE] - piece).mean() for k in near}
        place, last = min(errors, key=errors.__getitem__), start
        if errors[place] > 0.05 * np.square(piece).mean():
            return False
    return True


def no_plain_moments(expected: np.ndarray, got: np.ndarray) -> bool:
    """Whether the generated band is there in every 50 ms in which it is there offline."""
    found = [[power_db(x[s : s + PIECE], RATE, 4500, 7500) for x in (expected, got)] for s in pieces(expected)]
    loudest = max(offline for offline, _ in found)
    return all(live > offline - HELD_DB for offline, live in found if offline > loudest - 20)
