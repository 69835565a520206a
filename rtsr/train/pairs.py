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
from ..speech.g711 import CODES, FULL_SCALE, LEVELS
from .augmentation import Augmentation, perturb
from .filters import draw_response
from .line_augmentation import LineAugmentation
from .tones import draw_tones

LAWS = ("a", "mu")


@dataclass(frozen=True, slots=True)
class Pairs:
    """A batch: `received` (rows, samples), the `target` output, and the `cutoff` of each row in Hz.

    `band`, where some recordings were made at a lower rate, is how much of half of this rate each row's target knows.
    """

    received: Tensor
    target: Tensor
    cutoff: Tensor
    band: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays on a device: `samples` of the corpus (None on the CPU, which maps them from disk) and constants."""

    samples: Tensor | None  # 16 bits
    responses: Tensor
    hz: Tensor
    fade: Tensor
    levels: Tensor  # by law: what each of 65,536 samples comes back as


def moved(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device without waiting for what that does."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class PairMaker:
    """Draws batches of pairs from a corpus; what it draws depends only on the seed and the step, not on the device.

    What is drawn is drawn on the host, and what is computed of it is computed for all rows at once on the device, for
    which nothing waits, unless rows go over lines. A channel takes nothing away from tones, so the target of a row with
    tones is what was received, plus what the voice lost.
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
        self._kept: dict[torch.device, Kept] = {}

    def kept(self, device: torch.device) -> Kept:
        """Return what stays on a device; the first call copies it there."""
        if device not in self._kept:
            fade = np.minimum(1, np.arange(self.length) / self.spec.hop)
            samples = None if device.type == "cpu" else torch.tensor(np.asarray(self.corpus.samples), device=device)
            levels = np.stack([LEVELS[law][CODES[law]] for law in LAWS]) / np.float32(FULL_SCALE)
            constants = (torch.from_numpy(c).float().to(device) for c in (self.hz, fade * fade[::-1], levels))
            self._kept[device] = Kept(samples, self.responses.to(device), *constants)
        return self._kept[device]

    def batch(self, step: int, rows: int, device: torch.device) -> Pairs:
        """Return the batch of a step, on `device`; the same step gives the same batch."""
        rng, kept = np.random.default_rng([self.seed, 1, step]), self.kept(device)
        varied = rng.random(rows) < self.augmentation.variety
        truth, band = self._crops(rng, rows, step, device)
        truth = self._levelled(truth, varied, rng)
        on_line = np.random.default_rng([self.seed, 3, step])
        kinds = self.lines.draw(rows, on_line)
        if any(kinds):
            truth = moved(self.lines.before(truth.cpu().numpy(), kinds, on_line), device)
        pick = self._pick(varied, band, rng)
        lowpass, cutoff = kept.responses[moved(pick, device)], moved(self.cutoffs[pick], device)
        toned, tones, spoken = self._tones(self.cutoffs[pick], np.random.default_rng([self.seed, 2, step]))
        which = moved(toned, device)
        if len(toned):
            truth = truth.index_copy(0, which, truth[which] * moved(spoken, device))
        spectrum = torch.fft.rfft(truth)
        above = kept.hz > 0.6 * cutoff.unsqueeze(1)  # a telephone's missing bass is not ours to add
        rest = torch.fft.irfft(spectrum * (1 - lowpass) * above, n=self.length)
        if len(toned):
            spectrum = spectrum.index_add(0, which, torch.fft.rfft(moved(tones, device)))
        received = torch.fft.irfft(spectrum * lowpass, n=self.length)
        received = self._line(received, self.cutoffs[pick], varied, rng)
        if any(kinds):
            received = moved(self.lines.after(received.cpu().numpy(), self.cutoffs[pick], kinds, on_line), device)
        return Pairs(received, received + rest, cutoff, None if self.lower is None else moved(band, device))

    def _crops(self, rng: np.random.Generator, rows: int, step: int, device: torch.device) -> tuple[Tensor, FloatArray]:
        """Draw stretches of speech, and how much of half of the rate each one's recording knows."""
        samples, own, band = self.kept(device).samples, dict[int, FloatArray](), np.ones(rows, np.float32)
        if samples is None:
            truth = torch.from_numpy(self.corpus.crops(rng, rows, self.length))
        else:
            starts = moved(self.corpus.starts(rng, rows, self.length), device)
            places = starts.unsqueeze(1) + torch.arange(self.length, device=device)
            truth = samples[places].float() / FULL_SCALE
        if self.lower is not None:
            lower = np.random.default_rng([self.seed, 4, step])
            for row in np.flatnonzero(lower.random(rows) < self.lower.share).tolist():
                own[row], band[row] = self.lower.crop(lower, self.length, self.spec.rate)
        if self.augmentation.voices:
            voices = np.random.default_rng([self.seed, 5, step])
            for row in np.flatnonzero((voices.random(rows) < self.augmentation.voices) & (band == 1)).tolist():
                own[row] = perturb(self.corpus, voices, self.hz)
        if own:
            rows_own, stretches = np.array(list(own), np.int64), np.stack(list(own.values()))
            truth = truth.index_copy(0, moved(rows_own, device), moved(stretches, device))
        return truth, band

    def _pick(self, varied: np.ndarray, band: FloatArray, rng: np.random.Generator) -> np.ndarray:
        """Draw a response for each row, for one that knows less one whose cutoff leaves something to learn."""
        pick = rng.integers(0, self.bank, len(varied)) + self.bank * varied
        for row in np.flatnonzero(band < 1):
            first = self.bank * int(varied[row])
            fitting = self.cutoffs[first : first + self.bank] < 0.8 * band[row] * self.hz[-1]
            pick[row] = first + rng.choice(np.flatnonzero(fitting))
        return pick

    def _levelled(self, crops: Tensor, varied: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Give half of the varied rows a peak of -40 to 0 dBFS; fade all ends so that the FFT wraps silently."""
        peak = crops.abs().amax(1) + 1e-5
        wanted = 10 ** (rng.uniform(-40, 0, len(varied)) / 20)
        wanted[~(varied & (rng.random(len(varied)) < 0.5))] = np.nan
        to = moved(wanted.astype(np.float32), crops.device)
        gain = torch.where(to.isnan(), 1, (to / peak).clamp(max=30))
        return crops * gain.unsqueeze(1) * self.kept(crops.device).fade

    def _tones(self, cutoffs: FloatArray, rng: np.random.Generator) -> tuple[np.ndarray, FloatArray, FloatArray]:
        """Return which rows have tones, these, and where their voices speak (1) and do not (0); half have none."""
        toned = np.flatnonzero(rng.random(len(cutoffs)) < self.augmentation.tones)
        tones, spoken = np.zeros((2, len(toned), self.length), np.float32)
        place, slope = np.arange(self.length), 0.01 * self.spec.rate
        for i, row in enumerate(toned):
            begins = rng.choice([rng.uniform(0.2, 0.8), 1.1]) * self.length
            order = rng.choice([1, 1, -1])  # the voice after the tones, or before them
            spoken[i] = np.clip((place - begins) / slope, 0, 1)[::order]
            sounding = np.clip(np.minimum(np.minimum(place, self.length - place), begins - place) / slope, 0, 1)
            tones[i] = sounding[::order] * draw_tones(self.length, self.spec.rate, float(cutoffs[row]), rng)
        return toned, tones, spoken

    def _line(self, received: Tensor, cutoffs: np.ndarray, varied: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Send a third of the varied rows up to 4 kHz through G.711 and give a third of the others a little noise."""
        coded: dict[int, int] = {}
        noisy: dict[int, tuple[FloatArray, float, float]] = {}
        for row in np.flatnonzero(varied).tolist():
            if cutoffs[row] <= 4000 and rng.random() < 1 / 3:
                coded[row] = int(rng.integers(len(LAWS)))
            elif rng.random() < 1 / 3:
                drawn = rng.standard_normal(self.length).astype(np.float32)
                noisy[row] = drawn, -float(rng.uniform(0, 0.5)), 10 ** (-float(rng.uniform(20, 50)) / 20)
        if coded:
            rows, laws = (moved(np.array(list(v), np.int64), received.device) for v in (coded, coded.values()))
            received = received.index_copy(0, rows, self._g711(received[rows], laws))
        if noisy:
            rows = moved(np.array(list(noisy), np.int64), received.device)
            drawn, slope, level = (np.array(v, np.float32) for v in zip(*noisy.values(), strict=True))
            knobs = np.stack([slope, level, cutoffs[list(noisy)]]).astype(np.float32)
            added = self._noise(received[rows], moved(drawn, received.device), moved(knobs, received.device))
            received = received.index_add(0, rows, added)
        return received

    def _g711(self, x: Tensor, laws: Tensor) -> Tensor:
        """Return rows (n, samples) as they come back from the laws of these numbers in `LAWS`, (n,)."""
        step, levels = self.spec.rate // TELEPHONE_RATE, self.kept(x.device).levels
        code = (x[:, ::step] * FULL_SCALE).round().clamp(-FULL_SCALE, FULL_SCALE - 1).long() + FULL_SCALE
        return torch.fft.irfft(step * torch.fft.rfft(levels[laws.unsqueeze(1), code]), n=x.shape[1])

    def _noise(self, x: Tensor, drawn: Tensor, knobs: Tensor) -> Tensor:
        """Return band-limited noise, white to pink: `drawn` (n, samples) as rows x (n, samples) get it.

        knobs (3, n): slope of the spectrum over log frequency, level under the row, cutoff in Hz.
        """
        hz = self.kept(x.device).hz
        slope, level, cutoff = knobs.unsqueeze(2)
        colour = (hz.clamp(min=50) / 1000) ** slope * (hz < cutoff)
        noise = torch.fft.irfft(torch.fft.rfft(drawn) * colour, n=x.shape[1])
        wanted = x.square().mean(1, keepdim=True).sqrt() * level
        return noise * wanted / (noise.square().mean(1, keepdim=True).sqrt() + 1e-9)
