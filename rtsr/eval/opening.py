"""Opens what is compared by its name: our models, trained networks of others, and the interpolations beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..backend import load
from ..errors import MissingDependency
from ..net.weights import Weights
from ..runs import is_baseline
from .systems import Sinc, Spline, System, Voice

if TYPE_CHECKING:
    from .baseline import Offline


def open_systems(names: list[str], backend: str, told: bool) -> tuple[list[System], Voice]:
    """Open everything that was named, behind the two interpolations; the first of our models sets the rate."""
    opened = [open_baseline(n) if is_baseline(Path(n)) else open_voice(n, backend, told) for n in names]
    known = [system.name for system in opened]
    for number, system in enumerate(opened, 1):
        if known.count(system.name) > 1:  # as several trainings of one model are called
            system.name += f" #{number}"
    voices = [system for system in opened if isinstance(system, Voice)]
    if not voices:
        voices = [open_voice("voice-16k", backend, told)]
        opened.insert(0, voices[0])
    return [Sinc(), Spline(), *opened], voices[0]


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
