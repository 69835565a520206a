"""Training pairs made on the fly: wideband speech, and what a narrowband channel would have let through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..dsp.windows import FloatArray
from ..spec import Spec
from ..speech.codecs import RATE as TELEPHONE_RATE
from ..speech.corpus import Corpus
from ..speech.g711 import g711
from .augmentation import Augmentation, perturb
from .filters import draw_response
from .line_augmentation import LineAugmentation
from .tones import draw_tones


@dataclass(frozen=True, slots=True)
class Pairs:
    """A batch: `received` (rows, samples), the `target` output, and the `cutoff` of each row in Hz.

    `band`, where some recordings were made at a lower rate, is how much of half of this rate each row's target knows.
    """

    received: Tensor
    target: Tensor
    cutoff: Tensor
    band: Tensor | None = None


class PairMaker:
    """Draws batches of pairs from a corpus; what it draws depends only on the seed and the step.

    A channel takes nothing away from tones, so the target of a row with tones is what was received, plus what the voice
    lost.
    """

    def __init__(
        self,
        corpus: Corpus,
        spec: Spec,
        frames: int,
        seed: int,
        augmentation: Augmentation | None = None,
        bank: int = 384,
    ) -> None:
        """`bank`: how many clean responses are drawn, and how many varied ones."""
        self.corpus, self.spec, self.seed = corpus, spec, seed
        self.augmentation = augmentation or Augmentation()
        self.lower = self.augmentation.lower
        self.lines = self.augmentation.lines or LineAugmentation(0, spec.rate)
        self.length = frames * spec.hop
        self.hz = np.linspace(0, spec.rate / 2, self.length // 2 + 1)
        rng = np.random.default_rng([seed, 0])
        cutoffs = self.augmentation.cutoffs
        drawn = [draw_response(self.hz, cutoffs, varied, rng) for varied in (False, True) for _ in range(bank)]
        self.bank = bank  # plain responses; as many varied ones come after them
        self.responses = torch.from_numpy(np.stack([d[0] for d in drawn]).astype(np.float32))
        self.cutoffs = np.array([d[1] for d in drawn], np.float32)

    def batch(self, step: int, rows: int, device: torch.device) -> Pairs:
        """Return the batch of a step, on `device`; the same step gives the same batch."""
        rng = np.random.default_rng([self.seed, 1, step])
        varied = rng.random(rows) < self.augmentation.variety
        truth, band = self._crops(rng, rows, step)
        truth = self._levelled(truth, varied, rng)
        on_line = np.random.default_rng([self.seed, 3, step])
        kinds = self.lines.draw(rows, on_line)
        truth = self.lines.before(truth, kinds, on_line)
        pick = self._pick(varied, band, rng)
        lowpass = self.responses[torch.from_numpy(pick)].to(device)
        tones, spoken = self._tones(self.cutoffs[pick], np.random.default_rng([self.seed, 2, step]))
        spectrum = torch.fft.rfft(torch.from_numpy(truth * spoken).to(device))
        beside = torch.fft.rfft(torch.from_numpy(tones).to(device))
        received = torch.fft.irfft((spectrum + beside) * lowpass, n=self.length)
        rest = torch.fft.irfft(spectrum * self._complement(pick, lowpass), n=self.length)
        received = self._line(received, self.cutoffs[pick], varied, rng)
        if any(kinds):
            coded = self.lines.after(received.cpu().numpy(), self.cutoffs[pick], kinds, on_line)
            received = torch.from_numpy(coded).to(device)
        cutoff = torch.from_numpy(self.cutoffs[pick]).to(device)
        known = None if self.lower is None else torch.from_numpy(band).to(device)
        return Pairs(received, received + rest, cutoff, known)

    def _crops(self, rng: np.random.Generator, rows: int, step: int) -> tuple[FloatArray, FloatArray]:
        """Draw stretches of speech, and how much of half of the rate each one's recording knows."""
        truth, band = self.corpus.crops(rng, rows, self.length), np.ones(rows, np.float32)
        if self.lower is not None:
            own = np.random.default_rng([self.seed, 4, step])
            for row in np.flatnonzero(own.random(rows) < self.lower.share):
                truth[row], band[row] = self.lower.crop(own, self.length, self.spec.rate)
        if self.augmentation.voices:
            own = np.random.default_rng([self.seed, 5, step])
            for row in np.flatnonzero((own.random(rows) < self.augmentation.voices) & (band == 1)):
                truth[row] = perturb(self.corpus, own, self.hz)
        return truth, band

    def _pick(self, varied: np.ndarray, band: FloatArray, rng: np.random.Generator) -> np.ndarray:
        """Draw a response for each row, for one that knows less one whose cutoff leaves something to learn."""
        pick = rng.integers(0, self.bank, len(varied)) + self.bank * varied
        for row in np.flatnonzero(band < 1):
            first = self.bank * int(varied[row])
            fitting = self.cutoffs[first : first + self.bank] < 0.8 * band[row] * self.hz[-1]
            pick[row] = first + rng.choice(np.flatnonzero(fitting))
        return pick

    def _levelled(self, crops: FloatArray, varied: np.ndarray, rng: np.random.Generator) -> FloatArray:
        """Give half of the varied rows a peak of -40 to 0 dBFS; fade all ends so that the FFT wraps silently."""
        peak = np.abs(crops).max(axis=1) + 1e-5
        wanted = 10 ** (rng.uniform(-40, 0, peak.shape) / 20)
        gain = np.where(varied & (rng.random(peak.shape) < 0.5), wanted / peak, 1)
        fade = np.minimum(1, np.arange(self.length) / self.spec.hop)
        return (crops * np.minimum(gain, 30)[:, None] * fade * fade[::-1]).astype(np.float32)

    def _tones(self, cutoffs: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return the rows' tones, and where their voices speak (1) and do not (0); half of the toned rows have none."""
        tones = np.zeros((len(cutoffs), self.length), np.float32)
        spoken = np.ones_like(tones)
        place, slope = np.arange(self.length), 0.01 * self.spec.rate
        for row in np.flatnonzero(rng.random(len(cutoffs)) < self.augmentation.tones):
            begins = rng.choice([rng.uniform(0.2, 0.8), 1.1]) * self.length
            order = rng.choice([1, 1, -1])  # the voice after the tones, or before them
            spoken[row] = np.clip((place - begins) / slope, 0, 1)[::order]
            sounding = np.clip(np.minimum(np.minimum(place, self.length - place), begins - place) / slope, 0, 1)[
                ::order
            ]
            tones[row] = sounding * draw_tones(self.length, self.spec.rate, float(cutoffs[row]), rng)
        return tones, spoken

    def _complement(self, pick: np.ndarray, lowpass: Tensor) -> Tensor:
        """What the line took away above the middle of the band: a telephone's missing bass is not ours to add."""
        hz = torch.from_numpy(self.hz).to(lowpass)
        above = hz > 0.6 * torch.from_numpy(self.cutoffs[pick]).to(lowpass).unsqueeze(1)
        return (1 - lowpass) * above

    def _line(self, received: Tensor, cutoffs: np.ndarray, varied: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Send a third of the varied rows up to 4 kHz through G.711 and give a third of the others a little noise."""
        out = received.clone()
        for row in np.flatnonzero(varied):
            cutoff = float(cutoffs[row])
            if cutoff <= 4000 and rng.random() < 1 / 3:
                out[row] = self._g711(out[row], str(rng.choice(["a", "mu"])))
            elif rng.random() < 1 / 3:
                out[row] += self._noise(out[row], cutoff, rng)
        return out

    def _g711(self, x: Tensor, law: str) -> Tensor:
        step = self.spec.rate // TELEPHONE_RATE
        coded = torch.from_numpy(g711(x[::step].cpu().numpy(), law)).to(x)
        return torch.fft.irfft(step * torch.fft.rfft(coded), n=len(x))

    def _noise(self, x: Tensor, cutoff: float, rng: np.random.Generator) -> Tensor:
        """Return band-limited noise, white to pink, 20 to 50 dB under the row."""
        drawn = torch.from_numpy(rng.standard_normal(len(x)).astype(np.float32)).to(x)
        hz = torch.from_numpy(self.hz).to(x)
        colour = (hz.clamp(min=50) / 1000) ** -float(rng.uniform(0, 0.5))
        noise = torch.fft.irfft(torch.fft.rfft(drawn) * colour * (hz < cutoff), n=len(x))
        wanted = x.square().mean().sqrt() * 10 ** (-float(rng.uniform(20, 50)) / 20)
        return noise * wanted / (noise.square().mean().sqrt() + 1e-9)
