"""What is shown of a running session, on a terminal, in a journal and to Prometheus."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rtsr.daemon.config import LiveSettings
from rtsr.daemon.live_path import LivePath
from rtsr.daemon.metrics import COUNTERS, GAUGES, families
from rtsr.daemon.view import LogView, Terminal, meter, sparks


@pytest.fixture
def stats(model_path):
    """Real stats, of a path that was not started."""
    return {"voice": LivePath(LiveSettings(model=str(model_path), backend="null"), lambda kind, line: None).stats()}


def test_a_terminal_shows_meters_cutoff_latency_and_events(stats):
    out = io.StringIO()
    with Terminal(Console(file=out, force_terminal=True, width=100)) as view:
        view.event("voice", "ready", "A -> B")
        view.stats(stats)
    shown = out.getvalue()
    for word in ("cutoff", "latency ms", "algorithm 11.3", "underruns", "voice ready: A -> B", "-100.0 dB"):
        assert word in shown


def test_a_journal_gets_one_line_an_event(stats):
    out = io.StringIO()
    lines = LogView(out)
    lines.event("voice", "reconnect", 'it said "gone"')
    lines.stats(stats)
    assert out.getvalue().endswith("""path=voice event=reconnect msg="it said 'gone'"\n""")
    lines.reported -= 61
    lines.stats(stats)
    assert "event=stats" in out.getvalue().splitlines()[1]


def test_a_meter_and_sparks_follow_the_level():
    assert meter(-60.0).plain.count("█") == 0
    assert meter(0.0).plain.count("░") == 0
    assert sparks([-100.0, -20.0]) == " █"


def test_prometheus_gets_every_figure(stats):
    pytest.importorskip("prometheus_client")
    found = {f.name: f.samples for f in families(stats)}
    assert {n.removesuffix("_total") for n in (*GAUGES, *COUNTERS)} | {"rtsr_latency_ms", "rtsr_compute_ms"} == set(
        found
    )
    assert all(s.labels["path"] == "voice" for samples in found.values() for s in samples)
