"""A fault counts, unless the machine itself stood still: that a witness sees it, and nothing less excuses."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.live import stillness
from tests.live.stillness import STILL_S, TRIES, undisturbed, witnessed

HELD_S = 0.02
STILL = [(1.0, 2 * STILL_S)]
HOLD = f"""
import os, sys, time
os.sched_setaffinity(0, {{int(sys.argv[1])}})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
until = time.monotonic() + {HELD_S}
while time.monotonic() < until:
    pass
"""


def test_a_witness_sees_a_processor_that_is_held():
    seen: list[list[tuple[float, float]]] = []
    began = time.monotonic()
    with witnessed(seen):
        done = subprocess.run([sys.executable, "-c", HOLD, str(max(os.sched_getaffinity(0)))], check=False)
    if done.returncode:
        pytest.skip("real-time scheduling is not allowed here")
    assert [lasted for at, lasted in seen[0] if began < at and lasted > 0.9 * HELD_S]


@pytest.mark.parametrize(
    ("stood_still", "faults", "attempts"),
    [
        ([[]], 0, 1),
        ([STILL], 0, 1),
        ([[]], 1, None),
        ([STILL, []], 1, 2),
        ([STILL, []], 2, None),
        ([STILL] * TRIES, TRIES, None),
    ],
)
def test_a_fault_is_one_unless_the_machine_stood_still(monkeypatch, stood_still, faults, attempts):
    made = []

    @contextlib.contextmanager
    def scripted(seen: list[list[tuple[float, float]]]) -> Iterator[None]:
        try:
            yield
        finally:
            seen.append(stood_still[len(seen)])

    def attempt() -> None:
        made.append(None)
        assert len(made) > faults, "lost"

    monkeypatch.setattr(stillness, "witnessed", scripted)
    if attempts is None:
        with pytest.raises(AssertionError, match=r"lost|stood still in each"):
            undisturbed(attempt)
    else:
        undisturbed(attempt)
        assert len(made) == attempts
