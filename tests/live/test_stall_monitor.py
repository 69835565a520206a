"""A fault counts, unless the machine itself stalled just then: that a monitor sees it, and that little is excused."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.live.stall_monitor import QUOTA, REACH_S, Excuses, Loss, Losses, Stalls, explains, monitored

HELD_S = 0.02
SECONDS = 6.0  # of an attempt, in the simulations
LOOK_S = 0.2  # between two looks at the counters
TESTS = 12  # in a run, each of which has to come through without a fault
RUNS = 2000
HOLD = f"""
import os, sys, time
os.sched_setaffinity(0, {{int(sys.argv[1])}})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(int(sys.argv[2])))
until = time.monotonic() + {HELD_S}
while time.monotonic() < until:
    pass
"""


@pytest.mark.parametrize("priority", [os.sched_get_priority_max(os.SCHED_FIFO), 1])
def test_a_monitor_sees_a_processor_that_is_held(priority):
    """By something as urgent as the first monitor, or by what holds up the device threads alone."""
    began = time.monotonic()
    with monitored() as stalls:
        holding = [sys.executable, "-c", HOLD, str(max(os.sched_getaffinity(0))), str(priority)]
        done = subprocess.run(holding, check=False)
    if done.returncode:
        pytest.skip("real-time scheduling is not allowed here")
    assert [lasted for at, lasted in stalls if began < at and lasted > 0.9 * HELD_S]


def scripted(script: list[Stalls]) -> Callable[[], contextlib.AbstractContextManager[Stalls]]:
    """A monitor that says that the machine stalled so in one attempt after another."""

    @contextlib.contextmanager
    def monitoring() -> Iterator[Stalls]:
        found: Stalls = []
        try:
            yield found
        finally:
            found += script.pop(0)

    return monitoring


LOSS = Loss("worker_underruns", 1, 10.0, 10.2)
AT, BEFORE, LONG_BEFORE, AFTER = [(10.1, 0.003)], [(9.95, 0.003)], [(10.0 - 2 * REACH_S, 0.003)], [(10.3, 0.003)]


@pytest.mark.parametrize(
    ("stalls", "explained"),
    [(AT, True), (BEFORE, True), (LONG_BEFORE, False), (AFTER, False), ([], False), (AFTER + LONG_BEFORE, False)],
)
def test_a_stall_explains_what_was_lost_then_and_nothing_else(stalls, explained):
    assert explains(stalls, LOSS) is explained


def faults(*raised: AssertionError) -> Callable[[], None]:
    """An attempt that raises these, one a time, and then nothing."""
    left = list(raised)

    def make() -> None:
        if left:
            raise left.pop(0)

    return make


def test_what_a_stall_explains_is_attempted_again_and_printed(capsys):
    excuses = Excuses(monitoring=scripted([AT, []]))
    excuses.attempt(faults(Losses([LOSS])))
    assert len(excuses.excused) == 1
    assert "excused 1 of" in capsys.readouterr().out


@pytest.mark.parametrize(
    "raised", [AssertionError("3 dB too low"), Losses([LOSS, Loss("input_underruns", 1, 12.0, 12.2)])]
)
def test_a_wrong_sound_or_a_loss_at_another_time_is_never_excused(raised):
    excuses = Excuses(monitoring=scripted([AT, []]))
    with pytest.raises(AssertionError):
        excuses.attempt(faults(raised))
    assert not excuses.excused


def test_the_quota_is_of_a_whole_run():
    excuses = Excuses(monitoring=scripted([AT, []] * QUOTA + [AT]))
    for _ in range(QUOTA):
        excuses.attempt(faults(Losses([LOSS])))
    with pytest.raises(AssertionError, match="excused already"):
        excuses.attempt(faults(Losses([LOSS])))


def passes(chance: random.Random, fault: float, stalls_of: Callable[[float], Stalls]) -> bool:
    """Whether a run of tests passes where each attempt meets a fault with this probability, at any moment of it."""
    script: list[Stalls] = []
    excuses = Excuses(monitoring=scripted(script))

    def make() -> None:
        moment = chance.uniform(0, SECONDS)
        script.append(stalls_of(moment))
        since = moment // LOOK_S * LOOK_S
        if chance.random() < fault:
            raise Losses([Loss("worker_underruns", 1, since, since + LOOK_S)])

    try:
        for _ in range(TESTS):
            excuses.attempt(make)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("coinciding", [False, True])
def test_a_fault_that_is_there_half_the_time_is_caught_beside_stalls(coinciding):
    """Stalls come once a second, or, at the worst, whenever the fault comes."""
    chance = random.Random(0)

    def stalls_of(moment: float) -> Stalls:
        return [(moment, 0.003)] if coinciding else [(chance.uniform(0, SECONDS), 0.003) for _ in range(int(SECONDS))]

    passed = sum(passes(chance, 0.5, stalls_of) for _ in range(RUNS))
    assert passed < 0.03 * RUNS


def test_stalls_alone_fail_nothing():
    chance = random.Random(0)
    assert all(passes(chance, 0.0, lambda moment: [(moment, 0.02)]) for _ in range(100))
