"""What moves hops of many voices between a program and a batch costs on the host, apart from any device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bench.card import Card
from rtsr.bench.record import cores
from rtsr.pool.slots import Slots

HOP, HOP_OUT = 40, 80
ROUNDS = 60


class Still:
    """A batch that does nothing."""

    name = "still"

    def __init__(self, rows: int) -> None:
        self.blocks, self.out = np.zeros((rows, HOP), np.float32), np.zeros((rows, HOP_OUT), np.float32)
        self.active, self.failures = np.zeros(rows, np.bool_), list[Exception]()

    def prepare(self, sizes: Sequence[int]) -> None:
        """Nothing."""

    set = clear = move = cutoff_hz = settings = received = start = finish = lambda self, *given: None


def host(card: Card) -> None:
    """Hops into the rings, from there into the batch, and out of it: of as many voices as there may be, on the host."""
    rows = card.sizes.capacity[-1]
    slots = Slots(Still(rows), rows)  # type: ignore[arg-type]
    places = np.array([(0, slots.take(4000.0, 1.0)) for _ in range(rows)], np.int64)
    handles, hops = np.arange(rows), np.random.default_rng(0).standard_normal((rows, HOP), np.float32)
    out, moved = np.zeros((rows, HOP_OUT), np.float32), np.zeros(rows, np.bool_)
    for threads in sorted({1, 2, 4, cores()} & set(range(cores() + 1))):
        part = [slice(rows * k // threads, rows * (k + 1) // threads) for k in range(threads)]
        works: dict[str, Callable[[slice], object]] = {
            "deposit": lambda p: slots.rings.deposit(0, places, handles[p], hops[p]),
            "gather": lambda p: slots.take_hops() if p.start == 0 else None,
            "collect": lambda p: slots.collect(0, places, handles[p], out[p], moved[p]),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        with ThreadPoolExecutor(threads) as workers:
            for _ in range(ROUNDS):
                for name, work in works.items():
                    began = time.perf_counter()
                    list(workers.map(work, part))
                    times[name].append(1000 * (time.perf_counter() - began))
        found = {f"{name}_ms": float(np.median(each)) for name, each in times.items()}
        card.note(f"host's copies of {rows} voices, {threads} threads", dict(found), **found, voices=rows)
