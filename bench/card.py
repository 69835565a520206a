"""The device of `bench.gpu`: its clock, its measured ceilings, and the rows and errors found on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rtsr.backend.graph import PRECISIONS
from rtsr.bench.record import Row

RESULTS = Path(__file__).parent / "results"


class Card:
    """The device, its ceilings as measured, and the rows to store."""

    def __init__(self, device: str, rows: list[int], fuse: bool) -> None:
        self.device, self.rows, self.fuse = torch.device(device), rows, fuse
        self.cuda = self.device.type == "cuda"
        self.found: list[Row] = []
        self.wrong: list[str] = []
        self.bandwidth = float("nan")  # bytes a second, as measured
        self.rates: dict[str, float] = {}  # operations a second of a matrix product, by precision

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
        """Print a line and keep it for the results."""
        print(f"  {key}: " + ", ".join(f"{n} {v:.4g}" for n, v in {**watch, **more}.items() if isinstance(v, float)))
        self.found.append({"key": f"gpu, {key}", "watch": watch, **more})

    def check(self, what: str, error: float, bound: float) -> None:
        """Print an error and remember it where it is beyond its bound or NaN."""
        good = error <= bound
        print(f"  {'ok   ' if good else 'WRONG'} {what}: {error:.2e} (at most {bound:.0e})")
        if not good:
            self.wrong.append(what)


def ceilings(card: Card) -> None:
    """Measure the copy bandwidth (bytes read and written) and matrix rates on random numbers."""
    size = 2**29 if card.cuda else 2**22
    buffers = torch.randn(2, size, device=card.device)
    card.bandwidth = 8 * size / card.seconds(lambda: buffers[0].copy_(buffers[1]))
    n = 8192 if card.cuda else 256
    for name, dtype in PRECISIONS.items():
        a, b = (torch.randn(n, n, device=card.device).to(dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        card.rates[name] = 2.0 * n**3 / card.seconds(lambda a=a, b=b: a @ b, 5)
    torch.backends.cuda.matmul.allow_tf32 = False
    card.note("ceilings", {}, bytes_per_s=card.bandwidth, **{f"flop_per_s_{n}": r for n, r in card.rates.items()})
