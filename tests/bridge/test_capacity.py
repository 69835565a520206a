"""How many calls a machine carries does not depend on what else it does at that moment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from rtsr.backend.null import NullBackend
from rtsr.bridge import capacity
from rtsr.bridge.capacity import SHARE, TRIES, p99_of

CALLS = 2


def least(model: NullBackend, calls: int) -> float:
    """The share of a hop that so many calls take, as `measure` has it: a passing disturbance does not count."""
    return min(p99_of(model, calls, seconds=0.5) for _ in range(TRIES))


@pytest.fixture
def busy() -> Iterator[None]:
    """Two programs that never wait for each processor."""
    command = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(command) for _ in range(2 * len(os.sched_getaffinity(0)))]
    yield
    for one in started:
        one.kill()
        one.wait()


says_it = pytest.mark.skipif(not capacity.WAITED.exists(), reason="this system does not say how long a thread waits")


@says_it
def test_other_programs_do_not_count(null: NullBackend, busy):
    p99_of(null, CALLS, seconds=0.1)  # what is compiled at its first use
    assert least(null, CALLS) < SHARE


@says_it
def test_how_long_this_thread_had_no_processor_is_seen(busy):
    began_s, used_s = capacity.waited_s(), time.thread_time()
    while time.thread_time() - used_s < 0.3:
        pass
    assert capacity.waited_s() - began_s > 0.1


def test_the_time_without_a_processor_is_taken_off_each_tick(null: NullBackend, monkeypatch):
    assert p99_of(null, CALLS, seconds=0.1) > 0
    monkeypatch.setattr(capacity, "waited_s", time.perf_counter)  # no processor at all
    assert p99_of(null, CALLS, seconds=0.1) <= 0


def test_more_calls_take_longer(null: NullBackend):
    assert least(null, 32) > 2 * least(null, 2)


def test_at_least_one_call_fits_and_a_slow_machine_is_named(null: NullBackend, monkeypatch, caplog):
    monkeypatch.setattr(capacity, "p99_of", lambda *_, **__: 2.0)
    assert capacity.measure(null) == 1
    assert "one call takes 200 %" in caplog.text
    monkeypatch.setattr(capacity, "p99_of", lambda _, calls, *__, **___: 0.07 * calls)
    assert capacity.measure(null) == 8
