"""What is measured, trained and compared from the command line: what it leaves, and how it is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsr.eval import harm
from rtsr.stream import Stream

NOISE = 0.1 * np.random.default_rng(0).standard_normal(16000)
SUT = '{"baseline": {"name": "sut", "factor": 2, "rate": 16000}}'


def test_evaluate_takes_the_corpora_that_are_asked_for(run, tmp_path):
    lines = ["file,split,rate,corpus,licence"]
    for i, corpus in enumerate(("one", "one-more", "two")):
        sound = 0.1 * np.random.default_rng(i).standard_normal(48000)
        soundfile.write(tmp_path / f"{i}.wav", sound, 48000)
        lines.append(f"{i}.wav,valid,48000,{corpus},CC0")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    options = ("--split", "valid", "--cutoffs", "8000", "--no-perceptual", "--model", "voice-48k", "--backend", "null")
    code, _, _ = run("evaluate", tmp_path, *options, "--corpus", "one", "--json", tmp_path / "s.json")
    assert code == 0
    scores = json.loads((tmp_path / "s.json").read_text())
    assert {row["file"] for row in scores["rows"]} == {"0.wav", "1.wav", None}
    assert scores["split"] == "valid one"
    code, _, err = run("evaluate", tmp_path, *options, "--corpus", "three")
    assert code == 1
    assert "three" in err


def test_evaluate_prints_the_means_and_writes_every_row(run, tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(16000), 16000)
    scores = tmp_path / "scores.json"
    options = ("--cutoffs", "4000,3000", "--no-perceptual", "--backend", "ort", "--json", scores)
    code, out, _ = run("evaluate", tmp_path, *options)
    assert code == 0
    assert "cubic spline" in out
    rows = json.loads(scores.read_text())["rows"]
    assert {(r["system"], r["file"]) for r in rows if r["cutoff_hz"] == 3000} == {
        (s, f) for s in ("sinc", "voice-16k (ort)") for f in ("a.wav", "b.wav", None)
    }


def test_evaluate_takes_no_more_of_a_file_than_is_asked_for(run, tmp_path):
    sound = 0.1 * np.random.default_rng(0).standard_normal(3 * 16000)
    options = ("--cutoffs", "4000", "--no-perceptual", "--backend", "null")
    found = {}
    for name, seconds in (("whole", ()), ("first", ("--seconds", "1")), ("short", ())):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", sound[:16000] if name == "short" else sound, 16000)
        code, _, _ = run("evaluate", tmp_path / name, *options, *seconds, "--json", tmp_path / f"{name}.json")
        assert code == 0
        found[name] = [row["scores"] for row in json.loads((tmp_path / f"{name}.json").read_text())["rows"]]
    assert found["first"] == found["short"] != found["whole"]


@pytest.fixture
def two_recordings(tmp_path) -> Path:
    (tmp_path / "speech").mkdir()
    for i in range(2):
        soundfile.write(tmp_path / "speech" / f"{i}.wav", 0.1 * np.random.default_rng(i).standard_normal(16000), 16000)
    return tmp_path / "speech"


def test_models_of_one_name_are_distinguished(run, two_recordings, model_path, tmp_path):
    other = shutil.copytree(model_path.parent, tmp_path / "other") / model_path.name
    options = ("--cutoffs", "4000", "--no-perceptual", "--backend", "null", "--model", model_path)
    code, _, _ = run("evaluate", two_recordings, *options, "--model", other, "--json", tmp_path / "s.json")
    assert code == 0
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    ours = [row["system"] for row in rows if row["file"] is None and row["system"] not in ("sinc", "cubic spline")]
    assert [name[-2:] for name in ours] == ["#1", "#2"]


def test_evaluate_over_telephones_and_a_report(run, two_recordings, tmp_path):
    pytest.importorskip("matplotlib", reason="a report holds pictures")
    options = ("--cutoffs", "4000", "--conditions", "mu-law,noise", "--no-perceptual", "--backend", "null")
    soundfile.write(tmp_path / "hum.wav", 0.1 * np.ones(16000), 16000)
    files = ("--noise", tmp_path, "--json", tmp_path / "s.json", "--report", tmp_path / "report")
    code, out, _ = run("evaluate", two_recordings, *options, *files)
    assert code == 0
    assert "mu-law" in out
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert {r["condition"] for r in rows} == {"clean", "mu-law", "noise"}
    assert (tmp_path / "report" / "index.html").stat().st_size > 100_000


def test_evaluate_names_the_conditions_there_are(run, two_recordings):
    code, _, err = run("evaluate", two_recordings, "--conditions", "mulaw", "--backend", "null")
    assert code == 1
    assert "mu-law" in err


@pytest.mark.parametrize(("distance", "code"), [(0.0, 0), (2 * harm.LSD_MOST, 1)])
def test_evaluate_says_what_was_harmed(run, two_recordings, monkeypatch, distance, code):
    found = harm.Harm("ringback", 8000, distance, None, 0.0, 0, wide=True)
    monkeypatch.setattr(harm, "check_all", lambda *_: iter([found]))
    got, out, _ = run("evaluate", two_recordings, "--harm", "--backend", "null")
    assert got == code
    assert "ringback" in out
    assert ("harmed" in out) == bool(code)


def test_listen_makes_a_page_and_counts_votes(run, two_recordings, tmp_path):
    pytest.importorskip("matplotlib", reason="pages hold pictures")
    code, _, _ = run("listen", two_recordings, "--backend", "null", "--out", tmp_path / "page")
    assert code == 0
    assert (tmp_path / "page" / "listen.html").is_file()
    votes = tmp_path / "votes.json"
    votes.write_text(json.dumps({"votes": [{"a": "sinc", "b": "voice-16k (null)", "vote": "b"}]}))
    code, out, _ = run("listen", "--votes", votes)
    assert code == 0
    assert "voice-16k (null)" in out
    code, _, err = run("listen")
    assert (code, "--votes" in err) == (1, True)


def test_a_published_network_needs_minutes_and_ours_has_no_steps_beside_them(run, tmp_path):
    pytest.importorskip("tensorboard", reason="training needs tensorboard")
    both = ("--minutes", "1", "--steps", "2")
    for options, needed in ((("--model", "sut"), "--minutes"), (both, "got both"), (("--minutes", "0"), "more than 0")):
        code, _, err = run("train", tmp_path, "--out", tmp_path / "run", *options)
        assert (code, needed in err) == (1, True)


def test_evaluate_refuses_another_rate(run, tmp_path):
    soundfile.write(tmp_path / "call.wav", NOISE[:4000], 8000)
    code, _, err = run("evaluate", tmp_path)
    assert code == 1
    assert "8000" in err


@pytest.mark.parametrize("samples", [np.full(16000, np.nan), NOISE[:1], NOISE[:159]], ids=["nan", "one", "short"])
def test_evaluate_names_the_recording_that_cannot_be_scored(run, tmp_path, samples):
    soundfile.write(tmp_path / "strange.wav", samples, 16000, subtype="FLOAT")
    code, _, err = run("evaluate", tmp_path, "--backend", "null")
    assert code == 1
    assert "strange.wav: expected 10 ms or more of finite samples" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "{tmp}/nowhere"), "folder of recordings"),
        (("evaluate", "{tmp}/speech/0.wav"), "folder of recordings"),
        (("evaluate", "{tmp}/speech", "--conditions", "noise", "--noise", "{tmp}/nowhere"), "nowhere: see --noise"),
        (("evaluate", "{tmp}/speech", "--json", "{tmp}/file/s.json"), "cannot be made"),
        (("evaluate", "{tmp}/speech", "--report", "{tmp}/file"), "cannot be made"),
        (("evaluate", "{tmp}/speech", "--model", "{tmp}/speech"), "rtsr export"),
        (("listen", "{tmp}/speech", "--out", "{tmp}/file"), "cannot be made"),
        (("listen", "{tmp}/nowhere"), "folder of recordings"),
        (("demo", "--fast", "--out", "{tmp}/file"), "cannot be made"),
        (("bench", "latency", "--out", "{tmp}/file"), "cannot be made"),
        (("bench", "compare", "--results", "{tmp}/file"), "cannot be made"),
        (("bench", "compare", "--no-save"), "null alone"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(run, two_recordings, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(Stream, "process", lambda *_: pytest.fail("worked before it looked"))
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(*(a.replace("{tmp}", str(tmp_path)) for a in arguments), "--backend", "null")
    assert code == 1
    assert err.startswith("error:")
    assert message in err


def test_a_disk_that_refuses_is_one_line(run, two_recordings, tmp_path):
    (tmp_path / "s.json").mkdir()
    options = ("--cutoffs", "4000", "--no-perceptual", "--backend", "null", "--json", tmp_path / "s.json")
    code, _, err = run("evaluate", two_recordings, *options)
    assert code == 1
    assert "s.json: Is a directory" in err


@pytest.mark.parametrize("vote", [{"a": 1, "vote": "a"}, {"a": "x", "b": "y", "vote": "maybe"}, "b"])
def test_what_is_no_vote_is_refused(run, tmp_path, vote):
    (tmp_path / "votes.json").write_text(json.dumps({"votes": [vote]}))
    code, _, err = run("listen", "--votes", tmp_path / "votes.json")
    assert code == 1
    assert "votes.json" in err


@pytest.mark.parametrize(
    ("record", "checkpoint"),
    [("{", b""), ("7", b""), ('{"baseline": {"name": "sut"}}', b"x"), (SUT, b"x"), (SUT, b""), (SUT, None)],
)
def test_a_published_networks_run_that_is_broken(run, two_recordings, tmp_path, record, checkpoint):
    pytest.importorskip("torch", reason="baselines need torch")
    (tmp_path / "run.json").write_text(record)
    if checkpoint is not None:
        (tmp_path / "checkpoint.pt").write_bytes(checkpoint)
    code, _, err = run("evaluate", two_recordings, "--model", tmp_path)
    assert code == 1
    assert err.startswith("error:")
    assert str(tmp_path) in err


def test_export_needs_a_run(run, tmp_path):
    code, _, err = run("export", tmp_path, "x", "--out", tmp_path)
    assert code == 1
    assert "checkpoint" in err
