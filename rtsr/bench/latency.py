"""How long one hop of one stream takes, stage by stage: flat out, at a call's pace, and beside busy processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import Backend
from ..dsp.windows import FloatArray
from ..io.reblock import Reblock
from ..stream import Stream
from .record import Row, begun, cores
from .signal import hops

RATE_IN = 8_000
WARM_UP_HOPS = 200
STAGES = {  # of a stream's path, and which stage of the budget each belongs to
    "dry_resampler": "resample",
    "wet_resampler": "resample",
    "frames": "frame",
    "tracker": "frame",
    "structure": "fine structure",
    "overlap": "overlap-add",
}
MODES = ("flat out", "paced", "paced, CPU loaded")

Times = NDArray[np.float64]


class Timed:
    """Stands in for a part of a stream and adds the time of its work to `spent`, in seconds."""

    def __init__(self, part: Any, method: str) -> None:
        self.spent = 0.0
        self._part, work = part, getattr(part, method)

        def timed(*args: Any) -> Any:
            began = time.perf_counter()
            result = work(*args)
            self.spent += time.perf_counter() - began
            return result

        setattr(self, method, timed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


@dataclass(frozen=True, slots=True)
class Measured:
    """The times of one run in seconds: every hop's (hops,), and every stage's of every hop (hops, stages)."""

    whole: Times
    stages: dict[str, Times]


def measure(model: Backend, seconds: float, mode: str, rate_out: int | None = None) -> Measured:
    """Stream `seconds` of a voice through a model and time every hop. Modes are those in `MODES`."""
    stream = Stream(model, RATE_IN, rate_out)
    said = hops(seconds, RATE_IN, stream.hop)
    out = np.zeros(stream.hop_out, np.float32)
    for hop in said[:WARM_UP_HOPS]:
        stream.process(hop, out)
    parts: list[tuple[Any, str, str, str]] = [(stream, "model", "step", "network")]
    parts += [(stream.path, name, "push", stage) for name, stage in STAGES.items() if getattr(stream.path, name)]
    timers = [Timed(getattr(owner, name), method) for owner, name, method, _ in parts]
    with busy(cores() if mode == MODES[2] else 0):
        whole, _ = _run(stream, said, out, mode != MODES[0], [])
        for (owner, name, *_), timer in zip(parts, timers, strict=True):
            setattr(owner, name, timer)
        # a run of its own, as looking at every stage takes time
        total, each = _run(stream, said[: len(said) // 2], out, mode != MODES[0], timers)
    stages = {stage: np.zeros(len(total)) for *_, stage in parts}
    for column, (*_, stage) in zip(each.T, parts, strict=True):
        stages[stage] += column
    stages["mix and copy"] = total - each.sum(axis=1)
    return Measured(whole, stages)


def _run(stream: Stream, said: FloatArray, out: FloatArray, paced: bool, timers: list[Timed]) -> tuple[Times, Times]:
    """Give every hop to the stream, no earlier than a speaker would if `paced`.

    Returns seconds of every hop, (hops,), and of what each timer saw of it, (hops, timers).
    """
    hop_s = stream.spec.hop_ms / 1000
    times, spent = np.zeros(len(said)), np.zeros((len(said), len(timers)))
    started = time.perf_counter()
    for i, hop in enumerate(said):
        if paced:
            time.sleep(max(0.0, started + i * hop_s - time.perf_counter()))
        began = time.perf_counter()
        stream.process(hop, out)
        times[i] = time.perf_counter() - began
        spent[i] = [timer.spent for timer in timers]
    return times, np.diff(spent, axis=0, prepend=0.0)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` processes computing for as long as it lasts."""
    neighbours = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(count)]
    for neighbour in neighbours:
        neighbour.start()
    if neighbours:
        time.sleep(0.5)  # until they are there
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.join()


def _spin() -> None:
    while True:
        sum(range(100_000))


def rows(
    models: list[Backend], seconds: float, loaded: bool = True, progress: Callable[[], None] = lambda: None
) -> tuple[list[Row], dict[str, Times]]:
    """Measure every model in every mode; returns a row each, and the hops' times in ms by backend and mode."""
    found, times = [], {}
    for model in models:
        for mode in MODES if loaded else MODES[:2]:
            measured = measure(model, seconds, mode)
            found.append(row(model, mode, measured))
            times[f"{model.name}, {mode}"] = 1000 * measured.whole
            progress()
    return found, times


def row(model: Backend, mode: str, measured: Measured) -> Row:
    """Return what is stored of a run."""
    spec, ms = model.spec, 1000 * measured.whole
    p50, p99, p999 = (float(p) for p in np.percentile(ms, (50, 99, 99.9)))
    return {
        **begun("latency", model.model, model.name, mode, f"{RATE_IN} to {spec.rate} Hz", p50_ms=p50),
        "mode": mode,
        "rates": [RATE_IN, spec.rate],
        "hops": len(ms),
        "hop_ms": spec.hop_ms,
        "algorithmic_ms": 1000 * spec.latency / spec.rate,
        "buffers_ms": Reblock(model, RATE_IN).latency_ms - 1000 * spec.latency / spec.rate,
        "real_time_factor": float(ms.sum() / (len(ms) * spec.hop_ms)),
        "p50_ms": p50,
        "p99_ms": p99,
        "p999_ms": p999,
        "max_ms": float(ms.max()),
        "late": int((ms > spec.hop_ms).sum()),
        "stages_p50_ms": {name: 1000 * float(np.median(t)) for name, t in measured.stages.items()},
    }
