"""What is compared: sinc, cubic spline, our streams, and trained networks of others, each with what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..backend import load
from ..backend.base import Backend
from ..dsp.windows import FloatArray
from ..enhance import enhance
from ..errors import MissingDependency
from ..net.weights import Weights
from .conditions import Heard
from .narrow import reach, sinc_upsample, spline_upsample
from .runs import RECORD, read_record

if TYPE_CHECKING:
    from .baseline import Offline

SINC, SPLINE = "sinc", "cubic spline"
SPLINE_REACH = 7  # input samples after which a cubic spline's weights are 80 dB down (they fall by 2 - sqrt(3) each)


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


class Voice:
    """Our stream, told the cutoff or not."""

    def __init__(self, model: Backend, told: bool = True, manifest: dict[str, Any] | None = None) -> None:
        self.model, self.told, self.manifest, self.name = model, told, manifest or {}, model_name(model)

    def facts(self, heard: Heard, rate: int) -> Facts:
        """What the manifest says, and the algorithmic latency."""
        latency_ms = 1000 * self.model.spec.latency / self.model.spec.rate
        return Facts(self.manifest.get("parameters", 0), self.manifest.get("macs_per_s"), latency_ms)

    def restore(self, heard: Heard, rate: int) -> FloatArray | None:
        """Return the stream's output with its latency taken off."""
        cutoff = heard.cutoff_hz if self.told else "auto"
        return enhance(heard.received, heard.rate, rate, model=self.model, cutoff=cutoff)


def model_name(model: Backend) -> str:
    """How a model on a backend is called in tables."""
    return f"{model.model} ({model.name})"


def is_run(path: str | Path) -> bool:
    """Whether this is the folder of a baseline's training run."""
    return (Path(path) / RECORD).is_file() and "baseline" in read_record(Path(path))


def open_baseline(folder: str | Path) -> Offline:
    """Open a trained baseline; raises `MissingDependency` without torch, and what `Offline.open` raises."""
    try:
        from .baseline import Offline
    except ImportError as error:
        raise MissingDependency(error.name or "torch", "train", "running a baseline") from None
    return Offline.open(folder)


def open_voice(name_or_path: str, backend: str, told: bool) -> Voice:
    """Open one of our models on a backend."""
    return Voice(load(name_or_path, backend), told, Weights.find(name_or_path).manifest)
