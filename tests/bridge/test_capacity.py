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
from rtsr.bridge.capacity import SHARE, p99_of

CALLS = 2


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
    assert p99_of(null, CALLS, seconds=0.5) < SHARE
    monkeypatch.setattr(capacity, "WAITED", Path("/nowhere"))
    assert p99_of(null, CALLS, seconds=0.5) > SHARE, "they are in the way of what waits for them"


def test_more_calls_take_longer(null: NullBackend):
    assert p99_of(null, 32) > 2 * p99_of(null, 2)


def test_at_least_one_call_fits_and_a_slow_machine_is_named(null: NullBackend, monkeypatch, caplog):
    monkeypatch.setattr(capacity, "p99_of", lambda *_, **__: 2.0)
    assert capacity.measure(null) == 1
    assert "one call takes 200 %" in caplog.text
    monkeypatch.setattr(capacity, "p99_of", lambda _, calls, *__, **___: 0.07 * calls)
    assert capacity.measure(null) == 8
