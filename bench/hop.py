"""How long one hop takes: framing, network, overlap-add and resampling of one stream on one core."""

from __future__ import annotations

import os
import time

import numpy as np
from rich.progress import track

from rtsr import Stream, load
from rtsr.backend import installed

RATE_IN = 8_000
WARM_UP_HOPS = 200


def voice(seconds: float, rate: int) -> np.ndarray:
    """Return something with a voice's harmonics, level and pauses; float32."""
    rng = np.random.default_rng(1)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(3 * t)) / rate
    harmonics = sum(np.sin(k * pitch) / k for k in range(1, 25))
    pauses = np.sin(2 * np.pi * 0.7 * t) > -0.5
    return ((0.1 * harmonics + 0.01 * rng.standard_normal(len(t))) * pauses).astype(np.float32)


def measure(model: str, seconds: float) -> list[dict[str, object]]:
    """Return one row a backend that is installed: real-time factor and percentiles of a hop's time in ms."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        return [_measure_one(model, backend, seconds) for backend in installed()]
    finally:
        os.sched_setaffinity(0, cores)


def _measure_one(model: str, backend: str, seconds: float) -> dict[str, object]:
    stream = Stream(load(model, backend), RATE_IN)
    hops = voice(seconds, RATE_IN)[: int(seconds * RATE_IN) // stream.hop * stream.hop].reshape(-1, stream.hop)
    out = np.zeros(stream.hop_out, np.float32)
    for hop in hops[:WARM_UP_HOPS]:
        stream.process(hop, out)
    times = np.empty(len(hops))
    for i, hop in enumerate(track(hops, description=f"{backend} ", transient=True)):
        began = time.perf_counter()
        stream.process(hop, out)
        times[i] = time.perf_counter() - began
    p50, p99, p999 = np.percentile(times, (50, 99, 99.9)) * 1000
    return {
        "model": model,
        "backend": backend,
        "rates": [RATE_IN, stream.rate_out],
        "hops": len(hops),
        "hop_ms": stream.spec.hop_ms,
        "real_time_factor": float(times.sum() / (len(hops) * stream.spec.hop_ms / 1000)),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "p999_ms": float(p999),
        "max_ms": float(times.max() * 1000),
    }
