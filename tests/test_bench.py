"""Benchmarks measure what they say: a slow network shows as network, too large a batch as late, a loss as lost."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from bench import faults
from bench.words import differing
from rtsr import BackendFailed
from rtsr.backend.null import NullBackend
from rtsr.bench import compare, latency, record, report, throughput
from rtsr.pool import capacity
from rtsr.spec import Spec

SPEC = Spec()
TICK_S = 1e-6


class Clock:
    """Time that passes only where somebody sleeps, and a little whenever it is read: no other process disturbs it."""

    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        self.now += TICK_S
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock.read)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


class Slow(NullBackend):
    """Takes a fixed time a step and a row."""

    def __init__(self, step_s: float, row_s: float = 0.0) -> None:
        super().__init__(SPEC, "slow")
        self.name, self.step_s, self.row_s = "slow", step_s, row_s

    def step(self, spectrum, cutoff, state, out, active=None) -> None:
        time.sleep(self.step_s + self.row_s * len(spectrum))
        super().step(spectrum, cutoff, state, out, active)


def test_the_networks_time_is_the_networks(clock):
    measured = latency.measure(Slow(0.002), 0.3, "flat out")
    stages = {name: 1000 * float(np.median(times)) for name, times in measured.stages.items()}
    assert set(stages) == set(report.STAGE_ORDER)
    assert stages["network"] == pytest.approx(2, abs=0.01)
    assert sum(stages.values()) - stages["network"] < 0.1
    row = latency.row(Slow(0.002), "flat out", measured)
    assert row["p50_ms"] <= row["p99_ms"] <= row["p999_ms"] <= row["max_ms"]
    assert (row["algorithmic_ms"], row["hops"], row["late"]) == (10, 60, 0)
    assert row["watch"]["p50_ms"] == pytest.approx(2, abs=0.01)
    assert row["buffers_ms"] == 0


def test_a_paced_run_takes_as_long_as_the_voice(clock):
    began = clock.now
    latency.measure(Slow(0), 0.5, "paced")
    assert 0.74 < clock.now - began < 0.77  # and half of it again, to time the stages


def test_a_capacity_search_ends_where_a_tick_takes_longer_than_a_hop(clock):
    points = capacity.search(Slow(0.0005, 0.0002), threads=1, most=64, seconds=0.05)
    row = throughput.row(Slow(0), 1, points)
    assert row["capacity"] == 22  # 0.5 ms and 0.2 a row
    assert row["us_alone"] == pytest.approx(700, abs=10)
    assert row["us_per_row"] == pytest.approx(4900 / 22, abs=1)
    assert points[-1].p99_ms >= SPEC.hop_ms
    assert [p.rows for p in points] == sorted(p.rows for p in points)
    assert row["us_per_row"] < row["us_alone"]


def test_capacity_stops_at_the_first_late_batch():
    points = [capacity.Point(r, 1, p99) for r, p99 in [(1, 1.0), (8, 2.0), (16, 9.0), (24, 3.0)]]
    assert capacity.carried(points, 5) == 8
    assert capacity.carried(points[2:], 5) == 0


def test_a_pool_admits_four_fifths_of_what_was_carried(clock):
    assert capacity.admission_limit(Slow(0.0005, 0.0002), most=64) == 17  # of 22
    assert capacity.admission_limit(Slow(0.002), most=10) == 8
    with pytest.raises(BackendFailed, match=r"slow takes 6\.0 ms"):
        capacity.admission_limit(Slow(0.006), most=10)


def test_systems_are_measured_in_turn(clock):
    order = []
    systems = [compare.System(n, lambda n=n: (order.append(n), time.sleep(0.002 * (1 + (n == "b"))))) for n in "abc"]
    rows = compare.rows(systems, compare.measure(systems, 3))
    assert "".join(order) == "abc" + "cab" + "bca" + "abc"
    assert rows[1]["times_ours"] == pytest.approx(2, rel=0.01)
    assert rows[0]["times_ours"] == 1
    assert rows[0]["s_per_audio_s"] == pytest.approx(0.002 / compare.SECONDS, rel=0.01)


def stored_row(value: float, key: str = "a") -> dict:
    return {"key": key, "watch": {"p50_ms": value}}


def test_a_loss_beyond_noise_is_told():
    before = [stored_row(v) for v in (1.0, 1.05, 0.95, 1.0)]
    lost, compared = record.regressions([stored_row(1.3)], before)
    assert (len(lost), compared) == (1, 1)
    assert "a: p50_ms was 1, at most 1.2 with noise, and is 1.3" in lost[0]
    assert record.regressions([stored_row(1.15)], before) == ([], 1)
    assert record.regressions([stored_row(9, "b")], before) == ([], 0)


def test_noisy_rows_forgive_more():
    before = [stored_row(v) for v in (1.0, 1.4, 0.6, 1.4, 0.6)]
    assert record.regressions([stored_row(1.9)], before) == ([], 1)
    assert record.regressions([stored_row(2.3)], before)[0]


def test_rows_of_other_machines_do_not_count(tmp_path):
    record.store(tmp_path, "latency", [stored_row(1.0)])
    text = (tmp_path / "latency.jsonl").read_text()
    other = {**json.loads(text), "machine": "abacus, 3 cores"}
    (tmp_path / "latency.jsonl").write_text(text + json.dumps(other) + "\n")
    rows = record.stored(tmp_path, "latency")
    assert len(rows) == 1
    assert {"when", "commit", "machine", "python", "versions", "command", "key", "watch"} == set(rows[0])
    assert rows[0]["versions"]["numpy"] == np.__version__
    assert record.stored(tmp_path, "nothing") == []


def test_the_command_of_a_row_can_be_called_elsewhere():
    assert record.command(["/here/bin/rtsr", "bench", "--seconds", "3"]) == "rtsr bench --seconds 3"
    assert record.command(["/here/bench/gpu.py", "/there/speech"]) == "python -m bench.gpu speech"


def test_the_summary_is_in_words():
    heard = {"backend": "ort", "mode": "paced", "p50_ms": 0.31, "p99_ms": 0.62, "algorithmic_ms": 10.0}
    carried = {"backend": "ort", "threads": 2, "capacity": 62, "deadline_ms": 5.0}
    assert report.summary([heard], [carried]) == (
        "this machine can carry 62 calls with every 5 ms hop done in time (p99), on 2 threads with ort; "
        "one call adds 10.3 ms (10.6 at worst in a hundred), of which 10.0 algorithmic."
    )
    assert "cannot carry one call" in report.summary([], [{**carried, "capacity": 0}])


@pytest.fixture
def bench(run, tmp_path):
    """Call `rtsr bench ARGS` with folders of its own and return its exit code, stdout and stderr."""
    return lambda *args: run("bench", *args, "--results", tmp_path / "results", "--out", tmp_path / "out")


def test_rtsr_bench_stores_rows_and_draws(bench, tmp_path, model_path):
    code, out, _ = bench("--model", str(model_path), "--backend", "null", "--seconds", "0.3", "--most", "8")
    assert code == 0
    assert "This machine can" in out
    assert {p.name for p in (tmp_path / "results").iterdir()} == {
        f"{n}.jsonl" for n in ("latency", "throughput", "start", "memory", "count")
    }
    page = (tmp_path / "out/bench.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "latency, random-16k, null, paced, 8000 to 16000 Hz" in page
    assert (tmp_path / "out/budget.png").stat().st_size > 5000


def test_check_fails_on_a_regression_and_only_then(bench, tmp_path, model_path):
    arguments = ("throughput", "--model", str(model_path), "--backend", "null", "--most", "8", "--threads", "1")
    assert bench(*arguments)[0] == 0
    path = tmp_path / "results/throughput.jsonl"
    row = json.loads(path.read_text())
    for factor, expected in ((10.0, 0), (0.1, 1)):
        path.write_text(json.dumps({**row, "watch": {"us_per_row": row["us_per_row"] * factor}}) + "\n")
        code, out, error = bench(*arguments, "--check", "--no-save")
        assert code == expected
        assert ("none is worse" in out) == (not expected)
        assert ("slower than stored" in error) == bool(expected)
    assert len(path.read_text().splitlines()) == 1


def test_rtsr_bench_compare_prints_ratios(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "audio_unet", lambda rate, causal: compare.System("AudioUNet", lambda: None, 1e9))
    code, out, _ = bench("compare", "--rounds", "1")
    assert code == 0
    assert "cubic spline" in out
    rows = [json.loads(line) for line in (tmp_path / "results/compare.jsonl").read_text().splitlines()]
    assert {"rtsr, ort", "AudioUNet", "sinc", "cubic spline"} <= {row["system"] for row in rows}


def test_stored_rows_that_are_no_rows_are_named(bench, tmp_path, model_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/latency.jsonl").write_text("slow\n")
    code, _, error = bench("latency", "--model", model_path, "--backend", "null", "--seconds", "0.2", "--check")
    assert code == 1
    assert "latency.jsonl" in error


@pytest.mark.parametrize(
    ("heard", "count"),
    [("a b c", 0), ("a c", 1), ("a x c", 1), ("a b b c", 1), ("", 3), ("b c a", 2), ("x y z w", 4)],
)
def test_words_that_differ_are_counted(heard, count):
    assert differing(["a", "b", "c"], heard.split()) == count


def test_what_a_call_holds_for_a_moment_is_no_growth(clock: Clock, monkeypatch):
    """Bytes may differ from one reading to the next, counts may not."""
    monkeypatch.setattr(time, "monotonic", clock.read)
    began = clock.now

    def state(_: object) -> dict[str, float]:
        return {"tasks": 20.0 + (clock.now < began + 0.5), "sockets": 9.0, "threads": 4.0, "mb": clock.now}

    monkeypatch.setattr(faults, "state", state)
    assert faults.settled(None)["tasks"] == 20.0
    assert clock.now == pytest.approx(began + 0.5 + faults.SAME_S, abs=2 * faults.POLL_S)


def test_counts_that_never_settle_are_refused(clock: Clock, monkeypatch):
    monkeypatch.setattr(time, "monotonic", clock.read)
    monkeypatch.setattr(faults, "state", lambda _: dict.fromkeys(("tasks", "sockets", "threads", "mb"), clock.now))
    with pytest.raises(SystemExit, match="the same"):
        faults.settled(None)
