"""How ONNX Runtime opens a model on each kind of device: its providers, and what they are told."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InvalidSetting, UnknownName
from ..net.weights import Weights

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
PRECISIONS = {"cpu": ("float32",), "cuda": ("float32", "tf32"), "tensorrt": ("tf32", "float16")}
# TensorRT makes one engine for all numbers of rows between the first and the last, the best for the one in between.
LEAST_ROWS, USUAL_ROWS, MOST_ROWS = 1, 256, 16_384

Providers = list[tuple[str, dict[str, str]]]


def check(device: str, precision: str) -> None:
    """Raise `UnknownName` for a device and `InvalidSetting` for a precision that it has not."""
    if device not in PROVIDERS:
        raise UnknownName("device", device, PROVIDERS)
    if precision not in PRECISIONS[device]:
        raise InvalidSetting(f"expected a precision of {', '.join(PRECISIONS[device])} on {device}, got {precision!r}")


def providers(weights: Weights, device: str, card: int, precision: str, record: bool) -> Providers:
    """Return providers with their options, the wanted one first; record: replay CUDA graphs."""
    if device == "cpu":
        return [(CPU, {})]
    cuda = {
        "device_id": str(card),
        "use_tf32": str(int(precision == "tf32")),
        "enable_cuda_graph": str(int(record)),
        "arena_extend_strategy": "kSameAsRequested",  # what others on the card could use is not taken in advance
    }
    if device == "cuda":
        return [(CUDA, cuda)]
    folder = str(cache_folder())
    tensorrt = {
        "device_id": str(card),
        "trt_fp16_enable": str(precision == "float16"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": folder,
        "trt_engine_cache_prefix": f"{weights.name}-{precision}",
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": folder,
        "trt_profile_min_shapes": profile(weights, LEAST_ROWS),
        "trt_profile_opt_shapes": profile(weights, USUAL_ROWS),
        "trt_profile_max_shapes": profile(weights, MOST_ROWS),
    }
    return [(TENSORRT, tensorrt), (CUDA, cuda)]


def profile(weights: Weights, rows: int) -> str:
    """Return the shapes of all inputs with so many rows, as TensorRT's provider reads them."""
    spec = weights.spec
    shapes = {"spectrum": (spec.bins_in, 2), "cutoff": (), "active": (), **weights.state_shapes}
    return ",".join(f"{name}:{'x'.join(map(str, (rows, *shape)))}" for name, shape in shapes.items())


def cache_folder() -> Path:
    """Return the user's folder for engines, which take minutes to build, making it; it may be read by its owner only.

    An engine is code that is run, so nobody else may write there.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "rtsr" / "tensorrt"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
