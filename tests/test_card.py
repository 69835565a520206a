"""Each stage for a card runs, small, without one; what is wrong is told, and the rest goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from bench import card_checks, card_results, gpu

ROOT = Path(__file__).resolve().parents[1]
ABSENT = ("soundfile", "_soundfile", "cffi", "soxr", "av", "sounddevice", "aiortc", "matplotlib")


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "card.jsonl").read_text().splitlines()]


@pytest.fixture
def absent(tmp_path, monkeypatch) -> Path:
    """Processes that are started find none of the packages that a card's machine has not."""
    folder = tmp_path / "absent"
    folder.mkdir()
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('no module named {name} on this machine')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def test_every_stage_runs_small_without_a_card(model_path, tmp_path, capsys):
    asked = ["--device", "cpu", "--model", str(model_path), "--results", str(tmp_path)]
    stages = [name for name in gpu.STAGES if name != "two"]  # below
    assert gpu.main([*asked, *stages]) == 0
    rows = rows_of(tmp_path)
    assert {row["stage"]: row["good"] for row in rows if row["key"].startswith("card, stage ")} == dict.fromkeys(
        stages, True
    )
    lines = card_results.summary(rows)
    assert lines[0] == "checks: 18 of 18 within their bounds"
    assert [line for line in lines if line.startswith("one voice in a pool, graph-bfloat16 in torch: p50 ")]
    assert [line for line in lines if line.startswith("training: ")]
    assert gpu.main(["--list"]) == 0
    assert capsys.readouterr().out.split()[-len(gpu.STAGES) :] == list(gpu.STAGES)


def test_two_processes_run_where_audio_libraries_are_not_installed(model_path, tmp_path, absent):
    command = [ROOT / "bench" / "card.sh", "--device", "cpu", "--model", model_path, "--state", tmp_path / "state"]
    environment = {**os.environ, "PYTHON": sys.executable}
    ended = subprocess.run([*command, tmp_path / "out", "two"], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "checks: 3 of 3 within their bounds" in ended.stdout
    assert "How to read card.jsonl" in (tmp_path / "out" / "summary.txt").read_text()
    assert len([row for row in rows_of(tmp_path / "out") if row["stage"] == "shared"]) == 4


def test_tests_and_stages_load_without_audio_libraries(absent):
    command = [sys.executable, "-c", "import tests.conftest, tests.contracts.test_rows, soundfile"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "no module named soundfile" in ended.stderr.splitlines()[-1], "the last of them, so all before was loaded"
    assert 'File "<string>", line 1' in ended.stderr.splitlines()[1]
    assert len([line for line in ended.stderr.splitlines() if line.startswith("  File")]) == 2, ended.stderr


def test_what_is_wrong_is_told_and_the_next_stage_runs(model_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(card_checks, "BOUNDS", {"float32": -1.0})
    monkeypatch.setitem(gpu.STAGES, "voice", lambda card: 1 / 0)
    asked = ["--device", "cpu", "--model", str(model_path), "--results", str(tmp_path)]
    assert gpu.main([*asked, "correct-many", "voice", "others"]) == 1
    assert "wrong: graph in torch against eager, 8 rows; voice ended with ZeroDivisionError" in capsys.readouterr().out
    rows = rows_of(tmp_path)
    assert [row["good"] for row in rows if row["key"].startswith("card, stage ")] == [False, False, True]
    lines = card_results.summary(rows)
    assert "  WRONG in correct-many, voice: see card.log" in lines
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["--device", "cpu", "wake"])


STUB = """#!/bin/sh
# stands in for Python: writes what it was called for, and ends as $ENDS says of a stage
[ "$2" = bench.gpu ] || { echo "results of $3"; exit; }
shift
case $2 in
--list) printf 'probe\\nslow\\nbad\\nlast\\n' ;;
slow) sleep 60 ;;
bad) [ -e "$RIGHT" ] || exit 1 ;;
esac
[ "$2" = --list ] || echo "$@" >> "$CALLS"
"""


def test_the_script_goes_on_after_failures_and_where_it_stopped(tmp_path):
    stub, calls, right = (tmp_path / name for name in ("python", "calls", "right"))
    stub.write_text(STUB)
    stub.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(stub), "CALLS": str(calls), "RIGHT": str(right)}

    def script(*options: str) -> tuple[int, list[str], str]:
        calls.write_text("")
        command = [ROOT / "bench" / "card.sh", "--state", "state", *options, "out"]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        return ended.returncode, [line.split()[1] for line in calls.read_text().splitlines()], ended.stdout

    code, ran, said = script("--limit", "1", "--rows", "5,6")
    assert (code, ran) == (1, ["probe", "last"])
    assert "slow: stopped after 1 s" in said
    assert (tmp_path / "out" / "done").read_text().split("\n")[:4] == ["probe 0", "slow 124", "bad 1", "last 0"]
    assert f"results of {tmp_path / 'state'}" in (tmp_path / "out" / "summary.txt").read_text()
    right.touch()
    code, ran, said = script("--limit", "1")
    assert (code, ran) == (1, ["bad"])
    assert said.count("done before") == 2
    stub.write_text(STUB.replace("sleep 60", "true"))
    assert script()[:2] == (0, ["slow"])


def test_the_script_says_what_it_takes():
    script = ROOT / "bench" / "card.sh"
    said = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--limit SECONDS" in said
    assert subprocess.run([script], capture_output=True).returncode == 64


def test_what_was_found_is_told_beside_what_is_aimed_at():
    many = {"key": "card, 16384 voices, graph, 1 shards", "precision": "float32", "voices": 16_384, "p99_ms": 4.0}
    rows = [
        {"key": "card, check, pool", "good": False, "error": 1.0, "stage": "correct"},
        {"key": "card, check, pool", "good": True, "error": 1e-6, "stage": "correct"},  # once more, and right
        {"key": "card, one voice in a pool, graph", "p50_ms": 0.2, "p99_ms": 0.6},
        many,
        {**many, "key": "card, 50000 voices, graph, 1 shards", "voices": 50_000, "p99_ms": 6.0},
        {"key": "card, training, 12 rows", "audio_s_per_s": 900.0},
    ]
    assert card_results.summary(rows) == [
        "checks: 1 of 1 within their bounds",
        "one voice in a pool, graph: p50 0.200 ms (meets 0.25), p99 0.600 ms (misses 0.5)",
        "voices at p99 < 5 ms in float32: 16,384 (meets 10,000, misses 50,000)",
        "training: 900 s of audio a second (meets 833)",
    ]
