"""Training pairs made on the fly: wideband speech, and what a narrow line would have let through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import signal
from torch import Tensor

from ..dsp.windows import FloatArray
from ..spec import Spec
from .corpus import Corpus

Response = tuple[FloatArray, float]  # magnitude over the frequency grid, and the cutoff that it leaves in Hz


@dataclass(frozen=True, slots=True)
class Pairs:
    """A batch: `received` (rows, samples), the `target` output, and the `cutoff` of each row in Hz."""

    received: Tensor
    target: Tensor
    cutoff: Tensor


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


def draw_cutoff(rng: np.random.Generator) -> float:
    """x2, x4 and x6 of 16 kHz most of the time, otherwise anything between 1.2 and 6.5 kHz, low ones more often."""
    kind = rng.choice(4, p=[0.4, 0.28, 0.14, 0.18])
    return (4000.0, 2000.0, 16000 / 12, float(np.exp(rng.uniform(np.log(1200), np.log(6500)))))[kind]


class PairMaker:
    """Draws batches of pairs from a corpus; what it draws depends only on the seed and the step."""

    def __init__(self, corpus: Corpus, spec: Spec, frames: int, seed: int, bank: int = 768) -> None:
        self.corpus, self.spec, self.seed = corpus, spec, seed
        self.length = frames * spec.hop
        self.hz = np.linspace(0, spec.rate / 2, self.length // 2 + 1)
        rng = np.random.default_rng([seed, 0])
        drawn = [self._draw_response(rng) for _ in range(bank)]
        self.responses = torch.from_numpy(np.stack([d[0] for d in drawn]).astype(np.float32))
        self.cutoffs = np.array([d[1] for d in drawn], np.float32)

    def _draw_response(self, rng: np.random.Generator) -> Response:
        cutoff = draw_cutoff(rng)
        kinds, weights = zip(*FAMILY, strict=True)
        kind = kinds[rng.choice(len(kinds), p=weights)]
        response = kind(self.hz, cutoff, rng)
        if kind is windowed_sinc or rng.random() < 0.4:
            return response, cutoff  # the caller tells the nominal cutoff
        heard = self.hz[np.flatnonzero(response > 0.1)[-1]]  # a detector tells where the band really ends
        return response, float(np.clip(heard + rng.uniform(-50, 100), 1100, cutoff))

    def batch(self, step: int, rows: int, device: torch.device) -> Pairs:
        """Return the batch of a step, on `device`; the same step gives the same batch."""
        rng = np.random.default_rng([self.seed, 1, step])
        truth = self._levelled(self.corpus.crops(rng, rows, self.length), rng)
        pick = rng.integers(0, len(self.cutoffs), rows)
        lowpass = self.responses[torch.from_numpy(pick)].to(device)
        spectrum = torch.fft.rfft(torch.from_numpy(truth).to(device))
        received = torch.fft.irfft(spectrum * lowpass, n=self.length)
        rest = torch.fft.irfft(spectrum * self._complement(pick, lowpass), n=self.length)
        received = self._line(received, self.cutoffs[pick], rng)
        cutoff = torch.from_numpy(self.cutoffs[pick]).to(device)
        return Pairs(received, received + rest, cutoff)

    def _levelled(self, crops: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Give half of the rows a peak between -40 and 0 dBFS, and fade the ends so that the FFT wraps silently."""
        peak = np.abs(crops).max(axis=1, keepdims=True) + 1e-5
        wanted = 10 ** (rng.uniform(-40, 0, peak.shape) / 20)
        gain = np.where(rng.random(peak.shape) < 0.5, wanted / peak, 1)
        fade = np.minimum(1, np.arange(self.length) / 80)
        return (crops * np.minimum(gain, 30) * fade * fade[::-1]).astype(np.float32)

    def _complement(self, pick: np.ndarray, lowpass: Tensor) -> Tensor:
        """What the line took away above the middle of the band: a telephone's missing bass is not ours to add."""
        hz = torch.from_numpy(self.hz).to(lowpass)
        above = hz > 0.6 * torch.from_numpy(self.cutoffs[pick]).to(lowpass).unsqueeze(1)
        return (1 - lowpass) * above

    def _line(self, received: Tensor, cutoffs: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Send a seventh of the 4 kHz rows through G.711 and give a seventh of all rows a little noise."""
        out = received.clone()
        for row, cutoff in enumerate(cutoffs):
            if cutoff <= 4000 and rng.random() < 1 / 7:
                out[row] = self._g711(out[row], float(rng.choice([87.6, 255])))
            elif rng.random() < 1 / 7:
                out[row] += self._noise(out[row], float(cutoff), rng)
        return out

    def _g711(self, x: Tensor, law: float) -> Tensor:
        """Quantise at 8 kHz to the 256 levels of A-law (87.6) or mu-law (255) companding (ITU-T G.711, smooth form)."""
        low = x[::2].clamp(-1, 1)
        size = low.abs()
        if law == 255:
            code = torch.log1p(law * size) / np.log1p(law)
            back = torch.expm1(torch.round(code * 127) / 127 * np.log1p(law)) / law
        else:
            scale = 1 + np.log(law)
            code = torch.where(size < 1 / law, law * size, 1 + torch.log((law * size).clamp(min=1))) / scale
            code = torch.round(code * 127) / 127 * scale
            back = torch.where(code < 1, code, torch.exp(code - 1)) / law
        spectrum = torch.fft.rfft(back * low.sign())
        return torch.fft.irfft(2 * spectrum, n=len(x))

    def _noise(self, x: Tensor, cutoff: float, rng: np.random.Generator) -> Tensor:
        """Return band-limited noise, white to pink, 20 to 50 dB under the row."""
        drawn = torch.from_numpy(rng.standard_normal(len(x)).astype(np.float32)).to(x)
        hz = torch.from_numpy(self.hz).to(x)
        colour = (hz.clamp(min=50) / 1000) ** -float(rng.uniform(0, 0.5))
        noise = torch.fft.irfft(torch.fft.rfft(drawn) * colour * (hz < cutoff), n=len(x))
        wanted = x.square().mean().sqrt() * 10 ** (-float(rng.uniform(20, 50)) / 20)
        return noise * wanted / (noise.square().mean().sqrt() + 1e-9)
