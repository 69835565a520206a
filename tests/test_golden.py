"""The shipped weights still score what they scored when they were shipped: on the bundled prompt, or recorded speech.

After shipping other weights, RTSR_UPDATE_GOLDEN=1 writes the new figures; the change then shows in review.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import rtsr
from rtsr.backend import Backend
from rtsr.eval.demo import SIBLING, read_mono
from rtsr.eval.evaluate import restore_all
from rtsr.eval.systems import model_name
from rtsr.net.weights import shipped
from rtsr.speech.scores import score
from tests.speech import Speech

GOLDEN = Path(__file__).parent / "golden"
BAND = {"lsd": 0.01, "lsd_lf": 0.01, "snr_db": 0.05}  # other processors round otherwise; a changed path is far off


def measure(model: Backend, truth: np.ndarray, cutoff_hz: float) -> dict[str, float]:
    restored = restore_all(truth[: len(truth) // 12 * 12], model, cutoff_hz, given=True)[model_name(model)]
    scores = score(truth[: len(restored)], restored, model.spec.rate, cutoff_hz, options=())
    return {name: round(scores[name], 4) for name in BAND}


def check(name: str, truth: np.ndarray, cutoffs: tuple[float, ...]) -> None:
    path = GOLDEN / f"{name}.json"
    model = rtsr.load(name, "ort")
    found = {f"{cutoff:.0f}": measure(model, truth, cutoff) for cutoff in cutoffs}
    if os.environ.get("RTSR_UPDATE_GOLDEN"):
        path.write_text(json.dumps(found, indent=1) + "\n")
    stored = json.loads(path.read_text())
    for cutoff, scores in stored.items():
        for figure, value in scores.items():
            assert found[cutoff][figure] == pytest.approx(value, abs=BAND[figure]), f"{figure} at {cutoff} Hz"


@pytest.mark.parametrize("name", ["voice-16k", "voice-16k-small"])
def test_16_khz_scores_as_stored(name: str) -> None:
    check(name, read_mono(SIBLING)[0], (4000.0, 2000.0))


@pytest.mark.needs_speech
@pytest.mark.parametrize("name", ["voice-48k", "voice-48k-small"])
def test_48_khz_scores_as_stored(name: str, speech: Speech) -> None:
    check(name, speech(4.0, rate=48_000, which=1), (4000.0, 8000.0))


def test_every_shipped_model_has_stored_figures() -> None:
    assert shipped() == sorted(path.stem for path in GOLDEN.glob("*.json"))
