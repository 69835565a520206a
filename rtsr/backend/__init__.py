"""Ways to run the network, one file each and one row of `TABLE`, and how a model is opened."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import MissingDependency, UnknownName
from ..net.weights import Weights
from . import native
from .base import Backend
from .choose import fastest, has_nvidia
from .null import NullBackend

__all__ = ["BACKENDS", "GPU_BACKENDS", "Backend", "has_nvidia", "installed", "load"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table. `open` takes weights, a number of threads and of a card, and imports what needs a package."""

    name: str
    open: Callable[[Weights, int, int], Backend]
    package: str | None = None
    extra: str | None = None  # of rtsr, that brings the package
    gpu: bool = False
    tried: bool = False  # by `auto`, where there is a GPU
    variant: bool = False  # of the row before it, with weights of another precision

    @property
    def is_installed(self) -> bool:
        """Whether its package, or its library, is there."""
        if self.name in native.NAMES:
            return native.library() is not None
        return self.package is None or importlib.util.find_spec(self.package) is not None


def _native(name: str) -> Callable[[Weights, int, int], Backend]:
    def open_native(weights: Weights, threads: int, card: int) -> Backend:
        if (library := native.library()) is None:
            raise MissingDependency("librtsr", None, f"the {name} backend")
        return native.NativeBackend(weights, library, name)

    return open_native


def _ort(device: str, precision: str | None = None) -> Callable[[Weights, int, int], Backend]:
    def open_ort(weights: Weights, threads: int, card: int) -> Backend:
        from .ort import OrtBackend

        return OrtBackend(weights, threads, device, card, precision)

    return open_ort


def _eager(weights: Weights, threads: int, card: int) -> Backend:
    from .eager import EagerBackend

    return EagerBackend(weights)


def _null(weights: Weights, threads: int, card: int) -> Backend:
    return NullBackend(weights.spec, weights.name)


def _graph(precision: str) -> Callable[[Weights, int, int], Backend]:
    def open_graph(weights: Weights, threads: int, card: int) -> Backend:
        from .graph import GraphBackend

        return GraphBackend(weights, f"cuda:{card}", precision)

    return open_graph


TABLE = (  # on the CPU in the order in which `auto` takes them
    Kind("native", _native("native")),
    Kind("native-int8", _native("native-int8"), variant=True),
    Kind("native-float32", _native("native-float32"), variant=True),
    Kind("ort", _ort("cpu"), "onnxruntime", "cpu"),
    Kind("eager", _eager, "torch", "train"),
    Kind("null", _null),
    Kind("graph", _graph("float32"), "torch", "train", gpu=True, tried=True),
    Kind("graph-tf32", _graph("tf32"), "torch", "train", gpu=True),
    Kind("graph-bfloat16", _graph("bfloat16"), "torch", "train", gpu=True),
    Kind("graph-float16", _graph("float16"), "torch", "train", gpu=True),
    Kind("ort-cuda", _ort("cuda"), "onnxruntime", "gpu", gpu=True, tried=True),
    Kind("ort-cuda-tf32", _ort("cuda", "tf32"), "onnxruntime", "gpu", gpu=True),
    Kind("ort-tensorrt", _ort("tensorrt"), "onnxruntime", "gpu", gpu=True),
    Kind("ort-tensorrt-float16", _ort("tensorrt", "float16"), "onnxruntime", "gpu", gpu=True),
)
BACKENDS = tuple(kind.name for kind in TABLE if not kind.gpu)
GPU_BACKENDS = tuple(kind.name for kind in TABLE if kind.gpu)


def load(name_or_path: str | Path = "voice-16k", backend: str = "auto", threads: int = 1, *, rows: int = 1) -> Backend:
    """Open a shipped model by name, or one by the path of its manifest, on a backend.

    `auto` takes the first there is of native, ort and eager; where there is an NVIDIA card it tries that against graph
    and ort-cuda for a second, with batches of `rows`, and takes the fastest. "graph:1" is one on card 1 in place
    of 0. `threads` is for ort. Raises `UnknownName` for a name that does not exist, `CorruptWeights` where a file does
    not match its hash, `MissingDependency` where a package or librtsr is not there, `BackendFailed` where this machine
    has not what a backend runs on.
    """
    if backend == "auto":
        on_cpu = _first_installed()
        if not has_nvidia():
            return load(name_or_path, on_cpu, threads)
        tried = [kind.name for kind in TABLE if kind.tried]
        return fastest((*tried, on_cpu), lambda name: load(name_or_path, name, threads), rows)
    name, _, card = backend.partition(":")
    kind = next(
        (kind for kind in TABLE if backend == kind.name or (name == kind.name and kind.gpu and card.isdecimal())), None
    )
    if kind is None:
        raise UnknownName("backend", backend, ("auto", *BACKENDS, *GPU_BACKENDS))
    weights = Weights.find(name_or_path)
    if kind.package is not None and not kind.is_installed:
        raise MissingDependency(kind.package, kind.extra, f"the {backend} backend")
    return kind.open(weights, threads, int(card or 0))


def installed() -> list[str]:
    """Return the CPU's backends that can be opened here, without those that differ in precision alone."""
    return [kind.name for kind in TABLE if not (kind.gpu or kind.variant) and kind.is_installed]


def _first_installed() -> str:
    for name in installed():
        if name != "null":
            return name
    raise MissingDependency("onnxruntime", "cpu", "running a model")
