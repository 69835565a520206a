"""Tests, and the real servers, programs and peers that benchmarks start too: `python -m bench.live`."""
