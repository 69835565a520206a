"""What one hop costs on a GPU, counted from the code: launches, bytes and operations a voice. It needs no GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..backend.graph import GraphBackend
from ..net.kernels.launch import Launch, watched
from ..net.weights import Weights
from ..pool.device_batch import DeviceBatch
from .record import Row

# NVIDIA H100 SXM by its data sheet: bytes a second of its memory, and operations a second of dense products. A product
# of float32 in the kernels is three of TF32.
CARD, BYTES_PER_S = "H100 SXM by its data sheet", 3.35e12
OPERATIONS_PER_S = {"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12, "float16": 989e12}
EXACT_PER_S = OPERATIONS_PER_S["tf32"] / 3
ROWS = 64
OVERWRITING = ("copy_", "fill_", "zero_", "index_put_")
PARTIAL = ("index", "gather", "index_select")  # read no more of their source than they give


def size(tensor: Tensor) -> int:
    """Bytes of a tensor in memory: what is broadcast counts once."""
    elements = math.prod(n for n, step in zip(tensor.shape, tensor.stride(), strict=True) if step)
    return elements * tensor.element_size()


class Counter(TorchDispatchMode):
    """Counts torch's operators as the launches that they are on a GPU, and the launches of kernels, unrun.

    Each operator reads its arguments and writes its results once; views and memory that is only allocated are free.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches, self.bytes, self.operations = 0, 0, 0.0

    def kernel(self, launch: Launch) -> None:
        """Count a kernel by what it says of itself."""
        self.launches += 1
        self.bytes += launch.bytes
        self.operations += launch.operations

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:
            composed = func.decompose(*args, **kwargs)
        if composed is not NotImplemented:
            return composed
        result = func(*args, **kwargs)
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        made = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        name, schema = func.overloadpacket.__name__, func._schema
        memory = {t.untyped_storage().data_ptr() for t in given}
        is_view = not schema.is_mutable and any(t.untyped_storage().data_ptr() in memory for t in made)
        if is_view or name.startswith(("empty", "new_empty")) or all(t.dim() == 0 for t in made):
            return result
        written = kwargs.get("out") if "out" in kwargs else (args[0] if schema.is_mutable else None)
        reads = [t for t in given if t is not written or ("out" not in kwargs and name not in OVERWRITING)]
        if name in PARTIAL:
            reads = [*reads[1:], made[0]]
        if name == "index_put_":
            made = reads[-1:]
        self.launches += 1
        self.bytes += sum(map(size, [*reads, *made]))
        self.operations += _operations(name, given, made)
        return result


def _operations(name: str, given: list[Tensor], made: list[Tensor]) -> float:
    if name in ("mm", "addmm", "bmm"):
        return 2.0 * made[0].numel() * given[-2].shape[-1]
    if name.startswith("_fft"):
        samples = max(t.shape[-1] for t in (*given, *made))
        return 2.5 * samples * math.log2(samples) * made[0].shape[0]
    return float(max(t.numel() for t in (*given, *made)))


@dataclass(frozen=True)
class Count:
    """One hop of any number of voices on a device, the copies to it and from it apart."""

    launches: int
    bytes: float  # a voice
    operations: float  # a voice
    once: float  # bytes of weights and other constants, whatever the number of voices

    def voices(self, seconds: float, bytes_per_s: float, operations_per_s: float) -> int:
        """How many a card carries at most in so much time, by what memory and units can do."""
        return int(min((seconds * bytes_per_s - self.once) / self.bytes, seconds * operations_per_s / self.operations))


def opened(weights: Weights, precision: str, fuse: bool) -> GraphBackend:
    """Open the graph backend on the CPU, to be counted; raises ImportError for its kernels without Triton."""
    if fuse:
        from ..net.kernels import layers  # noqa: F401  to say so here rather than to count the torch form

    with watched(lambda launch: None):
        return GraphBackend(weights, "cpu", precision, fuse)


@torch.inference_mode()
def tick(model: GraphBackend, rate: int, rate_out: int, rows: int) -> Callable[[], object]:
    """Return what does one hop of so many voices, copies apart."""
    batch = DeviceBatch(model, rate, rate_out, rows)
    path, state = batch._path, batch._state
    hops, fixed = torch.zeros(rows, model.spec.hop_at(rate)), torch.full((rows,), math.nan)
    active, gain = torch.ones(rows, 1, dtype=torch.bool), torch.ones(rows, dtype=torch.float64)

    def work() -> object:
        with torch.inference_mode():
            received, spectrum, cutoff = path.analyse(hops, active, fixed)
            envelope = model.advance(state, spectrum, cutoff, active[:, 0])
            return path.synthesise(envelope, cutoff, received, active, gain)

    return work


def count(model: GraphBackend, rate: int = 8000, rate_out: int = 16_000) -> Count:
    """Count one hop; what a voice costs is the difference between two numbers of voices."""
    found = []
    for rows in (ROWS, 2 * ROWS):
        work, counter = tick(model, rate, rate_out, rows), Counter()
        with watched(counter.kernel), counter:
            work()
        found.append(counter)
    few, many = found
    each = (many.bytes - few.bytes) / ROWS
    return Count(few.launches, each, (many.operations - few.operations) / ROWS, few.bytes - each * ROWS)


def rows(weights: Weights) -> list[Row]:
    """Count the torch form and, where Triton is installed, the kernels, in float32 and bfloat16."""
    found = []
    for fuse in (False, True):
        for precision in ("float32", "bfloat16"):
            try:
                model = opened(weights, precision, fuse)
            except ImportError:
                continue
            counted, hop_s = count(model), model.spec.hop_ms / 1000
            rate = EXACT_PER_S if fuse and precision == "float32" else OPERATIONS_PER_S[precision]
            form = "kernels" if fuse else "torch"
            found.append(
                {
                    "key": f"count, {form}, {precision}",
                    "form": form,
                    "precision": precision,
                    "watch": {"launches": float(counted.launches), "kb_per_voice": counted.bytes / 1000},
                    "operations_per_voice": counted.operations,
                    "constants_mb": counted.once / 1e6,
                    "voices_at_most": counted.voices(hop_s, BYTES_PER_S, rate),
                    "card": CARD,
                }
            )
    return found
