"""Calls over a line that is cut for a second, in network namespaces; bench/faults.py has the other faults."""

from __future__ import annotations

import pytest

from bench import faults
from bench.faults import GROWN, Fault, Scenario, measure
from bench.line import may_be_made

pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALM_S", "WATCH_S"):
        monkeypatch.setattr(faults, name, 1.0)
    monkeypatch.setattr(faults, "RECOVERY_S", 3.0)


@pytest.mark.skipif(not may_be_made(), reason="needs root and /dev/net/tun, to make network namespaces")
def test_all_are_heard_again_after_the_line_was_cut():
    *rows, total = measure([Scenario("cut", Fault(cut=True), 1.5)], "null")
    assert [row["speaker"] for row in rows] == ["call", "rtp"]
    for row in rows:
        assert row["silent"] > 50
        assert row["silent_after"] < 50
    assert total["ended"] == 0
    assert total["tasks_left"] <= GROWN["tasks_left"]
    assert total["sockets_left"] <= GROWN["sockets_left"]
