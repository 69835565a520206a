"""A fault counts, unless the machine itself stood still: that a witness sees it, and nothing less excuses."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import stillness
from stillness import STILL_S, TRIES, undisturbed, witnessed

HELD_S = 0.02
HOLD = f"""
import os, sys, time
os.sched_setaffinity(0, {{int(sys.argv[1])}})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
until = time.monotonic() + {HELD_S}
while time.monotonic() < until:
    pass
"""


def test_a_witness_sees_a_processor_that_is_held():
    seen: list[float] = []
    with witnessed(seen):
        done = subprocess.run([sys.executable, "-c", HOLD, str(max(os.sched_getaffinity(0)))], check=False)
    if done.returncode:
        pytest.skip("real-time scheduling is not allowed here")
    assert seen[0] > 0.9 * HELD_S


@pytest.mark.parametrize(
    ("stood_still", "faults", "attempts"),
    [
        ([0.0], 0, 1),
        ([2 * STILL_S], 0, 1),
        ([0.9 * STILL_S], 1, None),
        ([2 * STILL_S, 0.0], 1, 2),
        ([2 * STILL_S, 0.0], 2, None),
        ([2 * STILL_S] * TRIES, TRIES, None),
    ],
)
def test_a_fault_is_one_unless_the_machine_stood_still(monkeypatch, stood_still, faults, attempts):
    made = []

    @contextlib.contextmanager
    def scripted(seen: list[float]) -> Iterator[None]:
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
