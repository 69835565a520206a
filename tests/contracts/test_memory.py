"""A call may last for days: a hop leaves nothing behind."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from rtsr import Pool, Stream
from tests.signals import noise

HOPS = {"eager": 100, "ort": 300}  # eager: its arrays are torch's and not traced; what is left is Python's
DEFAULT = 500
REPEATED = 5
GROWTH = 1_000  # bytes
PEAK = 64_000  # bytes above the start at any time: a hop's passing views, no buffer


def growth(warm_up: Callable[[], None], work: Callable[[], None]) -> tuple[int, int]:
    """Bytes that the work leaves behind each time that it is done, and the most that it held at any time.

    What is left after one time also depends on how full the interpreter's lists of free tuples are, by some kilobytes
    more or less. They are bounded, so that a later time gives back what an earlier one took: the least of five counts.
    """
    warm_up()
    gc.collect()  # what it lets go, torch makes anew
    gc.freeze()  # what there is now need not be looked through each time
    tracemalloc.start()
    try:
        warm_up()  # tracing itself takes a little, once
        left, peak = [], 0
        for _ in range(REPEATED):
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            work()
            peak = max(peak, tracemalloc.get_traced_memory()[1] - before)
            gc.collect()
            left.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    return min(left), peak


def test_what_little_is_left_each_time_is_seen():
    kept: list[bytes] = []
    grown, peak = growth(lambda: None, lambda: kept.extend(bytes(8) for _ in range(100)))
    assert 100 * 8 < grown <= peak


def test_hops_do_not_grow_the_memory(opened):
    stream = Stream(opened, 8000, 16000)
    hops = noise(100 * stream.hop, 0).reshape(100, stream.hop)
    out = np.zeros(stream.hop_out, np.float32)

    def process(count: int) -> None:
        for i in range(count):
            stream.process(hops[i % 100], out)

    grown, peak = growth(lambda: process(100), lambda: process(HOPS.get(opened.name, DEFAULT)))
    assert grown < GROWTH
    assert peak < PEAK


def test_the_result_is_written_where_it_was_asked_for(opened):
    stream = Stream(opened, 8000, 16000, cutoff=4000.0)
    hop, out = noise(stream.hop, 0), np.full(stream.hop_out, 7, np.float32)
    for _ in range(5):
        assert stream.process(hop, out) is out
    assert np.abs(out).max() < 7
    assert out.any()


@pytest.mark.parametrize("threads", [1, 2])
def test_ticks_of_a_pool_do_not_grow_the_memory(null, threads):
    with Pool(null, limit=4, threads=threads) as pool:
        rows = [pool.open(8000) for _ in range(3)]
        hops = noise(100 * 40, 0).reshape(100, 40)

        def ticks(count: int) -> int:
            for i in range(count):
                for row in rows:
                    pool.push(row, hops[i % 100])
                outputs = pool.tick()
            assert len(outputs) == 3
            return sys.getallocatedblocks()  # tracing would take minutes

        before = ticks(1_000)
        after = ticks(40_000 if threads == 1 else 10_000)
    assert abs(after - before) < 50


def test_ticks_of_a_network_do_not_grow_the_memory(opened):
    pool = Pool(opened, limit=8)
    rows = [pool.open(rate) for rate in (8000, 8000, 16000, 48000, 8000)]
    hops = {row: noise(rate // 200, row) for row, rate in zip(rows, (8000, 8000, 16000, 48000, 8000), strict=True)}

    def ticks(count: int) -> None:
        for _ in range(count):
            for row in rows:
                pool.push(row, hops[row])
            pool.tick()

    grown, peak = growth(lambda: ticks(50), lambda: ticks(20 if opened.name == "eager" else 60))
    assert grown < GROWTH
    assert peak < PEAK
