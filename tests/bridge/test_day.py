"""A call on a scripted clock as bench/day.py lets it pass for 24 hours, here for half a minute."""

from __future__ import annotations

import pytest

from bench.bars import over_bars
from bench.day import BARS, CALLS, Day


def test_clocks_that_are_wrong_are_followed_and_nothing_is_missing(null):
    day = Day(null)
    day.run(30)
    row = {**day.row(), "grown_mb": 0.0}
    levels = day.levels()
    counts = [leg.speaker.playout.counts for leg in day.legs]
    day.close()
    assert over_bars(row, BARS) == []
    assert row["least_ms"] > 5
    assert row["lost"] == pytest.approx(sum(sender.lost for sender in day.senders), abs=2)
    assert levels == pytest.approx([0.0] + [0.3] * (len(CALLS) - 1), abs=0.05)
    assert counts[0].inserted_hops >= 1
    assert counts[3].dropped_hops >= 1


@pytest.mark.parametrize("name", BARS)
def test_what_is_over_a_bar_is_told(name):
    assert over_bars(dict.fromkeys(BARS, 0.0), BARS) == []
    assert len(over_bars({**dict.fromkeys(BARS, 0.0), name: BARS[name] + 1}, BARS)) == 1
    assert len(over_bars({**dict.fromkeys(BARS, 0.0), name: float("nan")}, BARS)) == 1
