"""What has to pass as it is: tones, music, silence, noise and speech that is wide already; and what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..backend.base import Backend
from ..dsp.windows import FloatArray
from ..enhance import enhance
from ..speech.metrics import lsd
from ..speech.narrow import narrow
from ..stream import Stream

LSD_MOST = 0.10
PARTNER_DB = -50.0
SETTLED_S = 0.5
SECONDS = 3.0
FRAME_S = 0.25  # long enough that a tone's window falls off by 80 dB within a few bins
QUIET_DBFS = -50.0
NEAR_HZ = 250.0  # the tracker calls cutoffs that are this close the same

TONES: dict[str, tuple[float, ...]] = {
    "tone 425 Hz": (425,),
    "tone 1004 Hz": (1004,),
    "tone 2804 Hz": (2804,),
    "dial tone": (350, 440),
    "ringback": (440, 480),
    "busy tone": (480, 620),
    "key 1": (697, 1209),
    "key 5": (770, 1336),
    "key D": (941, 1633),
    "chord": (220, 277.2, 329.6, 440, 659.3, 880),
}
ON_OFF_S = {"ringback": (2.0, 1.0), "busy tone": (0.5, 0.5), "key 1": (0.1, 0.1), "key 5": (0.25, 0.05)}


@dataclass(frozen=True, slots=True)
class Harm:
    """What was done to a signal that nothing is missing from; None where a figure has no meaning for it."""

    signal: str
    rate: int
    lsd: float | None  # to the input
    partner_db: float | None  # loudest bin of what was added, under the loudest bin of what was there
    settled_s: float | None  # after the signal began, until the detected cutoff was near where it stayed
    changes: int  # of the detected cutoff after that time
    wide: bool  # nothing is missing, so that the distance counts

    @property
    def passed(self) -> bool:
        """Whether every figure that counts is within its limit."""
        near = not self.wide or self.lsd is None or self.lsd <= LSD_MOST
        quiet = self.partner_db is None or self.partner_db <= PARTNER_DB
        return near and quiet and (self.settled_s is None or self.settled_s <= SETTLED_S) and not self.changes


def tones(name: str, rate: int, seconds: float = SECONDS) -> FloatArray:
    """Return a telephone's tones, in their rhythm, peak -9 dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    x = np.sum([np.sin(2 * np.pi * hz * time) for hz in TONES[name]], axis=0)
    on_s, off_s = ON_OFF_S.get(name, (2 * seconds, 0.0))
    phase = time % (on_s + off_s)
    gate = np.clip(np.minimum(phase, on_s - phase) / 0.01, 0, 1) * np.clip((seconds - time) / 0.01, 0, 1)
    return (10 ** (-9 / 20) * x * gate / np.abs(x).max()).astype(np.float32)


def sweep(rate: int, seconds: float = SECONDS) -> FloatArray:
    """Return a tone that rises from 200 to 3400 Hz in octaves."""
    time = np.arange(round(seconds * rate)) / rate
    hz = 200 * 17 ** (time / seconds)
    gate = np.clip(np.minimum(time, seconds - time) / 0.02, 0, 1)
    return (0.3 * gate * np.sin(2 * np.pi * np.cumsum(hz) / rate)).astype(np.float32)


