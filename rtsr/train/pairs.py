"""Training pairs made on the fly: wideband speech, and what a narrow line would have let through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import signal
from torch import Tensor

from ..dsp.band import BAND_HZ
from ..dsp.windows import FloatArray
from ..spec import Spec
from ..speech.codecs import RATE as TELEPHONE_RATE
from ..speech.corpus import Corpus
from ..speech.g711 import g711
from .lines import Lines

Response = tuple[FloatArray, float]  # magnitude over the frequency grid, and the cutoff that it leaves in Hz


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
class Cutoffs:
    """What is drawn from: the `named` cutoffs and their shares, and the range of those in between, in Hz."""

    named: tuple[float, ...] = (4000.0, 2000.0, 16000 / 12)  # x2, x4 and x6 of 16 kHz
    shares: tuple[float, ...] = (0.48, 0.36, 0.16)
    lowest: float = 1200.0
    highest: float = 6500.0

    def draw(self, rng: np.random.Generator, varied: bool) -> float:
        """Return a named one; half of the varied ones lie anywhere in the range, low ones more often."""
        if varied and rng.random() < 0.5:
            return float(np.exp(rng.uniform(np.log(self.lowest), np.log(self.highest))))
        return float(rng.choice(self.named, p=self.shares))


def windowed_sinc(hz: FloatArray, cutoff: float, rng: np.random.Generator) -> FloatArray:
    """A linear-phase low-pass as a resampler has it; 40 to 400 Hz from pass to stop, which is at the cutoff."""
    width = 40 * 10 ** rng.uniform(0, 1)
    return 0.5 * (1 + np.cos(np.pi * np.clip((hz - cutoff + width) / width, 0, 1)))


def _iir(design: Callable[[float], np.ndarray]) -> Callable[..., FloatArray]:
    def response(hz: FloatArray, cutoff: float, rng: np.random.Generator) -> FloatArray:
        nyquist = hz[-1]
        edge = cutoff * rng.uniform(0.8, 0.97) / nyquist
        sos = design(float(edge))
        magnitude = np.abs(signal.sosfreqz(sos, np.pi * hz / nyquist)[1])
        return magnitude ** rng.choice([1, 2])  # once, or forwards and backwards as filtfilt does

    return response


chebyshev = _iir(lambda edge: signal.cheby1(8, 0.05, edge, output="sos"))  # scipy's decimate
butterworth = _iir(lambda edge: signal.butter(10, edge, output="sos"))
elliptic = _iir(lambda edge: signal.ellip(8, 0.1, 60, edge, output="sos"))


def telephone(hz: FloatArray, cutoff: float, rng: np.random.Generator) -> FloatArray:
    """A 300-3400 Hz telephone band (ITU-T G.712 in outline), scaled down with the cutoff."""
    low = signal.butter(int(rng.integers(1, 4)), rng.uniform(150, 320) / hz[-1], "high", output="sos")
    high = elliptic(hz, cutoff, rng)
    return high * np.abs(signal.sosfreqz(low, np.pi * hz / hz[-1])[1])


FAMILY: tuple[tuple[Callable[..., FloatArray], float], ...] = (
    (windowed_sinc, 0.6),
    (chebyshev, 0.1),
    (butterworth, 0.1),
    (elliptic, 0.1),
    (telephone, 0.1),
)


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


FASTEST = 1.12  # of another voice
FADE = 80  # samples at both ends of its stretch, so that the spectrum can be shortened
TILT_DB, BEND_DB = 1.5, 3.0  # of its microphone: an octave, and at most


def another_voice(corpus: Corpus, rng: np.random.Generator, hz: np.ndarray) -> FloatArray:
    """Return a stretch of a voice played up to an eighth faster, which raises it, through another microphone's slopes.

    Speed perturbation as in Ko et al. 2015 (Interspeech), upwards only: played slower, a voice has no top octave.
    """
    length = 2 * (len(hz) - 1)
    taken = round(length * rng.uniform(1, FASTEST) / FADE) * FADE
    fade = np.minimum(1, np.arange(taken) / FADE)
    spectrum = np.fft.rfft(corpus.crops(rng, 1, taken)[0] * fade * fade[::-1])[: len(hz)] * (length / taken)
    octaves = np.log2(np.maximum(hz, 100) / 1000)
    tilt, bend = rng.uniform(-TILT_DB, TILT_DB), rng.uniform(-BEND_DB, BEND_DB)
    gain_db = tilt * octaves + bend * np.sin(octaves * rng.uniform(1, 3) + rng.uniform(0, 2 * np.pi))
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), n=length).astype(np.float32)


class PairMaker:
    """Draws batches of pairs from a corpus; what it draws depends only on the seed and the step.

    `variety` is the share of rows that come over a line of any kind: odd filters and cutoffs, levels, noise, G.711.
    The others are narrowed cleanly by a whole factor: a network that hears too few of these learns slowly. `tones` is
    the share of rows in which tones sound before, after or instead of the voice. A line takes nothing away from them,
    so such a row's target is what was received, plus what the voice lost. `lines`, if given, sends some rows over
    telephones. `voices` is the share of rows whose speaker is made another one, by another pace and microphone.
    """

    def __init__(
        self,
        corpus: Corpus,
        spec: Spec,
        frames: int,
        seed: int,
        bank: int = 384,
        *,
        variety: float = 0.2,
        tones: float = 0.04,
        voices: float = 0.0,
        lines: Lines | None = None,
        cutoffs: Cutoffs | None = None,
        lower: Lower | None = None,
    ) -> None:
        self.corpus, self.spec, self.seed = corpus, spec, seed
        self.drawn_from, self.lower = cutoffs or Cutoffs(), lower
        self.variety, self.tones, self.voices = variety, tones, voices
        self.lines = lines or Lines(0, spec.rate)
        self.length = frames * spec.hop
        self.hz = np.linspace(0, spec.rate / 2, self.length // 2 + 1)
        rng = np.random.default_rng([seed, 0])
        drawn = [self._draw_response(rng, varied) for varied in (False, True) for _ in range(bank)]
        self.bank = bank  # plain responses; as many varied ones come after them
        self.responses = torch.from_numpy(np.stack([d[0] for d in drawn]).astype(np.float32))
        self.cutoffs = np.array([d[1] for d in drawn], np.float32)

    def _draw_response(self, rng: np.random.Generator, varied: bool) -> Response:
        cutoff = self.drawn_from.draw(rng, varied)
        kinds, weights = zip(*FAMILY, strict=True)
        kind: Callable[..., FloatArray] = kinds[rng.choice(len(kinds), p=weights)] if varied else windowed_sinc
        response = kind(self.hz, cutoff, rng)
        if kind is windowed_sinc or rng.random() < 0.4:
            return response, cutoff  # the caller tells the nominal cutoff
        heard = self.hz[np.flatnonzero(response > 0.1)[-1]]  # a detector tells where the band really ends
        return response, float(np.clip(heard + rng.uniform(-50, 100), self.drawn_from.lowest - BAND_HZ, cutoff))

    def batch(self, step: int, rows: int, device: torch.device) -> Pairs:
        """Return the batch of a step, on `device`; the same step gives the same batch."""
        rng = np.random.default_rng([self.seed, 1, step])
        varied = rng.random(rows) < self.variety
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
        if self.voices:
            own = np.random.default_rng([self.seed, 5, step])
            for row in np.flatnonzero((own.random(rows) < self.voices) & (band == 1)):
                truth[row] = another_voice(self.corpus, own, self.hz)
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
        for row in np.flatnonzero(rng.random(len(cutoffs)) < self.tones):
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
