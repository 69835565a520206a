"""Opens what is compared by its name: our models, trained networks of others, and the interpolations beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..backend import load
from ..errors import MissingDependency
from ..net.weights import Weights
from ..runs import is_baseline
from .systems import RtsrSystem, Sinc, Spline, System

if TYPE_CHECKING:
    from .baseline import Offline


def open_systems(names: list[str], backend: str, given: bool) -> tuple[list[System], RtsrSystem]:
    """Open everything that was named, behind the two interpolations; the first of our models sets the rate."""
    opened = [open_baseline(n) if is_baseline(Path(n)) else open_rtsr(n, backend, given) for n in names]
    known = [system.name for system in opened]
    for number, system in enumerate(opened, 1):
        if known.count(system.name) > 1:  # as several trainings of one model are called
            system.name += f" #{number}"
    own = [system for system in opened if isinstance(system, RtsrSystem)]
    if not own:
        own = [open_rtsr("voice-16k", backend, given)]
        opened.insert(0, own[0])
    return [Sinc(), Spline(), *opened], own[0]


def open_baseline(folder: str | Path) -> Offline:
    """Open a trained baseline; raises `MissingDependency` without torch, and what `Offline.open` raises."""
    try:
        from .baseline import Offline
    except ImportError as error:
        raise MissingDependency(error.name or "torch", "train", "running a baseline") from None
    return Offline.open(folder)


def open_rtsr(name_or_path: str, backend: str, given: bool) -> RtsrSystem:
    """Open one of our models on a backend."""
    return RtsrSystem(load(name_or_path, backend), given, Weights.find(name_or_path).manifest)
