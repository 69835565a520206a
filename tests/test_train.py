"""Training reads what it may, lowers the loss, and goes on after a crash as if there was none."""

from __future__ import annotations

import csv
import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from rtsr.errors import InvalidAudio, InvalidSetting  # noqa: E402
from rtsr.net.model import NetConfig  # noqa: E402
from rtsr.net.weights import Weights  # noqa: E402
from rtsr.runs import CHECKPOINT, RECORD  # noqa: E402
from rtsr.spec import Spec  # noqa: E402
from rtsr.speech.corpus import Corpus, read_at, read_manifest, select  # noqa: E402
from rtsr.train import loop, loss, pairs  # noqa: E402
from rtsr.train.discriminators import SCALES, Adversarial, Discriminators  # noqa: E402
from rtsr.train.recipes import RECIPES  # noqa: E402

SPEC, CPU = Spec(), torch.device("cpu")
WIDE = RECIPES["voice-48k"].net.spec
TINY = NetConfig(widths=(16, 12, 8), memory=8)
FEW = 232  # frames: fewer than 225 are too few for the discriminator of the longest scale
RECIPE = loop.Recipe(steps=4, rows=2, frames=FEW, warm_up=2, net=TINY, adversarial=Adversarial(channels=4, ramp=2))


def test_the_split_the_rate_and_the_licence_decide(speech_folder):
    recordings = read_manifest(speech_folder)
    assert [r.path.name for r in select(recordings, "train", 16000)] == ["train-0.flac", "train-1.flac"]
    assert len(select(recordings, "train", 16000, share_alike=True)) == 3
    assert [r.rate for r in select(recordings, "train", 48000)] == [48000]
    assert len(select(recordings, "valid", 16000)) == 1


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match=r"manifest\.csv"):
        read_manifest(tmp_path)


