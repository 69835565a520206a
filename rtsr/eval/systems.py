"""What is compared: sinc, cubic spline, our streams, and trained networks of others, each with what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..backend.base import Backend
from ..dsp.windows import FloatArray
from ..enhance import enhance
from ..speech.conditions import Heard
from ..speech.narrow import SPLINE_REACH, reach, sinc_upsample, spline_upsample
from ..speech.scores import SINC

SPLINE = "cubic spline"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a system costs: learnt numbers, operations a second of audio, and how much of what follows it waits for."""

    parameters: int = 0
    macs_per_s: float | None = None
    look_ahead_ms: float = 0.0


class System(Protocol):
    """Something that makes a recording wide; `restore` gives None where this is not what it is for."""

    name: str

    def facts(self, heard: Heard, rate: int) -> Facts:
        """Return what it costs to bring such a recording to `rate`."""

    def restore(self, heard: Heard, rate: int) -> FloatArray | None:
        """Return the recording at `rate`, aligned with what was received."""


class Sinc:
    """The received band and nothing else."""

    name = SINC

    def facts(self, heard: Heard, rate: int) -> Facts:
        """Half of the interpolation's filter lies ahead."""
        return Facts(look_ahead_ms=0 if heard.rate == rate else 1000 * reach(rate) / rate)

    def restore(self, heard: Heard, rate: int) -> FloatArray | None:
        """Return the interpolated recording."""
        return heard.received if heard.rate == rate else sinc_upsample(heard.received, heard.rate, rate // heard.rate)


class Spline:
    """A cubic through what was received, where that came at a lower rate."""

    name = SPLINE

    def facts(self, heard: Heard, rate: int) -> Facts:
        """In principle everything lies ahead; what counts is where its weights are 80 dB down."""
        return Facts(look_ahead_ms=1000 * SPLINE_REACH / (2 * heard.cutoff_hz))

    def restore(self, heard: Heard, rate: int) -> FloatArray | None:
        """Return the interpolated recording."""
        low = heard.low(rate)
        return spline_upsample(*low) if low and low[1] > 1 else None


class RtsrSystem:
    """Our stream, with the cutoff given or detected."""

    def __init__(self, model: Backend, given: bool = True, manifest: dict[str, Any] | None = None) -> None:
        self.model, self.given, self.manifest, self.name = model, given, manifest or {}, model_name(model)

    def facts(self, heard: Heard, rate: int) -> Facts:
        """What the manifest says, and the algorithmic latency."""
        latency_ms = 1000 * self.model.spec.latency / self.model.spec.rate
        return Facts(self.manifest.get("parameters", 0), self.manifest.get("macs_per_s"), latency_ms)

    def restore(self, heard: Heard, rate: int) -> FloatArray | None:
        """Return the stream's output with its latency taken off."""
        cutoff = heard.cutoff_hz if self.given else "auto"
        return enhance(heard.received, heard.rate, rate, model=self.model, cutoff=cutoff)


def model_name(model: Backend) -> str:
    """How a model on a backend is called in tables."""
    return f"{model.model} ({model.name})"
