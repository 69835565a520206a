"""The device of `bench.gpu`: its clock, its measured ceilings, and the rows and errors found on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rtsr.backend.graph import PRECISIONS, GraphBackend
from rtsr.bench.record import store
from rtsr.net.weights import Weights

NAME = "card"  # of the file of rows
PRECISIONS_TIMED = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows are tried, and how often: on a card, or as few as show on a CPU that the program runs."""

    checked: tuple[int, ...] = (1, 7, 64)
    checked_many: int = 16_384
    steps: int = 40
    stages: int = 16_384
    capacity: tuple[int, ...] = (16_384, 24_576, 32_768, 50_000, 65_536)
    shards: tuple[int, ...] = (1, 4)
    ticks: int = 300
    training: tuple[int, ...] = (12, 64, 256)
    training_steps: int = 30
    profiled: tuple[str, ...] = PRECISIONS_TIMED


FEW = Sizes((1, 3), 8, 6, 4, (3, 4), (2,), 6, (2,), 1, ("float32",))
WARM_UP = 20  # ticks


@dataclass
class Card:
    """The device, what is run on it, and what was wrong. Rows are stored as they are found."""

    device: torch.device
    weights: Weights
    sizes: Sizes
    results: Path
    stage: str = ""
    wrong: list[str] = field(default_factory=list)

    @property
    def cuda(self) -> bool:
        """Whether there is a card."""
        return self.device.type == "cuda"

    @cached_property
    def reference(self) -> Any:
        """The network that is right: plain torch on the CPU."""
        from rtsr.backend.eager import EagerBackend

        return EagerBackend(self.weights)

    def model(self, precision: str, kernels: bool = True) -> GraphBackend:
        """Open the graph backend: with Triton's kernels where it has them here, or its torch form."""
        model = GraphBackend(self.weights, str(self.device), precision, None if kernels else False)
        model.name += "" if model.fused else " in torch"
        return model

    def seconds(self, work: Callable[[], Any], repeats: int = 20) -> float:
        """Median seconds of work on the device, by events on a card and by the clock elsewhere."""
        times = []
        for _ in range(repeats + 3):
            if self.cuda:
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record()
                work()
                end.record()
                end.synchronize()
                times.append(begin.elapsed_time(end) / 1000)
            else:
                began = time.perf_counter()
                work()
                times.append(time.perf_counter() - began)
        return float(np.median(times[3:]))

    def note(self, key: str, watch: dict[str, float], **more: Any) -> None:
        """Print a line and store it."""
        print(f"  {key}: " + ", ".join(f"{n} {v:.4g}" for n, v in {**watch, **more}.items() if isinstance(v, float)))
        store(self.results, NAME, [{"key": f"card, {key}", "stage": self.stage, "watch": watch, **more}])

    def check(self, what: str, error: float, bound: float) -> None:
        """Print and store an error; it is wrong where it is beyond its bound or NaN."""
        good = error <= bound
        print(f"  {'ok   ' if good else 'WRONG'} {what}: {error:.2e} (at most {bound:.0e})")
        if not good:
            self.wrong.append(what)
        row = {"key": f"card, check, {what}", "stage": self.stage, "watch": {}, "good": good, "bound": bound}
        store(self.results, NAME, [{**row, "error": error if np.isfinite(error) else None}])

    @cached_property
    def ceilings(self) -> dict[str, float]:
        """Bytes a second that a copy reads and writes, and operations a second of products of random numbers."""
        size = 2**29 if self.cuda else 2**16
        buffers = torch.randn(2, size, device=self.device)
        found = {"bytes": 8 * size / self.seconds(lambda: buffers[0].copy_(buffers[1]))}
        n = 8192 if self.cuda else 64
        for name, dtype in PRECISIONS.items():
            a, b = (torch.randn(n, n, device=self.device).to(dtype) for _ in range(2))
            torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
            found[name] = 2.0 * n**3 / self.seconds(lambda a=a, b=b: a @ b, 5)
        torch.backends.cuda.matmul.allow_tf32 = False
        return found
