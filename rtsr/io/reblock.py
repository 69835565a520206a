"""Any block size and any rate around a stream that knows only hops: constant pre-fill, constant latency."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, gcd

import numpy as np

from ..backend.base import Backend
from ..dsp.mix import clean
from ..dsp.resample import Resampler
from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, InvalidSetting
from ..stream import Stream
from .ring import Ring

INNER_RATE = 48_000  # what the stream runs at where a hop is no whole number of samples, as at 44.1 kHz
OUTER_DELAY_MS = 1  # of a resampler on either side of such a stream
LEAST_RATE, MOST_RATE = 4_000, 192_000
ONE = np.ones(1, np.bool_)


def inner_rate(rate: int, model: Backend) -> int:
    """Return `rate` if a hop is a whole number of samples there, otherwise the rate to convert to."""
    return INNER_RATE if rate % model.spec.frames_per_s else rate


class Reblock:
    """A stream that takes blocks of any size, varying, at any rate from 4 to 192 kHz.

    n samples in give the samples out that are due by then: exactly n where the rates are equal, otherwise within
    one of n * rate_out / rate. Output sample i belongs to input time i - `latency`, whatever the block sizes.
    Used by one thread; memory does not depend on the block size.
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
        self.rate = model.spec.rate if rate is None else rate
        self.rate_out = model.spec.rate if rate_out is None else rate_out
        for given in (self.rate, self.rate_out):
            if not LEAST_RATE <= given <= MOST_RATE:
                raise InvalidSetting(f"expected a rate from {LEAST_RATE} to {MOST_RATE} Hz, got {given} Hz")
        rates = inner_rate(self.rate, model), inner_rate(self.rate_out, model)
        self.stream = Stream(model, *rates, cutoff=cutoff, gain_db=gain_db)
        self._input_resampler = self._make_input_resampler()
        self._output_resampler, self._path = self._make_output_resampler()
        waiting = self.stream.hop_out + (
            2 if self._input_resampler or self._output_resampler else 0
        )  # odd rates come a sample early or late
        self._silence = -(-waiting * self.rate_out // self.stream.rate_out)
        self.latency = self._path + self._silence
        self._pending = Ring(2 * self.stream.hop + 2 * INNER_RATE // LEAST_RATE)
        self._ready = Ring(8 * self.stream.hop_out + INNER_RATE // 100)
        self._step = max(1, self.stream.hop * self.rate // self.stream.rate)  # input samples: at most about a hop
        self._cleaned = np.zeros((1, self._step), np.float32)
        self._hop = np.zeros(self.stream.hop, np.float32)
        self._hop_out = np.zeros(self.stream.hop_out, np.float32)
        self._prefill()
        self.process(np.zeros(2 * self.stream.hop, np.float32))  # compiles what the first block would have to wait for
        self.reset()

    def _make_input_resampler(self) -> Resampler | None:
        """Return the resampler from an odd input rate, its delay a whole number of samples on both sides."""
        stream = self.stream
        if self.rate == stream.rate:
            return None
        shared = stream.rate // gcd(stream.rate, stream.rate_out)
        least = OUTER_DELAY_MS * stream.rate // 1000
        return Resampler(self.rate, stream.rate, -(-least // shared) * shared)

    def _make_output_resampler(self) -> tuple[Resampler | None, int]:
        """Return the resampler to an odd output rate, and the delay of the whole path in whole output samples."""
        stream = self.stream
        input_delay = int(self._input_resampler.delay) * stream.rate_out // stream.rate if self._input_resampler else 0
        inner = stream.delay + input_delay
        if self.rate_out == stream.rate_out:
            return None, inner
        delay = Fraction(inner * self.rate_out, stream.rate_out)
        path = ceil(delay + Fraction(OUTER_DELAY_MS * self.rate_out, 1000))
        return Resampler(stream.rate_out, self.rate_out, float(path - delay)), path

    @property
    def latency_ms(self) -> float:
        """`latency`, which is in output samples, in milliseconds."""
        return 1000 * self.latency / self.rate_out

    def _prefill(self) -> None:
        """Put the silence into the output that the longest wait for a hop will need."""
        self._taken = self._given = 0
        self._ready.write(np.zeros(self._silence, np.float32))

    def process(self, block: FloatArray) -> FloatArray:
        """Take a block of any length, shape (samples,), and return what is due; raises `InvalidAudio`."""
        if block.ndim != 1 or block.dtype.kind != "f":
            raise InvalidAudio(
                f"expected one channel of floating point samples, got {block.dtype} of shape {block.shape}"
            )
        samples = np.ascontiguousarray(block, np.float32)
        due = (self._taken + len(samples)) * self.rate_out // self.rate - self._given
        out = np.zeros(due, np.float32)
        done = 0
        for start in range(0, len(samples), self._step):
            piece = samples[start : start + self._step]
            self._push(piece)
            self._taken += len(piece)
            now_due = self._taken * self.rate_out // self.rate - self._given
            done += self._ready.read(out[done : done + now_due])
            self._given += now_due
        return out

    def _push(self, piece: FloatArray) -> None:
        """Move at most about a hop of input through the stream to the output."""
        if self._input_resampler:
            cleaned = self._cleaned[:, : len(piece)]
            cleaned[0] = piece
            clean(cleaned, ONE)  # a filter would spread a NaN over all of its taps
            piece = self._input_resampler.process(cleaned[0])
        self._pending.write(piece)
        while len(self._pending) >= self.stream.hop:
            self._pending.read(self._hop)
            hop = self.stream.process(self._hop, self._hop_out)
            self._ready.write(self._output_resampler.process(hop) if self._output_resampler else hop)

    def flush(self) -> FloatArray:
        """Return the last `latency` samples, those that belong to the end of the input, and reset."""
        feed = -(-self.latency * self.rate // self.rate_out) + 1
        rest = self.process(np.zeros(feed, np.float32))[: self.latency]
        self.reset()
        return rest

    def reset(self) -> None:
        """Forget everything heard."""
        self.stream.reset()
        for resampler in (self._input_resampler, self._output_resampler):
            if resampler is not None:
                resampler.reset()
        self._pending.clear()
        self._ready.clear()
        self._prefill()
