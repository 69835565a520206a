"""Ways to run the network, one file each, and how a model is opened."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import MissingDependency, UnknownName
from ..net.weights import Weights
from . import native
from .base import Backend
from .null import NullBackend

__all__ = ["BACKENDS", "Backend", "installed", "load"]

BACKENDS = ("native", "ort", "eager", "null")
PACKAGE = {"ort": "onnxruntime", "eager": "torch"}


def load(name_or_path: str | Path = "voice-16k", backend: str = "auto", threads: int = 1) -> Backend:
    """Open a shipped model by name, or one by the path of its manifest, on a backend.

    `auto` takes the first there is of native, ort and eager; `threads` is for ort, torch has a setting of its own.
    Raises `UnknownName` for a name that does not exist, `CorruptWeights` where a file does not match its hash,
    `MissingDependency` where a package is not installed.
    """
    if backend == "auto":
        backend = _first_installed()
    if backend not in BACKENDS:
        raise UnknownName("backend", backend, ("auto", *BACKENDS))
    weights = Weights.find(name_or_path)
    if backend == "null":
        return NullBackend(weights.spec, weights.name)
    if backend == "native":
        if (library := native.library()) is None:
            raise MissingDependency("librtsr", None, "the native backend")
        return native.NativeBackend(weights, library)
    if importlib.util.find_spec(PACKAGE[backend]) is None:
        extra = {"ort": "cpu", "eager": "train"}[backend]
        raise MissingDependency(PACKAGE[backend], extra, f"the {backend} backend")
    if backend == "ort":
        from .ort import OrtBackend

        return OrtBackend(weights, threads)
    from .eager import EagerBackend

    return EagerBackend(weights)


def installed() -> list[str]:
    """Return the backends that can be opened here."""
    return [name for name in BACKENDS if _is_installed(name)]


def _is_installed(name: str) -> bool:
    if name == "native":
        return native.library() is not None
    return name not in PACKAGE or importlib.util.find_spec(PACKAGE[name]) is not None


def _first_installed() -> str:
    for name in installed():
        if name != "null":
            return name
    raise MissingDependency("onnxruntime", "cpu", "running a model")
