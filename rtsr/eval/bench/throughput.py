"""How many voices a machine carries: batches that grow until a tick takes longer than a hop."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from ...backend import GPU_BACKENDS, Backend
from ...pool import Pool
from ...seats import buckets
from .record import Row
from .signal import hops

RATE_IN = 8_000
WARM_UP_TICKS = 20
LEAST_TICKS = 60
SKIPPED = (2, 4)
MOST = {False: 512, True: 65_536}  # voices that are tried: on a CPU, on a GPU
RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


@dataclass(frozen=True, slots=True)
class Point:
    """One batch size: percentiles of pushing to and ticking all rows, in ms, and what else it took."""

    rows: int
    p50_ms: float
    p99_ms: float
    watts: float | None = None


def ladder(most: int) -> list[int]:
    """Return the batch sizes to try: those that the pool runs, without the smallest, which say little."""
    return [size for size in buckets(most) if size not in SKIPPED or size == most]


def measure(model: Backend, rows: int, threads: int, seconds: float) -> Point:
    """Tick a full pool of `rows` flat out for `seconds`, at least 60 ticks; pushing is part of the time."""
    with Pool(model, rows, threads) as pool:
        open_rows = np.array([pool.open(RATE_IN, cutoff=4000.0) for _ in range(rows)], np.int64)
        spoken = hops(1.0, RATE_IN, pool.spec.hop_at(RATE_IN))
        offsets = np.random.default_rng(rows).integers(len(spoken), size=rows)
        times: list[float] = []
        meter = Meter()
        ends = time.perf_counter() + seconds
        while len(times) < LEAST_TICKS + WARM_UP_TICKS or time.perf_counter() < ends:
            said = spoken[(offsets + len(times)) % len(spoken)]
            began = time.perf_counter()
            pool.push_hops(open_rows, said)
            pool.tick()
            times.append(time.perf_counter() - began)
        watts = gpu_watts() if model.name in GPU_BACKENDS else meter.watts()
    p50, p99 = np.percentile(times[WARM_UP_TICKS:], (50, 99)) * 1000
    return Point(rows, float(p50), float(p99), watts)


def climb(
    model: Backend,
    threads: int,
    most: int,
    seconds: float = 0.5,
    progress: Callable[[Point], None] = lambda point: None,
) -> list[Point]:
    """Measure growing batches until p99 reaches a hop, then twice between the last two; sorted by rows."""
    points: list[Point] = []
    deadline = model.spec.hop_ms

    def at(rows: int) -> Point:
        point = measure(model, rows, threads, seconds)
        if point.p99_ms >= deadline:  # once more and for longer, as a passing disturbance is not the machine's limit
            point = measure(model, rows, threads, 2 * seconds)
        points.append(point)
        progress(point)
        return point

    good, bad = 0, 0
    for rows in ladder(most):
        if at(rows).p99_ms >= deadline:
            bad = rows
            break
        good = rows
    for _ in range(2):
        if bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if at(middle).p99_ms < deadline else (good, middle)
    return sorted(points, key=lambda p: p.rows)


def capacity(points: list[Point], deadline_ms: float) -> int:
    """Return the most rows of which p99 stays under the deadline, with every smaller batch too; 0 if none does."""
    fits = 0
    for point in points:
        if point.p99_ms >= deadline_ms:
            break
        fits = point.rows
    return fits


def row(model: Backend, threads: int, points: list[Point]) -> Row:
    """Return what is stored of a climb."""
    hop_ms = model.spec.hop_ms
    carried = capacity(points, hop_ms)
    best = next((p for p in points if p.rows == carried), points[0])
    per_row = 1000 * best.p50_ms / best.rows
    return {
        "key": f"throughput, {model.model}, {model.name}, {threads} threads",
        "watch": {"us_per_row": per_row},
        "model": model.model,
        "backend": model.name,
        "threads": threads,
        "deadline_ms": hop_ms,
        "capacity": carried,
        "us_per_row": per_row,
        "us_alone": 1000 * points[0].p50_ms / points[0].rows,
        "audio_s_per_s": best.rows * hop_ms / best.p50_ms,
        "audio_s_per_joule": best.rows * hop_ms / best.p50_ms / best.watts if best.watts else None,
        "points": [[p.rows, p.p50_ms, p.p99_ms] for p in points],
    }


def memory_per_row(model: Backend, rows: int = 256) -> int:
    """Return the resident bytes that an open and running voice adds, from a pool of `rows`."""
    before = _resident()
    with Pool(model, rows) as pool:
        open_rows = np.array([pool.open(RATE_IN) for _ in range(rows)], np.int64)
        said = np.tile(hops(0.1, RATE_IN, pool.spec.hop_at(RATE_IN))[:1], (rows, 1))
        for _ in range(3):
            pool.push_hops(open_rows, said)
            pool.tick()
        return max(0, _resident() - before) // rows


def _resident() -> int:
    """Return the bytes that this process has in memory; 0 where /proc does not tell."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * 4096 if path.exists() else 0


class Meter:
    """Mean power of the processor in W since it was made, where Linux tells."""

    def __init__(self) -> None:
        self._began, self._energy = time.perf_counter(), _energy_uj()

    def watts(self) -> float | None:
        """Return the mean power, or None where nothing tells."""
        energy = _energy_uj()
        if energy is None or self._energy is None or energy < self._energy:
            return None
        return (energy - self._energy) / 1e6 / (time.perf_counter() - self._began)


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
