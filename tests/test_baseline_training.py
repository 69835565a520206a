"""A published network is trained for its minutes, goes on after a crash as if there was none, and can be used."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile

from tests.signals import noise, voice_like

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from rtsr.errors import InvalidSetting  # noqa: E402
from rtsr.eval.baseline import Offline  # noqa: E402
from rtsr.net.baselines import AudioUNet  # noqa: E402
from rtsr.speech.corpus import Corpus  # noqa: E402
from rtsr.train import baseline  # noqa: E402
from rtsr.train.baseline import BaselineRecipe, BaselineRun  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def thin(monkeypatch):
    monkeypatch.setattr(AudioUNet, "filters", (4, 4, 4, 4))
    monkeypatch.setattr(baseline, "PATCH", 1024)


@pytest.fixture
def corpus() -> Corpus:
    x = voice_like(4.0) + noise(64000, 1, 1e-3)
    return Corpus((x * 32767).astype(np.int16), np.array([64000]))


@pytest.mark.parametrize(("name", "factor"), [("audio-unet", 6), ("causal-audio-unet", 4), ("hetherly", 2), ("sut", 6)])
def test_a_batch_is_aligned_and_fits(name, factor, corpus, tmp_path):
    run = BaselineRun(BaselineRecipe(name, factor, 1.0, rows=2), tmp_path, CPU)
    start, wanted = run.batch(corpus)
    with torch.no_grad():
        assert run.net.eval()(start).shape == wanted.shape
    if run.net.step == 1:
        given = run.net.centre(start)
        low = torch.fft.rfft(given - wanted)[:, : wanted.shape[1] // 2 // factor * 8 // 10]
        assert low.abs().mean() < 0.1 * torch.fft.rfft(wanted)[:, : low.shape[1]].abs().mean()
    again = BaselineRun(run.recipe, tmp_path, CPU).batch(corpus)
    assert torch.equal(again[0], start)


def test_training_lowers_the_error(corpus, tmp_path):
    run = BaselineRun(BaselineRecipe("audio-unet", 4, 1.0, rows=4), tmp_path, CPU)
    errors = []
    for _ in range(25):
        errors.append(run.advance(corpus))
        run.step = 0  # the same batch again
    assert errors[-1] < errors[0]


def test_a_resumed_run_ends_with_the_same_parameters(corpus, tmp_path):
    recipe = BaselineRecipe("audio-unet", 2, 1.0, rows=2)
    whole, first = BaselineRun(recipe, tmp_path / "a", CPU), BaselineRun(recipe, tmp_path / "b", CPU)
    for run in (whole, first):
        run.net.dropout.p = 0.0  # what it drops depends on how many numbers were drawn before
    for _ in range(4):
        whole.advance(corpus)
    for _ in range(2):
        first.advance(corpus)
    first.save()
    resumed = BaselineRun(recipe, tmp_path / "b", CPU)
    resumed.net.dropout.p = 0.0
    resumed.resume()
    assert resumed.step == 2
    assert resumed.seconds == first.seconds
    for _ in range(2):
        resumed.advance(corpus)
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, resumed.net.state_dict()[name]), name


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    BaselineRun(BaselineRecipe("audio-unet", 2, 1.0), tmp_path, CPU).save()
    with pytest.raises(InvalidSetting, match="another network"):
        BaselineRun(BaselineRecipe("sut", 2, 1.0), tmp_path, CPU).resume()


def test_train_gives_a_run_its_minutes_and_it_opens(tmp_path):
    rows = []
    for split in ("train", "valid"):
        soundfile.write(tmp_path / f"{split}.flac", voice_like(3.0), 16000)
        row = {"file": f"{split}.flac", "split": split, "rate": 16000, "corpus": "c", "licence": "CC BY 4.0"}
        rows.append(row)
    with (tmp_path / "manifest.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    recipe = BaselineRecipe("audio-unet", 2, 0.01, rows=2)
    run = baseline.train(recipe, tmp_path, tmp_path / "run", CPU, fresh=False)
    assert run.seconds >= 0.6
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["baseline"]["name"] == "audio-unet"
    assert record["data"][0]["licence"] == "CC BY 4.0"
    again = baseline.train(recipe, tmp_path, tmp_path / "run", CPU, fresh=False)
    assert again.step == run.step
    assert Offline.open(tmp_path / "run").restore_signal(noise(100, 1)).shape == (200,)
