"""The shipped weights still score what they scored when they were shipped, on the bundled prompt.

After shipping other weights, RTSR_UPDATE_GOLDEN=1 writes the new figures; the change then shows in review.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import rtsr
from rtsr.backend import Backend
from rtsr.eval.demo import SIBLING, read_mono
from rtsr.eval.evaluate import restore_all
from rtsr.eval.metrics import score
from rtsr.eval.systems import model_name
from rtsr.net.weights import shipped

GOLDEN = Path(__file__).parent / "golden"
BAND = {"lsd": 0.01, "lsd_lf": 0.01, "snr_db": 0.05}  # other processors round otherwise; a changed path is far off


def measure(model: Backend, cutoff_hz: float) -> dict[str, float]:
    truth, _ = read_mono(SIBLING)
    restored = restore_all(truth[: len(truth) // 4 * 4], model, cutoff_hz, told=True)[model_name(model)]
    scores = score(truth[: len(restored)], restored, model.spec.rate, cutoff_hz, perceptual=False)
    return {name: round(getattr(scores, name), 4) for name in BAND}


@pytest.mark.parametrize("name", shipped())
def test_shipped_weights_score_as_stored(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    model = rtsr.load(name, "ort")
    found = {f"{cutoff:.0f}": measure(model, cutoff) for cutoff in (4000.0, 2000.0)}
    if os.environ.get("RTSR_UPDATE_GOLDEN"):
        path.write_text(json.dumps(found, indent=1) + "\n")
    stored = json.loads(path.read_text())
    for cutoff, scores in stored.items():
        for figure, value in scores.items():
            assert found[cutoff][figure] == pytest.approx(value, abs=BAND[figure]), f"{figure} at {cutoff} Hz"


def test_something_ships() -> None:
    assert "voice-16k" in shipped()
