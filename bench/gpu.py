"""`python -m bench.gpu`: verify and time everything that runs on a GPU, in one call on a machine that has one.

In this order, as a fast wrong answer is worth nothing: the card's measured ceilings; every precision against plain
torch on the CPU, masks and outputs filled with NaN included; a pool on the card against streams on the CPU; one
stream, host to host; many streams until a tick takes longer than a hop, beside the least time that bytes and
operations take; the parts of a tick's time. Exits with 1 where a number is wrong. `--device cpu` runs all of it, small,
without a card.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from bench.card import RESULTS, Card, ceilings
from rtsr import Pool, Stream, load
from rtsr.backend.graph import PRECISIONS, GraphBackend
from rtsr.backend.replays import Replays
from rtsr.bench.record import store
from rtsr.bench.signal import hops, voice
from rtsr.bench.throughput import gpu_watts
from rtsr.errors import RtsrError
from rtsr.net.weights import Weights
from rtsr.pool.device_batch import DeviceBatch

RATE_IN, RATE_OUT = 8_000, 16_000
BOUNDS = {"float32": 1e-4, "tf32": 1e-2, "float16": 1e-2, "bfloat16": 6e-2}  # of ‖out - reference‖ / ‖reference‖
TIMED_TICKS, WARM_UP = 300, 20


def step_error(model: GraphBackend, reference: Any, rows: int) -> float:
    """Relative error of 40 steps with random cutoffs, pauses and new streams, into outputs filled with NaN."""
    rng = np.random.default_rng(rows)
    spec, size = model.spec, model.spec.bins_in
    states = [m.new_state(rows) for m in (model, reference)]
    difference = norm = 0.0
    for _ in range(40):
        spectrum = (10.0 ** rng.uniform(-3, 1, (rows, 1, 1)) * rng.standard_normal((rows, size, 2))).astype(np.float32)
        cutoff = rng.uniform(spec.cutoff_min_hz, spec.cutoff_max_hz, rows).astype(np.float32)
        active = rng.random(rows) < 0.8
        outs = [np.full((rows, spec.bands), np.nan, np.float32) for _ in states]
        for m, state, out in zip((model, reference), states, outs, strict=True):
            m.step(spectrum, cutoff, state, out, active)
        difference += float(np.square(outs[0] - outs[1]).sum())
        norm += float(np.square(outs[1]).sum())
        if outs[0][~active].any():
            return float("nan")
    return (difference / norm) ** 0.5


def pool_error(model: GraphBackend, reference: Any, rows: int, threads: int) -> float:
    """Largest difference of any sample between a pool on the device and streams on the CPU, rows leaving between."""
    streams: dict[int, Stream] = {}
    rng, worst = np.random.default_rng(1), 0.0
    with Pool(model, rows, threads) as pool:
        said = voice(2.0, RATE_IN)
        for tick in range(60):
            while len(pool) < rows:
                cutoff = float(rng.uniform(1500, 3500)) if rng.random() < 0.7 else "auto"
                streams[pool.open(RATE_IN, RATE_OUT, cutoff=cutoff)] = Stream(reference, RATE_IN, cutoff=cutoff)
            if tick % 7 == 6:
                gone = int(rng.choice(list(streams)))
                pool.close(gone)
                del streams[gone]
            speaking = [row for row in streams if rng.random() < 0.9]
            blocks = {row: said[int(rng.integers(len(said) - 40)) :][:40] for row in speaking}
            for row, block in blocks.items():
                pool.push(row, block)
            outputs = pool.tick()
            for row, block in blocks.items():
                worst = max(worst, float(np.abs(outputs[row] - streams[row].process(block)).max()))
    return worst


def opened(card: Card, weights: Weights, precision: str) -> GraphBackend:
    """Open the graph backend; with --fuse its torch form, through torch.compile, in place of kernels."""
    model = GraphBackend(weights, str(card.device), precision, False if card.fuse else None)
    if card.fuse:
        model.name += "-fused"
        model.net.forward = torch.compile(model.net.forward, dynamic=True)  # type: ignore[method-assign]
    return model


def verify(card: Card, weights: Weights, reference: Any) -> None:
    """Compare every precision with plain torch on the CPU, then the pool with streams."""
    for precision, bound in BOUNDS.items():
        model = opened(card, weights, precision)
        for rows in (1, 7, 64):
            card.check(f"{model.name} against eager, {rows} rows", step_error(model, reference, rows), bound)
    exact = opened(card, weights, "float32")
    card.check("pool on the device against streams", pool_error(exact, reference, 12, 1), 1e-5)
    card.check("the same in three shards", pool_error(exact, reference, 12, 3), 1e-5)


def percentiles(times: list[float]) -> dict[str, float]:
    """Name the percentiles of seconds in ms."""
    return dict(
        zip(("p50_ms", "p99_ms", "p999_ms"), map(float, np.percentile(times, (50, 99, 99.9)) * 1000), strict=True)
    )


def one_stream(card: Card, models: list[Any]) -> None:
    """Time one stream's hop from host to host: in a stream, and where the whole path runs there, alone in a pool."""
    for model in models:
        stream = Stream(model, RATE_IN, cutoff=4000.0)
        said, out, times = hops(4.0, RATE_IN, stream.hop), np.zeros(stream.hop_out, np.float32), []
        for hop in said:
            began = time.perf_counter()
            stream.process(hop, out)
            times.append(time.perf_counter() - began)
        found = percentiles(times[100:])
        card.note(f"one stream, {model.name}", {"p50_ms": found["p50_ms"]}, **found)
        if isinstance(model, GraphBackend):
            found = percentiles(ticks(model, 1, 1, 800)[0])
            card.note(f"one voice in a pool, {model.name}", {"p50_ms": found["p50_ms"]}, **found)


