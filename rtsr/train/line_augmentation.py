"""Line augmentation: rows of a batch through codecs, packet losses, clipping and recorded noise, as calls have them."""

from __future__ import annotations

import numpy as np

from ..dsp.windows import FloatArray
from ..speech.codecs import RATE
from ..speech.conditions import LINES, NOISE, with_noise

KINDS = (*(name for name in LINES if name != "band-pass"), NOISE)  # the filters of the pairs have the band-pass


class LineAugmentation:
    """Draws which rows of a batch come over a telephone, a `share` of them, and sends them there.

    A row takes 10 ms or so for each second that AMR or Opus codes, so a share of 0.15 costs a batch of 16 about 25 ms.
    """

    def __init__(self, share: float, rate: int, noises: list[FloatArray] | None = None) -> None:
        self.share, self.step, self.noises = share, rate // RATE, noises or []

    def draw(self, rows: int, rng: np.random.Generator) -> list[str | None]:
        """Return a kind for each row, None for most."""
        kinds = KINDS if self.noises else KINDS[:-1]
        return [kinds[rng.integers(len(kinds))] if rng.random() < self.share else None for _ in range(rows)]

    def before(self, truth: FloatArray, kinds: list[str | None], rng: np.random.Generator) -> FloatArray:
        """Return the wideband rows with what surrounds the speaker: noise is received, and missed, like a voice."""
        out = truth.copy()
        for row in (r for r, kind in enumerate(kinds) if kind == NOISE):
            noise = self.noises[int(rng.integers(len(self.noises)))]
            out[row] = with_noise(truth[row], noise, rng, float(rng.uniform(5, 30)))
        return out

    def after(
        self, received: FloatArray, cutoffs: FloatArray, kinds: list[str | None], rng: np.random.Generator
    ) -> FloatArray:
        """Return the narrowed rows as they come out of their line; one whose band ends above 4 kHz stays as it is."""
        out = received.copy()
        for row, kind in enumerate(kinds):
            if kind in LINES and cutoffs[row] <= RATE / 2:
                low = np.ascontiguousarray(received[row, :: self.step])
                spectrum = np.fft.rfft(LINES[kind](low, rng))
                out[row] = self.step * np.fft.irfft(spectrum, n=received.shape[1])
        return out