def music(rate: int, seconds: float = SECONDS, seed: int = 0) -> FloatArray:
    """Return chords with bright partials up to half the rate, a cymbal every half second, and a bass."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    x = np.zeros_like(time)
    for bar, root in enumerate((110.0, 146.8, 98.0)):
        here = (time // 1.0).astype(int) % 3 == bar
        for note in root * np.array([1, 2, 2.52, 3, 4]):
            for n in range(1, int(0.49 * rate / note)):
                x += here * np.sin(2 * np.pi * n * note * time + rng.uniform(0, 6)) / n**1.2
    x *= 0.4 + 0.6 * np.exp(-3 * (time % 0.5))
    x = x / np.abs(x).max() + 0.15 * np.exp(-12 * (time % 0.5)) * rng.standard_normal(len(time))
    return (0.4 * x / np.abs(x).max()).astype(np.float32)


def white(rate: int, seconds: float = SECONDS) -> FloatArray:
    """Return white noise at -26 dBFS."""
    return (0.05 * np.random.default_rng(3).standard_normal(round(seconds * rate))).astype(np.float32)


def silence(rate: int, seconds: float = SECONDS) -> FloatArray:
    """Return nothing."""
    return np.zeros(round(seconds * rate), np.float32)


def check(model: Backend, signal: str, x: FloatArray, rate: int, *, wide: bool) -> Harm:
    """Play a signal through cutoff="auto" and say what was added to it."""
    rate_out = max(rate, model.spec.rate)
    wet = enhance(x, rate, rate_out, model=model)
    dry = enhance(x, rate, rate_out, model=model, gain_db=-np.inf)
    loudest = _loudest(dry, rate_out)
    partner = 20 * np.log10(_loudest(wet - dry, rate_out) / loudest + 1e-9) if loudest else None
    cutoffs, first = _cutoffs(model, x, rate)
    settled_s, changes = settling(cutoffs[first:], model.spec.frames_per_s) if first is not None else (None, 0)
    distance = lsd(dry, wet, rate_out)
    return Harm(signal, rate, distance, None if partner is None else float(partner), settled_s, changes, wide)


def settling(cutoffs: FloatArray, frames_per_s: int) -> tuple[float, int]:
    """Return when cutoffs (frames,) came near the last one to stay, and how often one changed after 0.5 s."""
    away = np.flatnonzero(np.abs(cutoffs - cutoffs[-1]) > NEAR_HZ)
    settled = (away[-1] + 1) / frames_per_s if len(away) else 0.0
    late = cutoffs[round(SETTLED_S * frames_per_s) :]
    return float(settled), int(np.count_nonzero(np.abs(np.diff(late)) > NEAR_HZ))


def _cutoffs(model: Backend, x: FloatArray, rate: int) -> tuple[FloatArray, int | None]:
    """Return the detected cutoff after each hop, and the first hop that is loud enough to be decided by."""
    stream = Stream(model, rate, max(rate, model.spec.rate))
    hops = x[: len(x) // stream.hop * stream.hop].reshape(-1, stream.hop)
    found = []
    for hop in hops:
        stream.process(hop)
        found.append(stream.cutoff_hz)
    loud = np.flatnonzero(np.sqrt(np.mean(hops**2, axis=1)) > 10 ** (QUIET_DBFS / 20))
    return np.array(found, np.float32), int(loud[0]) if len(loud) else None


def _loudest(x: FloatArray, rate: int) -> float:
    """Return the loudest bin of any frame, as amplitude."""
    size = round(FRAME_S * rate)
    frames = np.lib.stride_tricks.sliding_window_view(x, size)[:: size // 4]
    return float(np.abs(np.fft.rfft(frames * np.blackman(size), axis=1)).max() / size)


def check_all(model: Backend, files: list[Path]) -> Iterator[Harm]:
    """Yield what happens to every signal at every rate that it has a meaning at, then to recordings of wide speech."""
    from .evaluate import read_truth

    for rate in sorted({8_000, 16_000, model.spec.rate, 48_000}):
        for name in TONES:
            yield check(model, name, tones(name, rate), rate, wide=False)
        yield check(model, "sweep", sweep(rate), rate, wide=False)
        yield check(model, "silence", silence(rate), rate, wide=True)
    played: dict[str, Callable[[int], FloatArray]] = {"music": music, "white noise": white}
    for rate in sorted({model.spec.rate, 48_000}):
        for name, make in played.items():
            yield check(model, name, make(rate), rate, wide=True)
    for path in files:
        truth = read_truth(path, model.spec.rate)
        yield check(model, f"wide {path.stem}", truth, model.spec.rate, wide=True)
        low = narrow(truth, model.spec.rate, 4000.0)
        found = check(model, f"narrow {path.stem}", low, model.spec.rate, wide=False)
        yield Harm(found.signal, found.rate, None, None, found.settled_s, found.changes, False)
