"""Pages that stand alone: what is in a report, and a comparison that gives nothing away and counts right."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
import soundfile

from tests.signals import voice_like

pytest.importorskip("matplotlib", reason="pages hold pictures")

import rtsr
from rtsr.errors import InvalidSetting
from rtsr.eval import evaluate as evaluation
from rtsr.eval.evaluate import Line
from rtsr.eval.listen import tally, write_page
from rtsr.eval.page import example, sound
from rtsr.eval.report import write_report
from rtsr.eval.systems import RtsrSystem, Sinc, Spline
from rtsr.eval.table import table
from rtsr.speech import scores
from rtsr.speech.scores import Metric

RATE = 16000
LINES = [Line(cutoff_hz=4000.0), Line("a-law")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    for i in range(2):
        soundfile.write(folder / f"<{i}>.wav", voice_like(1.2, seed=i), RATE)
    return sorted(folder.glob("*.wav"))


@pytest.fixture(scope="module")
def systems(model_path):
    return [Sinc(), Spline(), RtsrSystem(rtsr.load(model_path, "null"))]


@pytest.fixture(scope="module")
def examples(files, systems):
    return [example(files[0], line, systems, RATE) for line in LINES]


@pytest.fixture(scope="module")
def rows(files, systems):
    return list(evaluation.evaluate(files, systems, LINES, RATE, options=()))


def test_every_line_has_its_rows_and_means(rows, files):
    for line in LINES:
        its = [r for r in rows if r.condition == line.condition]
        assert [r.file for r in its if r.system == "sinc"] == [*(f.name for f in files), None]
        assert len(its) == 9
    assert all(r.real_time_factor > 0 for r in rows)
    assert all(r.facts.look_ahead_ms > 0 for r in rows)


def test_a_report_stands_alone_and_holds_all_of_it(rows, examples, systems, tmp_path):
    path = write_report(tmp_path / "report", "2 <recordings>", rows, examples, systems, RATE)
    page = path.read_text()
    assert "2 &lt;recordings&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<0>" not in page
    assert page.count("data:image/png") == 2
    assert page.count("<audio") == 2 * 4
    assert "a-law" in page
    for row in rows:
        if row.file is None:
            assert f"{row.scores['lsd']:.3f}" in page
    assert "PESQ-WB <small>" not in page, "bars of a figure that was not taken"


def test_the_truth_has_a_row_by_a_metric_that_does_not_need_it(files, systems, monkeypatch):
    loud = Metric("loud", "Loud", "higher", lambda j: float(np.abs(j.estimate).max()), needs_truth=False, share=True)
    monkeypatch.setattr(scores, "METRICS", (*scores.METRICS, loud))
    found = list(evaluation.evaluate(files, systems, LINES[:1], RATE, options=()))
    headings, cells = table(found)
    shares = {row[headings.index("system")]: row[headings.index("Loud restored ↑")] for row in cells}
    assert (shares["sinc"], shares["truth"]) == ("0.000", "1.000")
    assert {row[headings.index("LSD ↓")] for row in cells if row[headings.index("system")] == "truth"} == {"-"}


def test_what_is_heard_is_what_was_restored(examples):
    uri = sound(examples[0].sounds["sinc"], RATE)
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert rate == RATE
    np.testing.assert_allclose(heard, examples[0].sounds["sinc"], atol=2 / 32768)


def trials_of(path) -> list[dict[str, str]]:
    return json.loads(re.search(r'id="trials">(.*?)</script>', path.read_text(), re.S)[1])


def test_a_blind_page_has_every_pair_once_and_shuffles_them(examples, systems, tmp_path):
    ours = systems[2].name
    trials = trials_of(write_page(tmp_path, examples, RATE, seed=1))
    assert {frozenset((t["a_system"], t["b_system"])) for t in trials} == {frozenset(("sinc", ours))}
    assert sorted(t["line"] for t in trials) == ["a-law", "clean"]
    assert trials == trials_of(write_page(tmp_path, examples, RATE, seed=1))
    sides = [t["a_system"] for seed in range(8) for t in trials_of(write_page(tmp_path, examples, RATE, seed=seed))]
    assert 3 <= sides.count("sinc") <= 13


def test_a_blind_page_plays_what_it_says(examples, tmp_path):
    path = write_page(tmp_path, examples, RATE, seed=2)
    by_line = {e.line.condition: e for e in examples}
    for trial in trials_of(path):
        for side in ("a", "b"):
            uri = re.search(rf'id="{trial[side]}">(.*?)</script>', path.read_text())[1]
            assert uri == sound(by_line[trial["line"]].sounds[trial[f"{side}_system"]], RATE)


def test_a_comparison_needs_two_systems(files, tmp_path):
    alone = [example(files[0], LINES[0], [Sinc()], RATE)]
    with pytest.raises(InvalidSetting, match="two systems"):
        write_page(tmp_path, alone, RATE)


def test_votes_are_counted(tmp_path):
    cast = [("x", "y", "a"), ("y", "x", "a"), ("x", "y", "b"), ("x", "y", "equal"), ("z", "x", "b")]
    path = tmp_path / "votes.json"
    path.write_text(json.dumps({"votes": [{"a": a, "b": b, "vote": v} for a, b, v in cast]}))
    found = {(t.system, t.other): (t.won, t.lost, t.equal) for t in tally([path])}
    assert found == {("x", "y"): (1, 2, 1), ("x", "z"): (1, 0, 0)}
    path.write_text("{}")
    with pytest.raises(InvalidSetting, match="votes"):
        tally([path])
