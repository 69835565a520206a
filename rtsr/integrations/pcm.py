"""Interleaved 16-bit samples through streams, a channel each, as frameworks hand them over."""

from __future__ import annotations

import numpy as np

from ..backend import Backend, load
from ..errors import InvalidAudio, InvalidSetting
from ..io.reblock import Reblock

FULL_SCALE = 32_768


def check_rate(model: Backend, rate: int) -> None:
    """Raise `InvalidSetting` for a rate in Hz below that of a model, which has no room for a generated band."""
    if rate < model.spec.rate:
        raise InvalidSetting(
            f"expected audio at {model.spec.rate} Hz or more, got {rate} Hz: have the framework convert it, "
            "the band that is missing is restored then"
        )


class PcmEnhancer:
    """Enhances blocks of 16-bit samples of any length at one rate: as many samples out as in, `latency_ms` later.

    Raises what `check_rate` raises. Used by one thread; memory does not grow.
    """

    def __init__(self, model: str | Backend, rate: int, channels: int = 1, cutoff: float | str = "auto") -> None:
        opened = load(model) if isinstance(model, str) else model
        check_rate(opened, rate)
        self.rate, self.channels = rate, channels
        self._paths = [Reblock(opened, rate, rate, cutoff=cutoff) for _ in range(channels)]

    @property
    def latency_ms(self) -> float:
        """By how much samples leave later than they came."""
        return 1000 * self._paths[0].latency / self.rate

    @property
    def cutoff_hz(self) -> float:
        """Where the received band of the first channel ends now."""
        return self._paths[0].stream.cutoff_hz

    def set_enabled(self, enabled: bool) -> None:
        """Let the generated band in or leave it out; slides over one hop, the latency stays."""
        for path in self._paths:
            path.stream.set_gain(0.0 if enabled else -np.inf)

    def process(self, audio: bytes) -> bytes:
        """Return as many bytes as come; raises `InvalidAudio` where they are no whole number of samples."""
        if len(audio) % (2 * self.channels):
            raise InvalidAudio(f"expected 16-bit samples of {self.channels} channels, got {len(audio)} bytes")
        taken = np.frombuffer(audio, "<i2").reshape(-1, self.channels).T.astype(np.float32) / FULL_SCALE
        given = np.stack([path.process(one) for path, one in zip(self._paths, taken, strict=True)], axis=-1)
        return np.clip(np.rint(given * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes()
