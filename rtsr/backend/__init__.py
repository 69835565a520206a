"""Ways to run the network, one file each, and how a model is opened."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import MissingDependency, UnknownName
from ..net.weights import Weights
from . import native
from .base import Backend
from .choose import fastest, has_nvidia
from .null import NullBackend

__all__ = ["BACKENDS", "GPU_BACKENDS", "Backend", "has_nvidia", "installed", "load"]

BACKENDS = ("native", "ort", "eager", "null")
GPU_BACKENDS = ("graph", "graph-tf32", "graph-bfloat16", "graph-float16", "ort-cuda", "ort-tensorrt")
PACKAGE = {"ort": "onnxruntime", "eager": "torch", "graph": "torch"}
EXTRA = {"ort": "cpu", "eager": "train", "graph": "train", "ort-cuda": "gpu", "ort-tensorrt": "gpu"}
WITH_A_GPU = ("graph", "ort-cuda")  # what `auto` tries beside the CPU's


def load(name_or_path: str | Path = "voice-16k", backend: str = "auto", threads: int = 1, *, rows: int = 1) -> Backend:
    """Open a shipped model by name, or one by the path of its manifest, on a backend.

    `auto` takes the first there is of native, ort and eager; where there is an NVIDIA card it tries that against graph
    and ort-cuda for a second, with batches of `rows`, and takes the fastest. `threads` is for ort. Raises `UnknownName`
    for a name that does not exist, `CorruptWeights` where a file does not match its hash, `MissingDependency` where a
    package or librtsr is not there, `BackendFailed` where this machine has not what a backend runs on.
    """
    if backend == "auto":
        on_cpu = _first_installed()
        if not has_nvidia():
            return load(name_or_path, on_cpu, threads)
        return fastest((*WITH_A_GPU, on_cpu), lambda name: load(name_or_path, name, threads), rows)
    if backend not in (*BACKENDS, *GPU_BACKENDS):
        raise UnknownName("backend", backend, ("auto", *BACKENDS, *GPU_BACKENDS))
    weights = Weights.find(name_or_path)
    kind, _, variant = backend.partition("-")
    if kind == "null":
        return NullBackend(weights.spec, weights.name)
    if kind == "native":
        if (library := native.library()) is None:
            raise MissingDependency("librtsr", None, "the native backend")
        return native.NativeBackend(weights, library)
    if importlib.util.find_spec(PACKAGE[kind]) is None:
        raise MissingDependency(PACKAGE[kind], EXTRA.get(backend, EXTRA[kind]), f"the {backend} backend")
    return _open(kind, variant, weights, threads)


def _open(kind: str, variant: str, weights: Weights, threads: int) -> Backend:
    """Import and open one that needs a package; a variant is ort's device or graph's precision."""
    if kind == "ort":
        from .ort import OrtBackend

        return OrtBackend(weights, threads, variant or "cpu")
    if kind == "graph":
        from .graph import GraphBackend

        return GraphBackend(weights, precision=variant or "float32")
    from .eager import EagerBackend

    return EagerBackend(weights)


def installed() -> list[str]:
    """Return the CPU's backends that can be opened here."""
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
