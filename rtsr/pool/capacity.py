"""How many streams a machine carries: pools that grow until a tick takes longer than a hop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..backend import GPU_BACKENDS, Backend
from ..errors import BackendFailed
from .pool import Pool
from .slots import buckets

RATE_IN = 8_000
WARM_UP_TICKS = 20
LEAST_TICKS = 60
SKIPPED = (2, 4)  # batch sizes that say little
MOST = {False: 512, True: 65_536}  # streams that are tried: on a CPU, on a GPU
SHARE = 0.8  # of what was carried flat out: calls come with a platform around them


@dataclass(frozen=True, slots=True)
class Point:
    """One number of streams: percentiles in ms of pushing a hop of all of them and ticking."""

    rows: int
    p50_ms: float
    p99_ms: float


def counts(most: int) -> list[int]:
    """Return the numbers of streams to try: those that a pool runs, without the smallest."""
    return [size for size in buckets(most) if size not in SKIPPED or size == most]


def measure(model: Backend, rows: int, threads: int = 1, seconds: float = 0.5) -> Point:
    """Tick a full pool of `rows` flat out for `seconds`, at least 80 ticks, of which the first 20 do not count."""
    with Pool(model, rows, threads) as pool:
        open_rows = np.array([pool.open(RATE_IN, cutoff=model.spec.cutoff_max_hz / 2) for _ in range(rows)], np.int64)
        said = 0.1 * np.random.default_rng(rows).standard_normal((rows, pool.spec.hop_at(RATE_IN)), np.float32)
        times: list[float] = []
        ends = time.perf_counter() + seconds
        while len(times) < LEAST_TICKS + WARM_UP_TICKS or time.perf_counter() < ends:
            began = time.perf_counter()
            pool.push_hops(open_rows, said)
            pool.tick()
            times.append(time.perf_counter() - began)
    p50, p99 = np.percentile(times[WARM_UP_TICKS:], (50, 99)) * 1000
    return Point(rows, float(p50), float(p99))


def search(
    model: Backend,
    threads: int = 1,
    most: int | None = None,
    seconds: float = 0.5,
    progress: Callable[[], None] = lambda: None,
) -> list[Point]:
    """Measure growing pools until p99 reaches a hop, then twice between the last two; sorted by rows."""
    points: list[Point] = []
    good, bad = 0, 0

    def carries(rows: int) -> bool:
        point = measure(model, rows, threads, seconds)
        if point.p99_ms >= model.spec.hop_ms:  # once more and for longer: a passing disturbance is not the limit
            point = measure(model, rows, threads, 2 * seconds)
        points.append(point)
        progress()
        return point.p99_ms < model.spec.hop_ms

    for rows in counts(most or MOST[model.name in GPU_BACKENDS]):
        if not carries(rows):
            bad = rows
            break
        good = rows
    for _ in range(2):
        if bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if carries(middle) else (good, middle)
    return sorted(points, key=lambda point: point.rows)


def carried(points: list[Point], deadline_ms: float) -> int:
    """Return the most rows of which p99 stays under the deadline, with every smaller number too; 0 if none does."""
    fits = 0
    for point in points:
        if point.p99_ms >= deadline_ms:
            break
        fits = point.rows
    return fits


def admission_limit(model: Backend, threads: int = 1, most: int | None = None) -> int:
    """Measure for a few seconds how many streams to admit to a `Pool` of this model and as many threads: its `limit`.

    It is four fifths of what was carried flat out, at least one. Raises `BackendFailed` where not one was.
    """
    points = search(model, threads, most, seconds=0.1)
    most_carried = carried(points, model.spec.hop_ms)
    if not most_carried:
        raise BackendFailed(
            f"{model.name} takes {points[0].p99_ms:.1f} ms (p99) for one stream's hop of {model.spec.hop_ms:.0f} ms: "
            "use a faster backend or machine, or fewer other programs on it"
        )
    return max(1, int(SHARE * most_carried))