def ticks(model: Any, rows: int, threads: int, count: int) -> tuple[list[float], list[float], float | None]:
    """Seconds of ticks of a full pool, and of pushing hops before and taking them after; and the watts meanwhile."""
    with Pool(model, rows, threads) as pool, ThreadPoolExecutor(1) as aside:
        row_of = np.array([pool.open(RATE_IN, RATE_OUT, cutoff=4000.0) for _ in range(rows)], np.int64)
        spoken = hops(1.0, RATE_IN, pool.spec.hop_at(RATE_IN))
        offsets = np.random.default_rng(0).integers(len(spoken), size=rows)
        out, moved = np.zeros((rows, pool.spec.hop_at(RATE_OUT)), np.float32), np.zeros(rows, np.bool_)
        tick_s, move_s = [], []
        watts = aside.submit(gpu_watts)
        for i in range(count + WARM_UP):
            said = spoken[(offsets + i) % len(spoken)]
            began = time.perf_counter()
            pool.push_hops(row_of, said)
            pushed = time.perf_counter()
            pool.tick()
            ticked = time.perf_counter()
            pool.take_hops(row_of, out, moved)
            tick_s.append(ticked - pushed)
            move_s.append(time.perf_counter() - ticked + pushed - began)
        if not moved.all() or not np.isfinite(out).all():
            raise RtsrError(f"{rows} rows on {model.name}: not every row gave a finite hop")
        return tick_s[WARM_UP:], move_s[WARM_UP:], watts.result()


def floor_s(card: Card, model: GraphBackend, weights: Weights, rows: int) -> tuple[float, float]:
    """The least seconds of a tick: bytes that have to move through memory, and operations of the network."""
    batch = DeviceBatch(model, RATE_IN, RATE_OUT, 1)
    remembered = sum(whole.numel() * whole.element_size() for whole in batch._path.remembered())
    rings = [(p.kernel + 1) * p.channels * batch._state.rings[n].element_size() for n, p in model._pasts.items()]
    memory = 2 * batch._state.memory.numel() * 4
    moved = rows * (2 * remembered + sum(rings) + memory + batch.blocks.nbytes + batch.out.nbytes)
    moved += sum(p.numel() * 4 for p in model.net.parameters())
    flops = 2.0 * weights.manifest["macs_per_s"] / model.spec.frames_per_s * rows
    return moved / card.bandwidth, flops / card.rates[model.precision]


