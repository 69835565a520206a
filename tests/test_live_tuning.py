"""A tuning hint where underruns are frequent, once an hour at most, and none otherwise."""

from __future__ import annotations

import pytest

from rtsr.daemon.tuning import OFTEN, QUIET_S, WINDOW_S, TuningHint


def said(*counts: tuple[int, int], every_s: float = WINDOW_S) -> list[str | None]:
    """What is said as the counters of the ring and the devices go on so, after a calm first window."""
    hint = TuningHint(8.0, 2.5)
    return [hint.look((i + 1) * every_s, *count) for i, count in enumerate([(0, 0), *counts])][1:]


@pytest.mark.parametrize("counts", [(0, 0), (OFTEN - 1, 0), (2, OFTEN - 3)])
def test_what_happens_now_and_then_needs_no_hint(counts):
    assert said(counts, tuple(2 * c for c in counts)) == [None, None]


@pytest.mark.parametrize(
    ("counts", "contained", "absent"),
    [
        ((OFTEN, 0), "--low-water 16", "block_ms"),
        ((0, OFTEN), "block_ms = 5", "--low-water"),
        ((OFTEN, 1), "--low-water 16 and block_ms = 5", "--block"),
    ],
)
def test_frequent_underruns_give_a_hint_for_each_cause(counts, contained, absent):
    line = said(counts)[0]
    assert line is not None
    assert contained in line
    assert absent not in line


def test_a_hint_says_how_many_there_were():
    line = said((OFTEN, 2))[0]
    assert line is not None
    assert line.startswith(f"{OFTEN + 2} underruns in a minute")


def test_a_hint_comes_once_an_hour_at_most():
    lines = [line for line in said(*((OFTEN * i, 0) for i in range(1, 200))) if line]
    assert len(lines) == -(-199 * WINDOW_S // QUIET_S)


def test_what_happens_now_and_then_in_the_hour_after_is_not_added_up():
    assert not any(said((OFTEN, 0), *((OFTEN + i, 0) for i in range(1, 200)))[1:])


def test_a_hint_may_come_again_an_hour_later_to_the_second():
    hint = TuningHint(8.0, 2.5)
    assert hint.look(WINDOW_S, OFTEN, 0)
    assert hint.look(WINDOW_S + QUIET_S - 1, OFTEN, 0) is None
    assert hint.look(2 * WINDOW_S + QUIET_S - 1, 2 * OFTEN, 0)
    assert QUIET_S == 3600


def test_the_first_window_begins_with_the_session():
    hint = TuningHint(8.0, 2.5)
    assert hint.look(WINDOW_S - 0.5, OFTEN, 0) is None
    assert hint.look(WINDOW_S + 0.5, 0, OFTEN - 1) is None  # looks come when they come
    assert hint.look(3 * WINDOW_S, 0, 2 * OFTEN - 1)


def test_a_window_that_is_not_over_says_nothing():
    assert said((0, 0), (2, 0), (2 * OFTEN, 0), every_s=WINDOW_S / 5) == [None] * 3
