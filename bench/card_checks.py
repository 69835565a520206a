"""What is asked first of a card: what it is, and whether its numbers are those of the CPU."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np
import torch

from bench.card import Card
from rtsr import Pool, Stream
from rtsr.backend.graph import GraphBackend
from rtsr.bench.signal import voice

RATE_IN, RATE_OUT = 8_000, 16_000
BOUNDS = {"float32": 1e-4, "tf32": 1e-2, "float16": 1e-2, "bfloat16": 6e-2}  # of ‖out - reference‖ / ‖reference‖
POOL_BOUND = 1e-5
MANY_STEPS = 8  # of the most rows, whose reference takes a second each


def probe(card: Card) -> None:
    """The machine, its versions and measured ceilings, and how long the first tick takes to be ready."""
    about: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    if card.cuda:
        seen = torch.cuda.get_device_properties(card.device)
        about |= {"card": seen.name, "capability": f"{seen.major}.{seen.minor}", "cuda": torch.version.cuda}
        about |= {"memory_gib": seen.total_memory / 2**30, "units": seen.multi_processor_count}
    try:
        import onnxruntime

        about["providers"] = onnxruntime.get_available_providers()
    except ImportError as error:
        about["providers"] = str(error)
    print("  " + ", ".join(f"{name} {value}" for name, value in about.items()))
    card.note("ceilings", {}, **{f"{n}_per_s": r for n, r in card.ceilings.items()}, about=about)
    for kernels in (True, False) if card.cuda else (False,):
        began = time.perf_counter()
        model = card.model("float32", kernels)
        with Pool(model, 1) as pool:
            pool.open(RATE_IN, RATE_OUT)
        card.note(f"first tick ready, {model.name}", {}, seconds=time.perf_counter() - began)


def step_error(card: Card, model: GraphBackend, rows: int, steps: int | None = None) -> float:
    """Relative error of steps with random cutoffs, pauses and new streams, into outputs filled with NaN."""
    rng = np.random.default_rng(rows)
    spec, size = model.spec, model.spec.bins_in
    models = model, card.reference
    states = [m.new_state(rows) for m in models]
    difference = norm = 0.0
    for _ in range(steps or card.sizes.steps):
        spectrum = (10.0 ** rng.uniform(-3, 1, (rows, 1, 1)) * rng.standard_normal((rows, size, 2))).astype(np.float32)
        cutoff = rng.uniform(spec.cutoff_min_hz, spec.cutoff_max_hz, rows).astype(np.float32)
        active = rng.random(rows) < 0.8
        outs = [np.full((rows, spec.bands), np.nan, np.float32) for _ in states]
        for m, state, out in zip(models, states, outs, strict=True):
            m.step(spectrum, cutoff, state, out, active)
        difference += float(np.square(outs[0] - outs[1]).sum())
        norm += float(np.square(outs[1]).sum())
        if outs[0][~active].any():
            return float("nan")
    return (difference / norm) ** 0.5 if norm else difference


def pool_error(model: GraphBackend, reference: Any, rows: int, threads: int, ticks: int) -> float:
    """Largest difference of any sample between a pool on the device and streams on the CPU, rows leaving between."""
    streams: dict[int, Stream] = {}
    rng, worst = np.random.default_rng(1), 0.0
    with Pool(model, rows, threads) as pool:
        said = voice(2.0, RATE_IN)
        for tick in range(ticks):
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


def correct(card: Card) -> None:
    """Every precision, of both forms, against plain torch on the CPU; the pool against streams."""
    for kernels in (True, False) if card.cuda else (False,):
        for precision, bound in BOUNDS.items():
            model = card.model(precision, kernels)
            for rows in card.sizes.checked:
                card.check(f"{model.name} against eager, {rows} rows", step_error(card, model, rows), bound)
        exact = card.model("float32", kernels)
        for threads in (1, 3):
            error = pool_error(exact, card.reference, 12 if card.cuda else 4, threads, 60 if card.cuda else 8)
            card.check(f"pool of {exact.name} in {threads} shards against streams", error, POOL_BOUND)


def correct_many(card: Card) -> None:
    """The same of as many rows as a card is for."""
    torch.set_num_threads(16 if card.cuda else torch.get_num_threads())
    for precision, bound in BOUNDS.items():
        model, rows = card.model(precision), card.sizes.checked_many
        card.check(f"{model.name} against eager, {rows} rows", step_error(card, model, rows, MANY_STEPS), bound)
