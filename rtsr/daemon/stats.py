"""The state and counters of a live path as plain numbers and names: for `rtsr ctl stats`, the view and metrics."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..dsp.level import level_db
from ..dsp.windows import FloatArray
from ..io import layout as at
from ..io.device import Host, Plan
from ..io.ring import IntArray
from .native_worker import NativeWorker
from .worker import PERCENTILES, Worker

SPECTRUM = 1024
BANDS = 24
FLOOR_DB = -100.0


def bands_db(cells: FloatArray, last: int) -> list[float]:
    """Return the level in equal bands from 0 Hz to half the rate, of the samples of a circular memory up to `last`."""
    places = np.arange(last - SPECTRUM, last) % len(cells)
    bins = np.fft.rfft(cells[places] * np.hanning(SPECTRUM))[: SPECTRUM // 2]
    edges = np.linspace(0, SPECTRUM // 2, BANDS + 1).astype(int)
    power = np.add.reduceat(np.abs(bins) ** 2, edges[:-1]) / (SPECTRUM / 4) ** 2
    return [round(float(max(10 * np.log10(p + 1e-12), FLOOR_DB)), 1) for p in power]


def count_underruns(head: IntArray) -> tuple[int, int]:
    """Return how often the ring and the devices of a shared block with this head ran dry."""
    return int(head[at.WORKER_UNDERRUNS] + head[at.INPUT_UNDERRUNS]), int(head[at.CAPTURE_XRUNS] + head[at.PLAY_XRUNS])


def gather(
    worker: Worker | NativeWorker, host: Host, plan: Plan | None, *, flows: bool, began: float, reconnects: int
) -> dict[str, Any]:
    """Return everything; reads what other threads write, so the numbers are of about the same moment."""
    shared = worker.shared
    head, rate = shared.head, shared.rate
    report = worker.report()
    device_in, device_out = (1000 * s for s in host.latency_s)
    ring = 1000 * max(0, shared.ready) / rate
    return {
        "model": report.model,
        "backend": report.backend,
        "worker": worker.kind,
        "host": host.name,
        "rate_hz": rate,
        "input": plan.source.name if plan else None,
        "output": plan.sink.name if plan else None,
        "uptime_s": round(time.monotonic() - began, 1),
        "bypass": worker.wishes.bypass,
        "mute": worker.wishes.mute,
        "gain_db": worker.wishes.gain_db,
        "cutoff_hz": report.cutoff_hz,
        "asleep": report.asleep,
        "delivers": flows and not report.resting,
        "plain": not head[at.FLOWING] or report.resting,
        "input_db": level_db(float(shared.levels[at.PEAK_IN])),
        "output_db": level_db(float(shared.levels[at.PEAK_OUT])),
        "latency_ms": {
            "device": round(device_in + device_out, 2),
            "ring": round(ring, 2),
            "algorithm": round(1000 * worker.latency / rate, 2),
            "total": round(device_in + device_out + ring + 1000 * worker.latency / rate, 2),
        },
        "compute_ms": {f"p{p}": round(ms, 3) for p, ms in zip(PERCENTILES, report.compute_ms, strict=True)},
        "hops": report.hops,
        "late_hops": report.late,
        "worker_underruns": int(head[at.WORKER_UNDERRUNS]),
        "input_underruns": int(head[at.INPUT_UNDERRUNS]),
        "device_xruns": count_underruns(head)[1],
        "overloads": report.overloads,
        "reconnects": reconnects,
        "lost_samples": report.lost,
        "trimmed_samples": int(head[at.TRIMMED]),
        "drift_ppm": round(report.drift_ppm, 1),
        "cpu_s": round(time.process_time(), 2),
        "before_db": bands_db(shared.input_ring, int(head[at.HEARD])),
        "after_db": bands_db(shared.output_ring, int(head[at.MADE])),
    }
