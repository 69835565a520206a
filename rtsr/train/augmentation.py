"""Other sources of stretches: recordings of a lower rate, and speed and equaliser perturbation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..dsp.windows import FloatArray
from ..speech.corpus import Corpus
from .filters import Cutoffs
from .line_augmentation import LineAugmentation


@dataclass(frozen=True, slots=True)
class Lower:
    """Recordings made at a lower `rate`, for a `share` of the rows; nothing is known of the band they do not have."""

    corpus: Corpus
    rate: int
    share: float
    edge: float = 0.97  # of half their rate; above it, resamplers and codecs leave nothing to learn from

    def crop(self, rng: np.random.Generator, length: int, rate: int) -> tuple[FloatArray, float]:
        """Return a stretch of `length` samples at `rate`, with nothing above, and the known share of half of that."""
        samples = -(-length * self.rate // rate)
        fade = np.minimum(1, np.arange(samples) / (0.005 * self.rate))  # so that the spectrum can be lengthened
        spectrum = np.fft.rfft(self.corpus.crops(rng, 1, samples)[0] * fade * fade[::-1])
        stretch = np.fft.irfft(spectrum, n=samples * rate // self.rate) * (rate / self.rate)
        return stretch[:length].astype(np.float32), self.edge * self.rate / rate


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How rows of a batch differ from clean narrowing; shares are of all rows.

    `variety`: a channel of any kind, with odd filters and cutoffs, levels, noise, G.711; a network that hears too few
    of the others, narrowed cleanly by a whole factor, learns slowly. `tones`: tones before, after or instead of the
    voice. `voices`: speed and equaliser perturbation. `lines`, if given: telephone lines.
    """

    variety: float = 0.2
    tones: float = 0.04
    voices: float = 0.0
    lines: LineAugmentation | None = None
    cutoffs: Cutoffs = field(default_factory=Cutoffs)
    lower: Lower | None = None


FASTEST = 1.12  # factor of speed, and of pitch
FADE = 80  # samples at both ends of its stretch, so that the spectrum can be shortened
TILT_DB, BEND_DB = 1.5, 3.0  # of the equaliser: an octave, and at most


def perturb(corpus: Corpus, rng: np.random.Generator, hz: np.ndarray) -> FloatArray:
    """Draw a stretch, (samples,) float32, with speed and equaliser perturbation; `hz` is its grid of frequencies.

    Speed perturbation as in Ko et al. 2015 (Interspeech), by up to 12 %, upwards only: played slower, a recording has
    no top octave. The equaliser is a tilt and a wave over log frequency.
    """
    length = 2 * (len(hz) - 1)
    taken = round(length * rng.uniform(1, FASTEST) / FADE) * FADE
    fade = np.minimum(1, np.arange(taken) / FADE)
    spectrum = np.fft.rfft(corpus.crops(rng, 1, taken)[0] * fade * fade[::-1])[: len(hz)] * (length / taken)
    octaves = np.log2(np.maximum(hz, 100) / 1000)
    tilt, bend = rng.uniform(-TILT_DB, TILT_DB), rng.uniform(-BEND_DB, BEND_DB)
    gain_db = tilt * octaves + bend * np.sin(octaves * rng.uniform(1, 3) + rng.uniform(0, 2 * np.pi))
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), n=length).astype(np.float32)
