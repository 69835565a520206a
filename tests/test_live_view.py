"""What is shown of a running session, on a terminal, in a journal and to Prometheus."""

from __future__ import annotations

import io
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from rich.console import Console

from rtsr.daemon.config import LiveSettings
from rtsr.daemon.live_path import LivePath
from rtsr.daemon.metrics import COUNTERS, GAUGES, MetricsServer, families
from rtsr.daemon.stats import BANDS, bands_db
from rtsr.daemon.view import EVENTS, LogView, Terminal, meter, sparks, state
from rtsr.errors import InvalidSetting, MissingDependency
from rtsr.io import layout as at


@pytest.fixture
def path(model_path) -> LivePath:
    """A path that was not started."""
    return LivePath(LiveSettings(model=str(model_path), backend="null"), lambda kind, line: None)


@pytest.fixture
def stats(path):
    """Its stats."""
    return {"voice": path.stats()}


def test_counters_of_the_shared_block_and_levels_are_told_apart(path):
    shared = path.worker.shared
    places = (at.WORKER_UNDERRUNS, at.INPUT_UNDERRUNS, at.CAPTURE_XRUNS, at.PLAY_XRUNS, at.TRIMMED, at.FLOWING)
    shared.head[list(places)] = 3, 5, 7, 11, 13, 1
    shared.levels[[at.PEAK_IN, at.PEAK_OUT]] = 0.5, 0.1
    shared.head[at.MADE] += path.settings.rate // 100
    path.host.latency_s = 0.004, 0.0065
    found = path.stats()
    names = ("worker_underruns", "input_underruns", "device_xruns", "trimmed_samples", "input_db", "output_db")
    assert [found[name] for name in names] == [3, 5, 18, 13, -6.0, -20.0]
    assert (found["plain"], found["delivers"]) == (False, False)  # no device is open
    assert found["latency_ms"] == {"device": 10.5, "ring": 10, "algorithm": 11.33, "total": 31.83}
    assert path._count_calls() == (0, 0)


def test_spectra_are_of_the_last_samples_of_a_circular_memory():
    """A sine of half of full scale in the middle of a band is 6 dB under it, but for what Hann's window spreads."""
    cells, last = np.ones(1500, np.float32), 700
    cells[np.arange(last - 1024, last) % 1500] = 0.5 * np.sin(2 * np.pi * 117 / 1024 * np.arange(1024))
    expected = BANDS * [-100.0]
    expected[117 * BANDS // 512] = pytest.approx(20 * np.log10(0.5) + 1.8, abs=0.1)
    assert bands_db(cells, last) == expected


def test_a_terminal_shows_meters_cutoff_latency_and_events(stats):
    out = io.StringIO()
    with Terminal(Console(file=out, force_terminal=True, width=100)) as view:
        view.event("voice", "ready", "A -> B")
        view.stats(stats)
    shown = out.getvalue()
    for word in ("cutoff", "latency ms", "algorithm 11.3", "underruns", "voice ready: A -> B", "-100.0 dB"):
        assert word in shown


def test_a_terminal_shows_the_last_events_alone():
    with Terminal(Console(file=io.StringIO())) as view:
        for number in range(EVENTS + 1):
            view.event("voice", "x", f"number {number}")
        assert [line.split()[-1] for line in view.events] == [str(n) for n in range(1, EVENTS + 1)]


def test_the_load_is_that_since_the_last_look():
    view = Terminal(Console(file=io.StringIO()))
    looks = [("a", 10.0, 2.0), ("a", 12.0, 2.5), ("b", 12.0, 3.0), ("a", 12.25, 2.6)]
    assert [view._cpu(name, {"uptime_s": up, "cpu_s": cpu}) for name, up, cpu in looks] == pytest.approx(
        [20, 25, 25, 40]
    )


@pytest.mark.parametrize(
    ("on", "said"),
    [((), "enhancing at -3 dB"), (("bypass",), "bypass"), (("asleep", "mute", "plain"), "mute, plain, asleep")],
)
def test_what_is_done_to_the_voice_is_said(on, said):
    assert state({"gain_db": -3.0, **{name: name in on for name in ("mute", "bypass", "plain", "asleep")}}) == said


def test_a_journal_gets_one_line_an_event(stats):
    out = io.StringIO()
    lines = LogView(out)
    lines.event("voice", "reconnect", 'it said "gone"')
    lines.stats(stats)
    assert out.getvalue().endswith("""path=voice event=reconnect msg="it said 'gone'"\n""")
    lines.reported -= 61
    for _ in range(2):  # once a minute
        lines.stats(stats)
    first, second = out.getvalue().splitlines()
    assert first.endswith("gone'\"")
    assert 'path=voice event=stats msg="model=random-16k cutoff_hz=' in second
    assert second.endswith(' drift_ppm=0.0 compute_p99_ms=nan"')


def test_a_meter_and_sparks_follow_the_level():
    assert meter(-60.0).plain.count("█") == 0
    assert meter(0.0).plain.count("░") == 0
    assert sparks([-120.0, -100.0, -60.0, -20.0, 0.0]) == "  ▄██"
    shown = [meter(level) for level in (-70.0, -30.0, -9.0, -8.9, -1.0, -0.9, 6.0)]
    assert [one.plain.count("█") for one in shown] == [0, 15, 26, 26, 30, 30, 30]
    assert [one.plain.count("░") for one in shown] == [30, 15, 4, 4, 0, 0, 0]
    assert [one.style for one in shown[1:]] == ["green", "green", "yellow", "yellow", "red", "red"]
    assert shown[0].plain.endswith("  -70.0 dB")


def test_prometheus_gets_every_figure(stats):
    pytest.importorskip("prometheus_client")
    found = {f.name: f.samples for f in families(stats)}
    assert {n.removesuffix("_total") for n in (*GAUGES, *COUNTERS)} | {"rtsr_latency_ms", "rtsr_compute_ms"} == set(
        found
    )
    assert all(s.labels["path"] == "voice" for samples in found.values() for s in samples)
    values = stats["voice"]
    for name, (key, _) in (GAUGES | COUNTERS).items():
        assert [s.value for s in found[name]] == [float(values[key])]
    assert {s.labels["part"]: s.value for s in found["rtsr_latency_ms"]} == values["latency_ms"]
    assert {s.labels["quantile"]: s.value for s in found["rtsr_compute_ms"]} == pytest.approx(
        values["compute_ms"], nan_ok=True
    )


@pytest.fixture
def failing() -> dict[str, str]:
    """Why each path delivers nothing."""
    return {}


@pytest.fixture
def server(stats, failing) -> Iterator[MetricsServer]:
    """It serves these stats."""
    pytest.importorskip("prometheus_client")
    server = MetricsServer(0, lambda: stats, lambda: failing)
    yield server
    server.close()


def test_without_prometheus_client_its_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingDependency, match="prometheus-client"):
        MetricsServer(0, dict, dict)


def fetched(server: MetricsServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_and_health_are_served_and_nothing_else(server, failing, capfd):
    code, text = fetched(server, "/metrics")
    assert (code, 'rtsr_hops_total{path="voice"} 0.0' in text) == (200, True)
    assert fetched(server, "/healthz") == (200, "ok\n")
    failing |= {"voice": "no answer", "other": "not started"}
    assert fetched(server, "/healthz") == (503, "voice: no answer\nother: not started\n")
    assert fetched(server, "/")[0] == 404
    assert capfd.readouterr().err == ""
    with pytest.raises(InvalidSetting, match=f"port {server.port} "):
        MetricsServer(server.port, dict, dict)
