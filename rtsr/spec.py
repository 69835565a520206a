"""Every size, rate and window length of a model, and the latency that follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import InvalidSetting

LOWEST_BAND_HZ = 1000.0  # centre of the envelope's lowest band: no received band ends under it


def erb_rate(hz: float) -> float:
    """Return how many equivalent rectangular bandwidths of hearing lie below `hz` (Glasberg and Moore 1990)."""
    return 21.4 * math.log10(1 + 0.00437 * hz)


@dataclass(frozen=True, slots=True)
class Spec:
    """The sizes that a network was trained with, in samples at `rate` unless the name says otherwise.

    Every hop, the last `history` samples are analysed and a frame of `synthesis` samples, ending at the same
    instant, is generated; consecutive frames overlap by half. Long analysis and short synthesis windows are
    what buys frequency resolution without latency (Mauler and Gerkmann 2007, doi:10.1109/WASPAA.2007.4393041).
    """

    rate: int = 16_000
    hop: int = 80
    history: int = 480
    synthesis: int = 160
    cutoff_min_hz: float = 1_000.0
    cutoff_max_hz: float = 7_000.0
    window: str = "sqrt-hann"  # the synthesis window's kind, one of `dsp.windows.SYNTHESIS`

    def __post_init__(self) -> None:
        if min(self.rate, self.hop, self.history) <= 0 or self.synthesis != 2 * self.hop:
            raise InvalidSetting(f"expected positive sizes and a synthesis window of two hops, got {self}")
        if self.history % self.hop or self.rate % self.hop:
            raise InvalidSetting(f"expected history and rate to be whole multiples of the hop, got {self}")

    @property
    def frames_per_s(self) -> int:
        """Frames, and calls of the network, per second of audio."""
        return self.rate // self.hop

    @property
    def hop_ms(self) -> float:
        """Duration of one hop in milliseconds."""
        return 1000 * self.hop / self.rate

    @property
    def bins_in(self) -> int:
        """Bins of the analysis spectrum, 0 Hz to half of `rate`."""
        return self.history // 2 + 1

    @property
    def bins_out(self) -> int:
        """Bins of the generated spectrum, 0 Hz to half of `rate`."""
        return self.synthesis // 2 + 1

    @property
    def bands(self) -> int:
        """Bands of a frame's envelope: one equivalent rectangular bandwidth apart, up to half of `rate`."""
        return int(erb_rate(self.rate / 2) - erb_rate(LOWEST_BAND_HZ)) + 1

    @property
    def overlap(self) -> int:
        """Samples by which a completed hop lags the newest input: what the overlap-add holds back."""
        return self.synthesis - self.hop

    @property
    def latency(self) -> int:
        """Algorithmic latency: one hop is collected, and the overlap is held back. The synthesis window's length."""
        return self.hop + self.overlap

    def hop_at(self, rate: int) -> int:
        """One hop in samples at `rate`; raises `InvalidSetting` where a hop is no whole number of samples."""
        if rate <= 0 or rate % self.frames_per_s:
            raise InvalidSetting(
                f"expected a rate that is a multiple of {self.frames_per_s} Hz, got {rate} Hz: "
                "put the stream into rtsr.Reblock, which takes any rate and any block size"
            )
        return rate // self.frames_per_s

    def history_at(self, rate: int) -> int:
        """The analysis window in samples at `rate`."""
        return self.hop_at(rate) * (self.history // self.hop)