def many(card: Card, weights: Weights, threads: list[int]) -> None:
    """Double the streams until the p99 of a tick reaches a hop, for every precision and number of shards."""
    for precision in ("float32", "tf32", "bfloat16"):
        model = opened(card, weights, precision)
        for shards in threads:
            for rows in card.rows:
                if card.cuda:
                    torch.cuda.reset_peak_memory_stats()
                tick_s, move_s, watts = ticks(model, rows, shards, TIMED_TICKS if card.cuda else 30)
                found = percentiles(tick_s)
                by_bytes, by_flops = (1000 * s for s in floor_s(card, model, weights, rows))
                card.note(
                    f"{rows} voices, {model.name}, {shards} shards",
                    {"p50_ms": found["p50_ms"]},
                    **found,
                    moving_p50_ms=1000 * float(np.median(move_s)),
                    floor_bytes_ms=by_bytes,
                    floor_flops_ms=by_flops,
                    of_floor=max(by_bytes, by_flops) / found["p50_ms"],
                    audio_s_per_s=rows * model.spec.hop_ms / found["p50_ms"],
                    watts=watts,
                    kb_per_voice=torch.cuda.max_memory_allocated() / rows / 1000 if card.cuda else None,
                )
                if found["p99_ms"] >= model.spec.hop_ms:
                    break


def stages(card: Card, weights: Weights, rows: int) -> None:
    """Record the parts of a tick by themselves and time their replays: where a large batch spends its time."""
    for precision in ("float32", "bfloat16"):
        model = opened(card, weights, precision)
        batch = DeviceBatch(model, RATE_IN, RATE_OUT, rows)
        spec, path, state, hosts = model.spec, batch._path, batch._state, (batch._hops_in, batch._hops_out)
        with torch.inference_mode():
            hop = 0.1 * torch.randn(rows, spec.hop_at(RATE_IN), device=card.device)
            active = torch.ones(rows, 1, dtype=torch.bool, device=card.device)
            fixed = torch.full((rows,), 4000.0, device=card.device)
            gain = torch.ones(rows, dtype=torch.float64, device=card.device)
            received, spectrum, cutoff = (t.clone() for t in path.analyse(hop, active, fixed))
            made = model.advance(state, spectrum, cutoff, active[:, 0]).clone()
        parts: dict[str, Callable[[], Any]] = {
            "analyse": lambda: path.analyse(hop, active, fixed),  # noqa: B023  each is run before the next round
            "network": lambda: model.advance(state, spectrum, cutoff, active[:, 0]),  # noqa: B023
            "synthesise": lambda: path.synthesise(made, cutoff, received, active, gain),  # noqa: B023
            "copies": lambda: (hosts[0].to(card.device, non_blocking=True), hosts[1].copy_(received, True)),  # noqa: B023
        }
        times = {}
        for name, part in parts.items():
            replays = Replays(card.device)
            replays.record({name: part})
            times[f"{name}_ms"] = 1000 * card.seconds(lambda: (replays.launch(name, part), replays.wait()))  # noqa: B023
        card.note(f"stages of {rows} voices, {model.name}", {}, **times)


def others(weights: Weights, card: Card) -> list[Any]:
    """Open what else runs on the card, saying why where something does not."""
    found = []
    for name in ("ort-cuda", "ort-tensorrt") if card.cuda else ("ort",):
        try:
            found.append(load(weights.folder / f"{weights.name}.json", name))
        except RtsrError as error:
            print(f"  not {name}: {error}")
    return found


def main() -> int:
    """Run all of it and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="voice-16k")
    options.add_argument("--device", default="cuda")
    options.add_argument("--rows", default="4096,10000,32768,50000,65536")
    options.add_argument("--shards", default="1,4")
    options.add_argument("--fuse", action="store_true", help="torch.compile in place of our kernels")
    options.add_argument("--results", type=Path, default=RESULTS)
    chosen = options.parse_args()
    cast(TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)  # a run that is cut short has printed its results
    weights = Weights.find(chosen.model)
    card = Card(chosen.device, [int(n) for n in chosen.rows.split(",")], chosen.fuse)
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if card.cuda else 'no card'}")
    reference = load(chosen.model, "eager", threads=4)
    ceilings(card)
    verify(card, weights, reference)
    if card.wrong:
        print("stopped, as these are wrong: " + "; ".join(card.wrong))
        return 1
    try:
        one_stream(card, [*(opened(card, weights, p) for p in PRECISIONS), *others(weights, card)])
        stages(card, weights, min(16384, card.rows[-1]))
        many(card, weights, [int(n) for n in chosen.shards.split(",")])
    finally:
        print(f"rows in {store(chosen.results, 'gpu', card.found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
