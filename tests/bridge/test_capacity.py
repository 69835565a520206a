"""How many calls a machine carries does not depend on what else it does at that moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
    """More programs that never wait than there are processors."""
    command = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(command) for _ in range(1 + len(os.sched_getaffinity(0)))]
    yield
    for one in started:
        one.kill()
        one.wait()


@pytest.mark.skipif(not capacity.WAITED.exists(), reason="this system does not say how long a thread waits")
def test_other_programs_do_not_count(null: NullBackend, busy, monkeypatch):
    p99_of(null, CALLS, seconds=0.1)  # what is compiled at its first use
    assert least(null, CALLS) < SHARE
    monkeypatch.setattr(capacity, "WAITED", Path("/nowhere"))
    assert least(null, CALLS) > SHARE, "they are in the way of what waits for them"


def test_more_calls_take_longer(null: NullBackend):
    assert least(null, 32) > 2 * least(null, 2)


def test_at_least_one_call_fits_and_a_slow_machine_is_named(null: NullBackend, monkeypatch, caplog):
    monkeypatch.setattr(capacity, "p99_of", lambda *_, **__: 2.0)
    assert capacity.measure(null) == 1
    assert "one call takes 200 %" in caplog.text
    monkeypatch.setattr(capacity, "p99_of", lambda _, calls, *__, **___: 0.07 * calls)
    assert capacity.measure(null) == 8
