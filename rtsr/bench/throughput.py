"""What many streams cost: a capacity search, with memory and power beside it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from statistics import median

import numpy as np

from ..backend import GPU_BACKENDS, Backend
from ..pool import Pool
from ..pool.capacity import RATE_IN, Point, carried, measure
from .record import Row, begun
from .signal import hops

RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def row(model: Backend, threads: int, points: list[Point]) -> Row:
    """Return what is stored of a capacity search."""
    hop_ms = model.spec.hop_ms
    most = carried(points, hop_ms)
    best = next((p for p in points if p.rows == most), points[0])
    watts = power(model, best.rows, threads)
    per_row = 1000 * best.p50_ms / best.rows
    return {
        **begun("throughput", model.model, model.name, f"{threads} threads", us_per_row=per_row),
        "threads": threads,
        "deadline_ms": hop_ms,
        "capacity": most,
        "us_per_row": per_row,
        "us_alone": 1000 * points[0].p50_ms / points[0].rows,
        "audio_s_per_s": best.rows * hop_ms / best.p50_ms,
        "watts": watts,
        "audio_s_per_joule": best.rows * hop_ms / best.p50_ms / watts if watts else None,
        "points": [[p.rows, p.p50_ms, p.p99_ms] for p in points],
    }


def memory_per_row(model: Backend, rows: int = 256) -> int:
    """Return the resident bytes that an open and running stream adds, from a pool of `rows`."""
    before = _resident()
    with Pool(model, rows) as pool:
        open_rows = np.array([pool.open(RATE_IN) for _ in range(rows)], np.int64)
        said = np.tile(hops(0.1, RATE_IN, pool.spec.hop_at(RATE_IN))[:1], (rows, 1))
        for _ in range(3):
            pool.push_hops(open_rows, said)
            pool.tick()
        return max(0, _resident() - before) // rows


def _resident() -> int:
    """Return the bytes that this process has in memory; 0 without /proc."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * 4096 if path.exists() else 0


def power(model: Backend, rows: int, threads: int) -> float | None:
    """Return the W drawn while so many streams run flat out, by processor or card; None where it cannot be read."""
    began, before = time.perf_counter(), _energy_uj()
    if model.name not in GPU_BACKENDS and before is None:
        return None
    measure(model, rows, threads, 1.0)
    after, seconds = _energy_uj(), time.perf_counter() - began
    if model.name in GPU_BACKENDS:
        return gpu_watts()
    return (after - before) / 1e6 / seconds if after is not None and before is not None and after > before else None


def _energy_uj() -> int | None:
    try:
        return int(RAPL.read_text())
    except OSError:  # not Intel's or AMD's, a virtual machine, or not for this user
        return None


def gpu_watts() -> float | None:
    """Return what the cards' driver says that they draw now, in W; None without one."""
    command = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    draws = [float(line) for line in found.stdout.split() if line.replace(".", "", 1).isdigit()]
    return median(draws) if draws else None
