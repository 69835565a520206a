"""OPEN FIRST. One stream: a hop of narrowband in, a hop of wideband out.

    hop ─┬─ frames ── network ── fine structure ── overlap-add ── resample ──┐
         │                                                                   + ── hop
         └─ resample (linear phase, as long as the delay) ───────────────────┘

The lower path is what was received, delayed and nothing else; the upper path adds the band above the cutoff.
"""

from __future__ import annotations

import math

import numpy as np

from .backend.base import Backend
from .dsp.path import HostPath, path_delay
from .dsp.windows import FloatArray
from .errors import InvalidAudio, InvalidSetting
from .spec import Spec

MOST_GAIN_DB = 24


def fixed_cutoff(spec: Spec, cutoff: float | str) -> float | None:
    """Return a cutoff in Hz, or None for "auto"; raises `InvalidSetting` for any other."""
    if cutoff == "auto":
        return None
    if isinstance(cutoff, str) or not spec.cutoff_min_hz <= cutoff <= spec.rate:
        raise InvalidSetting(f"expected a cutoff of {spec.cutoff_min_hz:.0f} Hz or more or 'auto', got {cutoff}")
    return float(cutoff)


def linear_gain(gain_db: float) -> float:
    """Return the factor of a gain in dB; raises `InvalidSetting` above 24 dB."""
    if not gain_db <= MOST_GAIN_DB:
        raise InvalidSetting(f"expected a gain of at most {MOST_GAIN_DB} dB, got {gain_db}")
    return float(10 ** (gain_db / 20))


class Stream:
    """One signal through one opened model; no threads, no devices, no clock.

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
        self.delay = path_delay(self.spec, self.rate_out)
        self.path = HostPath(self.spec, self.rate, self.rate_out, rows=1)
        self._active = np.ones(1, np.bool_)
        self._block, self._out = self.path.blocks[0], self.path.out[0]
        self.set_cutoff(cutoff)
        self.set_gain(gain_db)
        self._state = model.new_state(1)
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
        """Where the received band ends now: as set, or as detected."""
        fixed_hz = float(self.path.fixed_hz[0])
        return float(self.path.tracker.cutoff_hz[0]) if math.isnan(fixed_hz) else fixed_hz

    def set_cutoff(self, cutoff: float | str) -> None:
        """Set where the received band ends in Hz, or "auto" to detect it; takes effect with the next hop."""
        fixed_hz = fixed_cutoff(self.spec, cutoff)
        self.path.fixed_hz[0] = math.nan if fixed_hz is None else fixed_hz

    def set_gain(self, gain_db: float) -> None:
        """Set the level of the generated band in dB (0 as the network meant it, -inf none); slides over one hop."""
        self.path.mixer.gain[0] = linear_gain(gain_db)

    def process(self, block: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Take one hop, shape (hop,), and give one hop, shape (hop_out,), in `out` if it is given.

        Raises `InvalidAudio` for another shape. NaN counts as silence; beyond full scale is clipped.
        """
        if block.shape != (self.hop,) or block.dtype.kind != "f":
            raise InvalidAudio(
                f"expected one hop of {self.hop} floating point samples, got {block.dtype} of shape {block.shape}"
            )
        if out is None:
            out = np.empty(self.hop_out, np.float32)
        elif out.shape != (self.hop_out,) or out.dtype != np.float32:
            raise InvalidAudio(f"expected room for {self.hop_out} float32, got {out.dtype} of shape {out.shape}")
        if block.dtype != np.float32:
            with np.errstate(over="ignore"):  # what is too large for 32 bits becomes infinite, and is clipped
                block = block.astype(np.float32)
        path = self.path
        self._block[:] = block
        path.analyse(self._active)
        self.model.step(path.spectrum, path.network_cutoff_hz, self._state, path.envelope)
        path.synthesise(self._active)
        out[:] = self._out
        return out

    def flush(self) -> FloatArray:
        """Return the last `delay` samples, those that belong to the end of the input, and reset."""
        silence = np.zeros(self.hop, np.float32)
        rest = [self.process(silence) for _ in range(-(-self.delay // self.hop_out))]
        self.reset()
        return np.concatenate(rest)[: self.delay]

    def reset(self) -> None:
        """Forget everything heard; the next hop gives the same bits as a new stream's first."""
        self.path.clear(0)
        self.model.write_row(self._state, 0)
