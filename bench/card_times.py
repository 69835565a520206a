"""How long a tick takes on a card: one voice, the parts of it, and many voices beside the least that it can take."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from bench.card import PRECISIONS_TIMED, WARM_UP, Card
from bench.card_checks import POOL_BOUND, RATE_IN, RATE_OUT, pool_error, step_error
from rtsr import Pool, RtsrError, Stream, load
from rtsr.backend.graph import GraphBackend
from rtsr.backend.replays import Replays
from rtsr.bench.signal import hops
from rtsr.bench.throughput import gpu_watts
from rtsr.pool.device_batch import DeviceBatch

OTHERS = {"ort-cuda": 1e-4, "ort-cuda-tf32": 1e-2, "ort-tensorrt": 1e-2, "ort-tensorrt-float16": 6e-2}  # and bounds


def percentiles(times: list[float]) -> dict[str, float]:
    """Name the percentiles of seconds in ms."""
    return dict(
        zip(("p50_ms", "p99_ms", "p999_ms"), map(float, np.percentile(times, (50, 99, 99.9)) * 1000), strict=True)
    )


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


def one_voice(card: Card) -> None:
    """One voice, host to host: the network alone in a stream, the whole path in a pool, and what a tick launches."""
    count = 800 if card.cuda else 20
    for precision in PRECISIONS_TIMED:
        for kernels in (True, False) if card.cuda else (False,):
            model = card.model(precision, kernels)
            stream = Stream(model, RATE_IN, cutoff=4000.0)
            out, times = np.zeros(stream.hop_out, np.float32), []
            for hop in hops(0.005 * (count + WARM_UP), RATE_IN, stream.hop):
                began = time.perf_counter()
                stream.process(hop, out)
                times.append(time.perf_counter() - began)
            found = percentiles(times[WARM_UP:])
            card.note(f"one stream, {model.name}", {"p50_ms": found["p50_ms"]}, **found)
            found = percentiles(ticks(model, 1, 1, count)[0])
            card.note(f"one voice in a pool, {model.name}", {"p50_ms": found["p50_ms"]}, **found)
            if precision in card.sizes.profiled:
                launches(card, model, 1)


def launches(card: Card, model: GraphBackend, rows: int) -> None:
    """Count what a tick launches, as nodes of its graph on a card, and where its time goes, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CUDA, ProfilerActivity.CPU] if card.cuda else [ProfilerActivity.CPU]
    count, hop = 10, np.zeros((rows, model.spec.hop_at(RATE_IN)), np.float32)
    with Pool(model, rows) as pool:
        row_of = np.array([pool.open(RATE_IN, RATE_OUT, cutoff=4000.0) for _ in range(rows)], np.int64)
        for measured in (False, True):
            with profile(activities=kinds) if measured else nullcontext() as seen:
                for _ in range(count):
                    pool.push_hops(row_of, hop)
                    pool.tick()
    spent: dict[str, tuple[float, int]] = {}
    for event in seen.key_averages():
        us = event.self_device_time_total if card.cuda else event.self_cpu_time_total
        if us > 0 and (not card.cuda or str(event.device_type).endswith("CUDA")):
            spent[event.key] = us / count, event.count
    longest = dict(sorted(spent.items(), key=lambda item: -item[1][0])[:12])
    for name, (us, _) in longest.items():
        print(f"    {us:9.2f} µs  {name[:90]}")
    sums = {"nodes": sum(n for _, n in spent.values()) / count, "busy_us": sum(us for us, _ in spent.values())}
    card.note(f"launches of {rows} voices, {model.name}", {}, **sums, longest={n: us for n, (us, _) in longest.items()})


def stages(card: Card) -> None:
    """Record the parts of a tick by themselves and time their replays: where a large batch spends its time."""
    rows = card.sizes.stages
    for precision in ("float32", "bfloat16"):
        model = card.model(precision)
        batch = DeviceBatch(model, RATE_IN, RATE_OUT, rows)
        times = {}
        for name, part in parts(card, model, batch, rows).items():
            replays = Replays(card.device)
            replays.record({name: part})
            times[f"{name}_ms"] = 1000 * card.seconds(lambda: (replays.launch(name, part), replays.wait()))  # noqa: B023
        card.note(f"stages of {rows} voices, {model.name}", {}, **times)
        if precision in card.sizes.profiled:
            launches(card, model, rows)


