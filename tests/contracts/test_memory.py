"""A call may last for days: a hop leaves nothing behind."""

from __future__ import annotations

import tracemalloc

import numpy as np
from signals import noise

from rtsr import Stream

HOPS = {"eager": 2_000}  # its arrays are torch's and not traced; what is left is Python's
DEFAULT = 10_000
GROWTH = 4_000  # bytes
PEAK = 64_000  # bytes above the start at any time: a hop's passing views, no buffer


def test_ten_thousand_hops_do_not_grow_the_memory(opened):
    stream = Stream(opened, 8000, 16000)
    hops = noise(100 * stream.hop, 0).reshape(100, stream.hop)
    out = np.zeros(stream.hop_out, np.float32)
    for hop in hops:
        stream.process(hop, out)
    tracemalloc.start()
    try:
        for hop in hops:  # tracing itself takes a little, once
            stream.process(hop, out)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for i in range(HOPS.get(opened.name, DEFAULT)):
            stream.process(hops[i % 100], out)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < GROWTH
    assert peak - before < PEAK


def test_the_result_is_written_where_it_was_asked_for(opened):
    stream = Stream(opened, 8000, 16000, cutoff=4000.0)
    hop, out = noise(stream.hop, 0), np.full(stream.hop_out, 7, np.float32)
    for _ in range(5):
        assert stream.process(hop, out) is out
    assert np.abs(out).max() < 7
    assert out.any()