def test_a_manifest_that_lacks_something_is_refused_by_its_line(tmp_path):
    (tmp_path / "manifest.csv").write_text(
        "file,split,rate,corpus,licence\na.flac,train,16000,c,l\nb.flac,train,x,c,l\n"
    )
    with pytest.raises(InvalidSetting, match="line 3"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,split\na.flac,train\n")
    with pytest.raises(InvalidSetting, match="line 2"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 half a checkpoint"])
def test_a_broken_checkpoint_is_refused(tmp_path, content):
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(InvalidSetting, match="--fresh"):
        loop.Run(RECIPE, tmp_path, CPU).resume()


def test_a_corpus_is_packed_once_and_holds_the_recordings(speech_folder, corpus, tmp_path, monkeypatch):
    chosen = select(read_manifest(speech_folder), "train", 16000)
    assert len(corpus) == 2 * 3 * 16000
    first = read_at(chosen[0].path, 16000)
    np.testing.assert_allclose(corpus.samples[:48000] / 32768, first, atol=1 / 32768)
    Corpus.packed(chosen, 16000, tmp_path)
    monkeypatch.setattr("rtsr.speech.corpus.read_at", lambda *a: pytest.fail("it was decoded again"))
    again = Corpus.packed(chosen, 16000, tmp_path)
    np.testing.assert_array_equal(again.samples, corpus.samples)


def test_no_recordings_and_unreadable_ones_are_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="at least one recording"):
        Corpus.packed([], 16000, tmp_path)
    (tmp_path / "bad.flac").write_bytes(b"no audio")
    with pytest.raises(InvalidAudio, match=r"bad\.flac"):
        read_at(tmp_path / "bad.flac", 16000)


def test_a_corpus_too_short_for_one_stretch_is_refused(tmp_path):
    short = Corpus(np.zeros(100, np.int16), np.array([100]))
    with pytest.raises(InvalidSetting):
        short.crops(np.random.default_rng(0), 1, 200)


def test_the_learning_rate_warms_up_stays_and_falls_to_nothing():
    recipe = loop.Recipe(steps=1000, warm_up=100, decay=0.4)
    rates = [loop.learning_rate(recipe, step, step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert np.all(np.diff(rates[:100]) > 0)
    assert rates[99:600] == pytest.approx([1.0] * 501)
    assert np.all(np.diff(rates[600:]) < 0)
    assert rates[800] == pytest.approx(0.5)
    assert rates[1000] == 0


@pytest.mark.parametrize("model", RECIPES)
def test_a_recipe_fits_its_model(model):
    recipe = RECIPES[model]
    assert recipe.model == model
    assert sum(recipe.cutoffs.shares) == pytest.approx(1)
    assert recipe.net.spec.cutoff_min_hz < recipe.cutoffs.lowest < min(recipe.cutoffs.named)
    assert max(recipe.cutoffs.named) <= recipe.net.spec.cutoff_max_hz
    assert recipe.cutoffs.highest < recipe.net.spec.cutoff_max_hz
    assert 0 < recipe.weights.quantile <= 0.5


@pytest.mark.parametrize("model", RECIPES)
def test_a_recipes_frames_are_enough_for_every_discriminator(model):
    recipe = RECIPES[model]
    discriminators = Discriminators(replace(recipe.adversarial, channels=2), CPU)
    bands = loss.BELOW + recipe.net.spec.bands
    for net in discriminators.nets:
        answer = discriminators.look(net, torch.zeros(1, recipe.frames, bands), torch.ones(1, 1, bands))[-1]
        assert answer.shape[2] >= 1
    assert len(discriminators.nets) == len(SCALES)


def test_a_model_for_48_khz_trains_from_one_for_16_khz_and_its_card_says_so(speech_folder, tmp_path):
    from rtsr.train.ship import ship

    first = loop.train(RECIPE, speech_folder, tmp_path / "a", CPU, fresh=True)
    start = ship(tmp_path / "a", "tiny-16k", tmp_path / "shipped")
    net = replace(TINY, spec=WIDE)
    recipe = replace(
        RECIPES["voice-48k"],
        steps=2,
        rows=4,
        frames=FEW,
        net=net,
        transfers_from=str(start),
        adversarial=RECIPE.adversarial,
    )
    begun = loop.Run(recipe, tmp_path / "b", CPU)
    assert torch.equal(begun.net.memory.enter.weight, first.average.memory.enter.weight)
    with (speech_folder / "manifest.csv").open() as listed:
        rows = list(csv.DictReader(listed))
    root = tmp_path / "speech"
    root.mkdir()
    for row in rows:
        (root / row["file"]).symlink_to(speech_folder / row["file"])
    rows.append({**next(r for r in rows if r["rate"] == "48000"), "split": "valid"})
    with (root / "manifest.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    loop.train(recipe, root, tmp_path / "b", CPU, fresh=True)
    record = json.loads((tmp_path / "b" / RECORD).read_text())
    assert [(d["corpus"], d["seconds"]) for d in record["data"]] == [("c1", 3), ("c0", 3)]
    card = ship(tmp_path / "b", "tiny-48k", tmp_path / "shipped").with_suffix(".md").read_text()
    assert json.loads(start.read_text())["files"]["safetensors"]["file"] in card
    assert "--model voice-48k" in card


def advanced(run: loop.Run, maker: pairs.PairMaker, steps: int) -> loop.Run:
    for _ in range(steps):
        run.advance(maker.batch(run.step, RECIPE.rows, CPU))
    return run


@pytest.fixture(scope="module")
def small_maker(corpus) -> pairs.PairMaker:
    return pairs.PairMaker(corpus, SPEC, RECIPE.frames, RECIPE.seed)


def test_a_resumed_run_ends_with_the_same_parameters(small_maker, tmp_path):
    whole = advanced(loop.Run(RECIPE, tmp_path / "a", CPU), small_maker, 4)
    advanced(loop.Run(RECIPE, tmp_path / "b", CPU), small_maker, 2).save()
    resumed = loop.Run(RECIPE, tmp_path / "b", CPU)
    resumed.resume()
    assert resumed.step == 2
    advanced(resumed, small_maker, 2)
    discriminators = whole.discriminators.nets, resumed.discriminators.nets
    for one, other in ((whole.net, resumed.net), (whole.average, resumed.average), discriminators):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name
    fresh = loop.Run(RECIPE, tmp_path / "c", CPU)
    assert any(not torch.equal(t, fresh.net.state_dict()[n]) for n, t in whole.net.state_dict().items())
    learnt, new = (run.discriminators.nets.state_dict() for run in (whole, fresh))
    assert any(not torch.equal(t, new[n]) for n, t in learnt.items())
    assert any(not torch.equal(t, whole.average.state_dict()[n]) for n, t in whole.net.state_dict().items())


def test_training_lowers_the_level_error(small_maker, tmp_path):
    run = loop.Run(
        replace(RECIPE, steps=1000, warm_up=1, adversarial=Adversarial(channels=4, ramp=1000)), tmp_path, CPU
    )
    batch = small_maker.batch(0, 4, CPU)
    parts = [run.advance(batch) for _ in range(25)]
    assert set(parts[0]) == {"level", "adversarial", "discriminators", "gradient"}
    assert parts[-1]["level"] < 0.9 * parts[0]["level"]


def test_train_runs_from_a_folder_and_goes_on_from_its_checkpoint(speech_folder, tmp_path):
    whole = loop.train(RECIPE, speech_folder, tmp_path / "a", CPU, fresh=False, every=2)
    assert whole.step == 4
    record = json.loads((tmp_path / "a" / RECORD).read_text())
    assert record["recipe"]["seed"] == RECIPE.seed
    assert [(d["corpus"], d["recordings"], d["seconds"]) for d in record["data"]] == [("c0", 1, 3), ("c1", 1, 3)]
    assert list((tmp_path / "a").glob("events.out.tfevents.*"))
    assert not list((tmp_path / "a").glob("*.new"))
    assert len(list((tmp_path / "a").glob("checkpoint-4-*.pt"))) == 4
    maker = pairs.PairMaker(
        Corpus.packed(select(read_manifest(speech_folder), "train", 16000), 16000, tmp_path / "packed"),
        SPEC,
        RECIPE.frames,
        RECIPE.seed,
    )
    advanced(loop.Run(RECIPE, tmp_path / "b", CPU), maker, 3).save()
    resumed = loop.train(RECIPE, speech_folder, tmp_path / "b", CPU, fresh=False)
    assert resumed.step == 4
    for name, tensor in whole.average.state_dict().items():
        assert torch.equal(tensor, resumed.average.state_dict()[name]), name
    again = loop.train(RECIPE, speech_folder, tmp_path / "b", CPU, fresh=False)
    assert again.step == 4


def test_a_run_of_minutes_ends_with_them_at_a_rate_of_nothing(speech_folder, tmp_path, monkeypatch):
    """By a clock on which each step takes an eighth of a second."""
    shares: list[float] = []
    step, ticks = loop.Optimisers.step, itertools.count(0, 0.125)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(loop.Optimisers, "step", lambda self, share: (shares.append(share), step(self, share)))
    recipe = replace(RECIPE, minutes=1 / 60, steps=1)
    run = loop.train(recipe, speech_folder, tmp_path / "a", CPU, fresh=True)
    assert (run.step, run.seconds) == (8, 1.0)
    assert shares == [0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert loop.train(recipe, speech_folder, tmp_path / "a", CPU, fresh=False).step == 8


def test_fresh_starts_over(speech_folder, tmp_path):
    run = loop.Run(RECIPE, tmp_path / "a", CPU)
    run.step = 3
    run.save()
    assert loop.train(RECIPE, speech_folder, tmp_path / "a", CPU, fresh=True).step == 4
    state = torch.load(tmp_path / "a" / CHECKPOINT, weights_only=True)
    assert state["step"] == 4


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    loop.Run(RECIPE, tmp_path, CPU).save()
    other = loop.Run(loop.Recipe(net=NetConfig(widths=(16, 12, 10), memory=8)), tmp_path, CPU)
    with pytest.raises(InvalidSetting, match="another network"):
        other.resume()


def test_a_run_begins_with_a_model_by_its_name_or_manifest_and_refuses_another_network(tmp_path):
    shipped = Weights.find("voice-16k")
    for name in ("voice-16k", str(shipped.path)):
        run = loop.Run(loop.Recipe(net=shipped.network().config), tmp_path, CPU)
        run.start_from(name)
        assert all(torch.equal(v, run.average.state_dict()[k]) for k, v in shipped.network().state_dict().items())
        assert (run.step, run.seconds) == (0, 0)
    with pytest.raises(InvalidSetting, match="another network than voice-16k-small"):
        loop.Run(RECIPES["voice-16k-small"], tmp_path, CPU).start_from("voice-16k")
    with pytest.raises(InvalidSetting, match="or a model's name: no model named 'voice-17k'"):
        loop.Run(RECIPES["voice-16k"], tmp_path, CPU).start_from("voice-17k")


def test_a_run_can_be_shipped_and_opened(speech_folder, tmp_path):
    from rtsr.backend import load
    from rtsr.train.ship import ship

    run = loop.train(RECIPE, speech_folder, tmp_path / "run", CPU, fresh=True)
    manifest = ship(tmp_path / "run", "tiny-16k", tmp_path / "shipped")
    opened = load(manifest, "eager")
    margin = RECIPE.margin_db * math.log(10) / 10
    for name, tensor in run.average.state_dict().items():
        assert torch.equal(tensor - margin if name == "leave.bias" else tensor, opened.net.state_dict()[name]), name
    card = manifest.with_suffix(".md").read_text()
    assert "CC BY 4.0" in card
    assert "BY-SA" not in card
    second = replace(RECIPE, steps=1, voices=0.5)
    loop.train(second, speech_folder, tmp_path / "second", CPU, fresh=True, start=str(manifest))
    card = ship(tmp_path / "second", "tiny-16k-again", tmp_path / "shipped").with_suffix(".md").read_text()
    assert f"started from `{json.loads(manifest.read_text())['files']['safetensors']['file']}`" in card
    assert "--voices 0.5" in card
    with pytest.raises(InvalidSetting, match="training run"):
        ship(tmp_path / "nothing", "x", tmp_path / "shipped")
