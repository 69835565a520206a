"""`python -m bench.native`: the native backend in each of its precisions, and ONNX Runtime, in turns.

Taking turns is what makes the comparison fair on a machine that others use: whatever slows one slows the other. A turn
is long enough that each finds its weights in the cache, as it would alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rtsr import Backend, Stream, load
from rtsr.bench.record import store
from rtsr.bench.signal import voice
from rtsr.dsp.frames import Frames

RESULTS = Path(__file__).parent / "results"
RATE_IN = 8_000
BACKENDS = ("native", "native-int8", "native-float32", "ort")
ROWS = (1, 8, 16, 32)
TURN = 50  # hops
WARM_UP_TURNS = 4
CUTOFF_HZ = RATE_IN / 2

Act = Callable[[np.ndarray], object]


def whole_hop(model: Backend) -> Act:
    """Return what a stream does with a hop: framing, network, fine structure, overlap-add and resampling."""
    stream = Stream(model, RATE_IN, cutoff=CUTOFF_HZ)
    out = np.zeros(stream.hop_out, np.float32)
    return lambda hop: stream.process(hop, out)


def network_step(model: Backend, rows: int) -> Act:
    """Return the backend's part of it alone, for as many voices."""
    state, out = model.new_state(rows), np.zeros((rows, model.spec.bands), np.float32)
    cutoff = np.full(rows, CUTOFF_HZ, np.float32)
    return lambda spectrum: model.step(np.repeat(spectrum, rows, 0), cutoff, state, out)


def in_turns(acts: list[Act], inputs: np.ndarray) -> np.ndarray:
    """Return the seconds that each act took for each input, (acts, inputs)."""
    times = np.empty((len(acts), len(inputs)))
    for start in range(0, len(inputs), TURN):
        for which, act in enumerate(acts):
            for i in range(start, min(start + TURN, len(inputs))):
                began = time.perf_counter()
                act(inputs[i])
                times[which, i] = time.perf_counter() - began
    return times[:, WARM_UP_TURNS * TURN :]


def summary(model: str, what: str, times: np.ndarray, hop_ms: float) -> dict[str, object]:
    """Return one row: percentiles of each, and how long each took of native's time, the median over pairs of turns."""
    row: dict[str, object] = {"model": model, "what": what, "hops": times.shape[1], "hop_ms": hop_ms}
    for backend, each in zip(BACKENDS, 1000 * times, strict=True):
        row |= {f"{backend}_p{p}_ms": float(np.percentile(each, float(p))) for p in ("50", "99", "99.9")}
        row[f"{backend}_real_time_factor"] = float(each.mean() / hop_ms)
    turns = times[:, : times.shape[1] // TURN * TURN].reshape(len(BACKENDS), -1, TURN).sum(2)
    for backend, each in zip(BACKENDS[1:], turns[1:], strict=True):
        row[f"{backend}_of_native"] = float(np.median(each / turns[0]))
    return row


def measure(model: str, seconds: float) -> list[dict[str, object]]:
    """Return a row for the network's step of some voices each, and one for the whole hop."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    opened = [load(model, backend) for backend in BACKENDS]
    spec = opened[0].spec
    hop, frames = spec.hop_at(RATE_IN), Frames(spec, RATE_IN)
    hops = voice(seconds, RATE_IN)[: int(seconds * RATE_IN) // hop * hop].reshape(-1, hop)
    spectra = np.stack([frames.push(h[None]).copy() for h in hops])
    hop_row = summary(model, "whole hop in Python", in_turns([whole_hop(m) for m in opened], hops), spec.hop_ms)
    steps = {rows: in_turns([network_step(m, rows) for m in opened], spectra) for rows in ROWS}
    return [hop_row, *(summary(model, f"network step of {n}", times, spec.hop_ms) for n, times in steps.items())]


def main(
    model: Annotated[str, typer.Option(help="A model's name or manifest.")] = "voice-16k",
    seconds: Annotated[float, typer.Option(help="Audio to stream through both.")] = 30.0,
    save: Annotated[bool, typer.Option(help="Append the rows to bench/results.")] = True,
) -> None:
    """Compare the precisions of the native backend, and ONNX Runtime, on one core.

    Example:

        python -m bench.native --seconds 10 --no-save
    """
    rows = measure(model, seconds)
    for row in rows:
        print(*(f"{name}={v:.4f}" if isinstance(v, float) else f"{name}={v}" for name, v in row.items()))
    if save:
        store(RESULTS, "native", rows)


if __name__ == "__main__":
    typer.run(main)
