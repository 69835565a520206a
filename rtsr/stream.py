"""OPEN FIRST. One voice: a hop of narrowband in, a hop of wideband out.

    hop ─┬─ frames ── network ── overlap-add ── resample ──┐
         │                                                 + ── hop
         └─ resample (linear phase, as long as the delay) ─┘

The lower path is what was received, delayed and nothing else; the upper path adds the band above the cutoff.
"""

from __future__ import annotations

import numpy as np

from .backend.base import Backend
from .dsp.band import CutoffTracker, clean, lay_over
from .dsp.frames import Frames
from .dsp.overlap import OverlapAdd
from .dsp.resample import Resampler
from .dsp.windows import FloatArray
from .errors import InvalidAudio, InvalidSetting
from .spec import Spec

GENERATED_DELAY_MS = 1  # of the resampler after the overlap-add, where the output is not at the model's rate
NOTHING_MISSING = 2.0  # times the model's rate: a cutoff above which no bin lies


def filters(spec: Spec, rate: int, rate_out: int) -> tuple[Resampler, Resampler | None]:
    """Return the received band's resampler, as long as the delay, and the generated band's where there has to be one.

    Raises `InvalidSetting` for an output rate under the model's.
    """
    if rate_out < spec.rate:
        raise InvalidSetting(f"expected an output rate of at least {spec.rate} Hz, got {rate_out} Hz")
    lift = None
    if rate_out != spec.rate:
        lift = Resampler(spec.rate, rate_out, GENERATED_DELAY_MS * rate_out // 1000)
    delay = spec.overlap * rate_out // spec.rate + (int(lift.delay) if lift else 0)
    return Resampler(rate, rate_out, delay), lift


def fixed_cutoff(spec: Spec, cutoff: float | str) -> float | None:
    """Return a cutoff in Hz, or None for "auto"; raises `InvalidSetting` for any other."""
    if cutoff == "auto":
        return None
    if isinstance(cutoff, str) or not spec.cutoff_min_hz <= cutoff <= spec.rate:
        raise InvalidSetting(f"expected a cutoff of {spec.cutoff_min_hz:.0f} Hz or more or 'auto', got {cutoff}")
    return float(cutoff)


def linear_gain(gain_db: float) -> float:
    """Return the factor of a gain in dB; raises `InvalidSetting` above 24 dB."""
    if not gain_db <= 24:
        raise InvalidSetting(f"expected a gain of at most 24 dB, got {gain_db}")
    return float(10 ** (gain_db / 20))


class Stream:
    """One voice at a time through one opened model; no threads, no devices, no clock.

    `process` takes exactly `hop` samples at `rate` and gives exactly `hop_out` at `rate_out`, both float32 in
    [-1, 1]. Output sample i belongs to input time i - `delay`; with the hop that has to be collected first, a
    sample leaves `latency` output samples after it arrived. Used by one thread; its memory never grows.
    """

    def __init__(
        self,
        model: Backend,
        rate: int | None = None,
        rate_out: int | None = None,
        *,
        cutoff: float | str = "auto",
        gain_db: float = 0.0,
    ) -> None:
        self.model = model
        self.spec: Spec = model.spec
        self.rate = self.spec.rate if rate is None else rate
        self.rate_out = self.spec.rate if rate_out is None else rate_out
        self.hop, self.hop_out = self.spec.hop_at(self.rate), self.spec.hop_at(self.rate_out)
        self._dry, self._lift = filters(self.spec, self.rate, self.rate_out)
        self.delay = int(self._dry.delay)
        self._frames = Frames(self.spec, self.rate)
        self._overlap = OverlapAdd(self.spec)
        self._tracker = CutoffTracker(self.spec, self.rate)
        self.set_cutoff(cutoff)
        self.set_gain(gain_db)
        self._gain_now = self._gain
        self._state = model.new_state(1)
        self._hop = np.zeros(self.hop, np.float32)
        self._received = np.zeros(self.hop_out, np.float32)
        self._lifted = np.zeros(self.hop_out, np.float32)
        self._generated = np.zeros((1, self.spec.bins_out, 2), np.float32)
        self._told = np.zeros(1, np.float32)
        self.process(np.zeros(self.hop, np.float32))  # compiles and loads what the first hop would have to wait for
        self.reset()

    @property
    def latency(self) -> int:
        """Everything between a sample's arrival and its departure, in output samples, hop collection included."""
        return self.hop_out + self.delay

    @property
    def latency_ms(self) -> float:
        """`latency` in milliseconds."""
        return 1000 * self.latency / self.rate_out

    @property
    def cutoff_hz(self) -> float:
        """Where the received band ends now: as told, or as detected."""
        return self._fixed if self._fixed is not None else self._tracker.cutoff_hz

    def set_cutoff(self, cutoff: float | str) -> None:
        """Tell where the received band ends in Hz, or "auto" to detect it; takes effect with the next hop."""
        self._fixed = fixed_cutoff(self.spec, cutoff)

    def set_gain(self, gain_db: float) -> None:
        """Set the level of the generated band in dB (0 as the network meant it, -inf none); slides over one hop."""
        self._gain = linear_gain(gain_db)

    def process(self, block: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Take one hop, shape (hop,), and give one hop, shape (hop_out,), in `out` if it is given.

        Raises `InvalidAudio` for another shape. What is no number counts as silence; beyond full scale is clipped.
        """
        if block.shape != (self.hop,) or block.dtype.kind != "f":
            raise InvalidAudio(
                f"expected one hop of {self.hop} floating point samples, got {block.dtype} of shape {block.shape}"
            )
        if out is None:
            out = np.empty(self.hop_out, np.float32)
        elif out.shape != (self.hop_out,) or out.dtype != np.float32:
            raise InvalidAudio(f"expected room for {self.hop_out} float32, got {out.dtype} of shape {out.shape}")
        clean(block, self._hop)
        received = self._dry.process(self._hop, self._received)
        generated = self._generate()
        lay_over(received, generated, self._gain_now, self._gain, out)
        self._gain_now = self._gain
        return out

    def _generate(self) -> FloatArray:
        """Frames, network, overlap-add and resampling of the missing band; returns (hop_out,)."""
        spectrum = self._frames.push(self._hop)
        detected = self._tracker.push(spectrum)
        self._told[0] = self._cutoff_for_network(detected if self._fixed is None else self._fixed)
        self.model.step(spectrum[None], self._told, self._state, self._generated)
        generated = self._overlap.push(self._generated[0])
        return self._lift.process(generated, self._lifted) if self._lift else generated

    def _cutoff_for_network(self, cutoff: float) -> float:
        """Nothing is missing from a band that reaches far enough; the network then generates exact zeros."""
        return cutoff if cutoff <= self.spec.cutoff_max_hz else NOTHING_MISSING * self.spec.rate

    def flush(self) -> FloatArray:
        """Return the last `delay` samples, those that belong to the end of the input, and reset."""
        silence = np.zeros(self.hop, np.float32)
        rest = [self.process(silence) for _ in range(-(-self.delay // self.hop_out))]
        self.reset()
        return np.concatenate(rest)[: self.delay]

    def reset(self) -> None:
        """Forget everything heard; the next hop gives the same bits as a new stream's first."""
        for part in (self._dry, self._lift, self._frames, self._overlap, self._tracker):
            if part is not None:
                part.reset()
        self._state = self.model.new_state(1)
        self._gain_now = self._gain