def parts(card: Card, model: GraphBackend, batch: DeviceBatch, rows: int) -> dict[str, Callable[[], Any]]:
    """Return the parts of a tick, each to be run alone."""
    spec, path, state, hosts = model.spec, batch._path, batch._state, (batch._hops_in, batch._hops_out)
    with torch.inference_mode():
        hop = 0.1 * torch.randn(rows, spec.hop_at(RATE_IN), device=card.device)
        active = torch.ones(rows, 1, dtype=torch.bool, device=card.device)
        fixed = torch.full((rows,), 4000.0, device=card.device)
        gain = torch.ones(rows, dtype=torch.float64, device=card.device)
        received, spectrum, cutoff = (t.clone() for t in path.analyse(hop, active, fixed))
        made = model.advance(state, spectrum, cutoff, active[:, 0]).clone()
    return {
        "analyse": lambda: path.analyse(hop, active, fixed),
        "network": lambda: model.advance(state, spectrum, cutoff, active[:, 0]),
        "synthesise": lambda: path.synthesise(made, cutoff, received, active, gain),
        "copies": lambda: (hosts[0].to(card.device, non_blocking=True), hosts[1].copy_(received, True)),
    }


def floor_ms(card: Card, model: GraphBackend, rows: int) -> dict[str, float]:
    """The least ms of a tick: of bytes that have to move through memory, and of operations of the network."""
    batch = DeviceBatch(model, RATE_IN, RATE_OUT, 1)
    remembered = sum(whole[0].numel() * whole.element_size() for whole in batch._path.remembered())
    rings = [(p.kernel + 1) * p.channels * batch._state.rings[n].element_size() for n, p in model._pasts.items()]
    memory = 2 * batch._state.memory[0].numel() * 4
    moved = rows * (2 * remembered + sum(rings) + memory + batch.blocks.nbytes + batch.out.nbytes)
    moved += sum(p.numel() * 4 for p in model.net.parameters())
    operations = 2.0 * card.weights.manifest["macs_per_s"] / model.spec.frames_per_s * rows
    most = card.ceilings
    found = {"bytes": 1000 * moved / most["bytes"], "operations": 1000 * operations / most[model.precision]}
    return {f"floor_{name}_ms": ms for name, ms in found.items()}


def capacity(precision: str) -> Callable[[Card], None]:
    """Return a stage: more and more voices in one precision until the p99 of a tick reaches a hop."""

    def measure(card: Card) -> None:
        model = card.model(precision)
        for shards in card.sizes.shards:
            for rows in card.sizes.capacity:
                if card.cuda:
                    torch.cuda.reset_peak_memory_stats()
                tick_s, move_s, watts = ticks(model, rows, shards, card.sizes.ticks)
                found, least = percentiles(tick_s), floor_ms(card, model, rows)
                card.note(
                    f"{rows} voices, {model.name}, {shards} shards",
                    {"p50_ms": found["p50_ms"]},
                    **found,
                    **least,
                    moving_p50_ms=1000 * float(np.median(move_s)),
                    of_floor=max(least.values()) / found["p50_ms"],
                    audio_s_per_s=rows * model.spec.hop_ms / found["p50_ms"],
                    voices=rows,
                    precision=precision,
                    watts=watts,
                    kb_per_voice=torch.cuda.max_memory_allocated() / rows / 1000 if card.cuda else None,
                )
                if found["p99_ms"] >= model.spec.hop_ms:
                    break

    return measure


def others(card: Card) -> None:
    """ONNX Runtime on the card, where it is installed for one: against the CPU, one voice, and many."""
    for name, bound in OTHERS.items() if card.cuda else {"ort": 1e-4}.items():
        try:
            model: Any = load(card.weights.folder / f"{card.weights.name}.json", name)
        except RtsrError as error:
            print(f"  not {name}: {error}")
            continue
        for rows in card.sizes.checked:
            card.check(f"{name} against eager, {rows} rows", step_error(card, model, rows), bound)
        for rows in (1, *(n for n in card.sizes.capacity if n <= card.sizes.capacity[0])):
            found = percentiles(ticks(model, rows, 1, card.sizes.ticks)[0])
            card.note(f"{rows} voices, {name}", {"p50_ms": found["p50_ms"]}, **found, voices=rows)


def shared(card: Card) -> None:
    """What each of two processes does on one card: a pool is right, and ticks at half of the smallest capacity."""
    model, rows = card.model("float32"), card.sizes.capacity[0] // 2
    error = pool_error(model, card.reference, 4, 1, 20 if card.cuda else 8)
    card.check("pool beside another process", error, POOL_BOUND)
    found = percentiles(ticks(model, rows, 1, card.sizes.ticks)[0])
    card.note(f"{rows} voices beside another process", {"p50_ms": found["p50_ms"]}, **found, voices=rows)


def two(card: Card) -> None:
    """Two processes on one card at the same time."""
    command = [sys.executable, "-m", "bench.gpu", "shared", "--device", str(card.device)]
    command += ["--model", str(card.weights.folder / f"{card.weights.name}.json"), "--results", str(card.results)]
    both = [subprocess.Popen(command) for _ in range(2)]
    for number, process in enumerate(both):
        card.check(f"process {number + 1} of two on one card", float(process.wait()), 0.0)
