"""Training draws the same from the same seed, makes honest pairs, and goes on after a crash as if there was none."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import narrowed, noise, power_db, voice_like

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from rtsr.errors import InvalidAudio, InvalidSetting  # noqa: E402
from rtsr.net.model import NetConfig  # noqa: E402
from rtsr.spec import Spec  # noqa: E402
from rtsr.train import loop, loss, pairs  # noqa: E402
from rtsr.train.corpus import Corpus, read_at, read_manifest, select  # noqa: E402
from rtsr.train.lines import Lines  # noqa: E402
from rtsr.train.recipes import RECIPES  # noqa: E402

SPEC, CPU = Spec(), torch.device("cpu")
WIDE = RECIPES["voice-48k"].net.spec
TINY = NetConfig(widths=(16, 12, 8), memory=8)
RECIPE = loop.Recipe(steps=4, rows=2, frames=64, warm_up=2, net=TINY)


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory) -> Path:
    """A folder with a manifest and a few recordings of something like speech."""
    root = tmp_path_factory.mktemp("speech")
    rows = []
    for i, (split, rate, licence) in enumerate(
        [
            ("train", 16000, "CC BY 4.0"),
            ("train", 48000, "Apache-2.0"),
            ("train", 16000, "CC BY-SA 3.0"),
            ("train", 8000, "CC BY 4.0"),
            ("valid", 16000, "CC BY 4.0"),
            ("test", 16000, "CC BY 4.0"),
        ]
    ):
        name = f"{split}-{i}.flac"
        soundfile.write(root / name, voice_like(3.0, rate, seed=i) + noise(3 * rate, i, 1e-3), rate)
        rows.append({"file": name, "split": split, "rate": rate, "corpus": f"c{i}", "licence": licence})
    with (root / "manifest.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="module")
def corpus(speech_folder, tmp_path_factory) -> Corpus:
    chosen = select(read_manifest(speech_folder), "train", 16000)
    return Corpus.packed(chosen, 16000, tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def maker(corpus) -> pairs.PairMaker:
    """Voices only; tones have tests of their own."""
    return pairs.PairMaker(corpus, SPEC, 128, seed=3, bank=64, variety=1, tones=0)


def same(a: pairs.Pairs, b: pairs.Pairs) -> bool:
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("received", "target", "cutoff"))


def test_the_split_the_rate_and_the_licence_decide(speech_folder):
    recordings = read_manifest(speech_folder)
    assert [r.path.name for r in select(recordings, "train", 16000)] == ["train-0.flac", "train-1.flac"]
    assert len(select(recordings, "train", 16000, share_alike=True)) == 3
    assert [r.rate for r in select(recordings, "train", 48000)] == [48000]
    assert len(select(recordings, "valid", 16000)) == 1


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match=r"manifest\.csv"):
        read_manifest(tmp_path)


def test_a_corpus_is_packed_once_and_holds_the_recordings(speech_folder, corpus, tmp_path, monkeypatch):
    chosen = select(read_manifest(speech_folder), "train", 16000)
    assert len(corpus) == 2 * 3 * 16000
    first = read_at(chosen[0].path, 16000)
    np.testing.assert_allclose(corpus.samples[:48000] / 32768, first, atol=1 / 32768)
    Corpus.packed(chosen, 16000, tmp_path)
    monkeypatch.setattr("rtsr.train.corpus.read_at", lambda *a: pytest.fail("it was decoded again"))
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


def test_a_step_draws_the_same_pairs_whenever_it_is_drawn(corpus, maker):
    again = pairs.PairMaker(corpus, SPEC, 128, seed=3, bank=64, variety=1, tones=0)
    fifth = maker.batch(5, 4, CPU)
    again.batch(1, 4, CPU)
    assert same(again.batch(5, 4, CPU), fifth)
    assert not same(maker.batch(6, 4, CPU), fifth)
    assert not same(pairs.PairMaker(corpus, SPEC, 128, seed=4, bank=64, tones=0).batch(5, 4, CPU), fifth)


def test_pairs_have_the_shapes_levels_and_cutoffs_they_promise(maker):
    cutoffs = []
    for step in range(8):
        batch = maker.batch(step, 8, CPU)
        assert batch.received.shape == batch.target.shape == (8, 128 * SPEC.hop)
        assert batch.cutoff.shape == (8,)
        assert all(torch.isfinite(t).all() for t in (batch.received, batch.target, batch.cutoff))
        assert batch.target.abs().max() < 2
        cutoffs.extend(batch.cutoff.tolist())
    assert SPEC.cutoff_min_hz <= min(cutoffs)
    assert max(cutoffs) <= SPEC.cutoff_max_hz
    assert len(set(cutoffs)) > 5


def test_without_the_line_received_and_rest_are_the_recording(corpus, maker, monkeypatch):
    """Above the middle of the band nothing is lost and nothing comes twice."""
    monkeypatch.setattr(maker, "_line", lambda received, cutoffs, varied, rng: received)
    batch = maker.batch(2, 6, CPU)
    rng = np.random.default_rng([3, 1, 2])
    varied = rng.random(6) < 1
    truth = maker._levelled(corpus.crops(rng, 6, maker.length), varied, rng)
    for row in range(6):
        low, high = 0.65 * float(batch.cutoff[row]), 8000
        truth_db = power_db(truth[row], 16000, low, high)
        assert power_db(batch.target[row].numpy() - truth[row], 16000, low, high) < truth_db - 60


def test_received_ends_at_the_cutoff_and_the_target_goes_on(maker, monkeypatch):
    monkeypatch.setattr(maker, "_line", lambda received, cutoffs, varied, rng: received)
    batch = maker.batch(0, 8, CPU)
    for row in range(8):
        above = 1.25 * float(batch.cutoff[row]), 8000
        received, target = (power_db(x[row].numpy(), 16000, *above) for x in (batch.received, batch.target))
        assert received < target - 20


def test_a_row_of_tones_alone_misses_nothing_and_one_with_a_voice_misses_what_the_voice_lost(
    corpus, maker, monkeypatch
):
    """Most of such rows are one or the other; the voice's part is narrowed as everywhere."""
    monkeypatch.setattr(pairs.PairMaker, "_line", lambda self, received, cutoffs, varied, rng: received)
    toned = pairs.PairMaker(corpus, SPEC, 128, seed=3, bank=64, variety=1, tones=1)
    alone = 0
    for step in range(6):
        batch, plain = toned.batch(step, 8, CPU), maker.batch(step, 8, CPU)
        assert torch.equal(batch.cutoff, plain.cutoff)
        _, spoken = toned._tones(batch.cutoff.numpy(), np.random.default_rng([3, 2, step]))
        for row in range(8):
            rest, of_voice = (b.target[row] - b.received[row] for b in (batch, plain))
            if not spoken[row].any():
                alone += 1
                assert rest.abs().max() < 1e-6
            else:
                assert rest.square().mean() <= 1.1 * of_voice.square().mean() + 1e-9
            assert batch.received[row].abs().max() > 1e-3
    assert 12 < alone < 36


def test_tones_are_as_many_as_asked_for_and_leave_the_other_rows_alone(corpus, maker):
    some = pairs.PairMaker(corpus, SPEC, 128, seed=3, bank=64, variety=1, tones=0.25)
    changed = []
    for step in range(20):
        batch, plain = some.batch(step, 8, CPU), maker.batch(step, 8, CPU)
        changed += [not torch.equal(a, b) for a, b in zip(batch.received, plain.received, strict=True)]
        assert same(batch, some.batch(step, 8, CPU))
    assert np.mean(changed) == pytest.approx(0.25, abs=0.08)


def test_rows_come_over_telephones_as_often_as_asked_for(corpus, maker):
    over = Lines(0.5, 16000, [noise(40000, 8, 0.1)])
    some = pairs.PairMaker(corpus, SPEC, 128, seed=3, bank=64, variety=1, tones=0, lines=over)
    changed = []
    for step in range(10):
        batch, plain = some.batch(step, 8, CPU), maker.batch(step, 8, CPU)
        assert same(batch, some.batch(step, 8, CPU))
        assert torch.isfinite(batch.target).all()
        changed += [not torch.equal(a, b) for a, b in zip(batch.received, plain.received, strict=True)]
    assert 0.25 < np.mean(changed) < 0.6  # rows whose band ends above 4 kHz stay as they are


def test_a_telephone_changes_the_received_band_and_noise_is_part_of_the_truth():
    over = Lines(1.0, 16000, [noise(40000, 8, 0.1)])
    x = np.stack([narrowed(voice_like(1.0, seed=s), 16000, 3500) for s in range(3)])
    kinds, rng = ["a-law", None, "noise"], np.random.default_rng(1)
    noisy = over.before(x, kinds, rng)
    np.testing.assert_array_equal(noisy[:2], x[:2])
    assert np.abs(noisy[2] - x[2]).max() > 1e-4
    coded = over.after(x, np.full(3, 3500.0), kinds, rng)
    np.testing.assert_array_equal(coded[1:], x[1:])
    assert 20 < 10 * np.log10(np.square(x[0]).sum() / np.square(coded[0] - x[0]).sum()) < 45
    np.testing.assert_array_equal(over.after(x, np.full(3, 4500.0), kinds, rng), x)


@pytest.mark.parametrize("kind", pairs.TONES)
@pytest.mark.parametrize("cutoff", [8000 / 6, 4000.0])
def test_every_kind_of_tone_lies_below_the_cutoff(kind, cutoff):
    """But keys, which are where they are: the line takes away those above."""
    for seed in range(4):
        x = kind(np.arange(16640) / 16000, cutoff, np.random.default_rng(seed))
        assert x.shape == (16640,)
        assert np.abs(x).max() > 0.3
        edge = max(cutoff, 1900) if kind in (pairs.keys, pairs.call_progress) else cutoff
        assert power_db(x, 16000, edge + 300, 8000) < power_db(x, 16000, 0, 8000) - 40


def test_tones_are_as_loud_as_promised():
    peaks = [np.abs(pairs.draw_tones(4000, 16000, 4000.0, np.random.default_rng(s))).max() for s in range(200)]
    assert -45.1 < 20 * np.log10(min(peaks)) < -40
    assert -8 < 20 * np.log10(max(peaks)) < -2.9


@pytest.mark.parametrize("cutoff", [8000 / 6, 2000.0, 4000.0, 6500.0])
@pytest.mark.parametrize("kind", [k for k, _ in pairs.FAMILY])
def test_every_filter_passes_the_band_and_stops_what_is_above(kind, cutoff):
    hz = np.linspace(0, 8000, 4001)
    for seed in range(5):
        response = kind(hz, cutoff, np.random.default_rng(seed))
        assert response.shape == hz.shape
        inside = (hz > 400) & (hz < 0.55 * cutoff)
        assert 0.8 < response[inside].min() <= response.max() < 1.01
        assert response[hz > 1.35 * cutoff].max(initial=0) < 0.1


def test_weights_of_the_filters_are_shares():
    assert sum(w for _, w in pairs.FAMILY) == pytest.approx(1)


def test_cutoffs_are_drawn_from_the_factors_and_between():
    rng = np.random.default_rng(0)
    for varied, at_factors in ((False, 1.0), (True, 0.5)):
        drawn = np.array([pairs.Cutoffs().draw(rng, varied) for _ in range(2000)])
        assert 1200 <= drawn.min() <= drawn.max() <= 6500
        for factor, share in ((4000, 0.48), (2000, 0.36), (16000 / 12, 0.16)):
            assert np.mean(np.isclose(drawn, factor)) == pytest.approx(share * at_factors, abs=0.04)


@pytest.mark.parametrize("law", [87.6, 255])
def test_g711_is_as_noisy_as_a_telephone_line(maker, law):
    """Companding keeps the error 30-odd dB under the signal over 30 dB of levels, which no linear 8 bits would."""
    x = narrowed(voice_like(1.0), 16000, 3500)
    for gain in (1.0, 0.1, 0.03):
        signal = torch.from_numpy(gain * x)
        coded = maker._g711(signal, law)
        assert coded.shape == signal.shape
        ratio = 10 * torch.log10(signal.square().sum() / (coded - signal).square().sum()).item()
        assert 25 < ratio < 45
    assert not maker._g711(torch.zeros(1600), law).any()
    assert maker._g711(torch.ones(1600) * 3, law).abs().max() <= 1.3


def test_the_line_noise_is_as_loud_as_it_says_and_in_the_band(maker):
    x = torch.from_numpy(narrowed(voice_like(128 * 80 / 16000), 16000, 3000))
    for seed in range(4):
        added = maker._noise(x, 3000.0, np.random.default_rng(seed)).numpy()
        ratio = 10 * np.log10(np.square(x.numpy()).mean() / np.square(added).mean())
        assert 19.9 < ratio < 50.1
        assert power_db(added, 16000, 3100, 8000) < power_db(added, 16000, 0, 3000) - 40


def test_the_learning_rate_warms_up_stays_and_falls_to_nothing():
    recipe = loop.Recipe(steps=1000, warm_up=100, decay=0.4)
    rates = [loop.learning_rate(recipe, step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert np.all(np.diff(rates[:100]) > 0)
    assert rates[99:600] == pytest.approx([1.0] * 501)
    assert np.all(np.diff(rates[600:]) < 0)
    assert rates[800] == pytest.approx(0.5)
    assert rates[1000] == 0


def test_the_loss_is_least_for_the_truth_and_its_parts_are_told(maker):
    batch = maker.batch(0, 4, CPU)
    missing = batch.target - batch.received
    totals = [loss.loss(g, batch, loss.LossWeights())[0].item() for g in (missing, 0.5 * missing, 0 * missing)]
    assert totals == sorted(totals)
    assert totals[0] < 0.01
    _, parts = loss.loss(0 * missing, batch, loss.LossWeights())
    assert parts["complex"] <= 1.0
    assert parts["log_spectral"] > 0.3


def test_the_distance_of_ten_decibels_is_one():
    x = loss.spectra(torch.from_numpy(noise(16000, 1, 0.3))[None], 1024)
    assert loss.log_spectral_distance(x * 10**0.5, x, 1024).item() == pytest.approx(1, abs=1e-3)
    assert loss.log_spectral_distance(x, x, 1024).item() < 2e-3


def test_the_loss_does_not_look_above_the_band_that_a_row_knows(maker):
    batch = maker.batch(0, 2, CPU)
    missing = batch.target - batch.received
    known = pairs.Pairs(batch.received, batch.target, batch.cutoff, torch.tensor([0.5, 1.0]))
    hiss = torch.from_numpy(noise(missing.shape[1], 5, 0.1) - narrowed(noise(missing.shape[1], 5, 0.1), 16000, 4500))
    for row, seen in ((0, False), (1, True)):
        worse = missing.clone()
        worse[row] += hiss
        plain, with_hiss = (loss.loss(g, known, loss.LossWeights())[0].item() for g in (missing, worse))
        assert (with_hiss > plain + 0.1) == seen


def test_rows_of_a_lower_rate_know_their_band_alone(corpus):
    """They are as loud as they were, end where they ended, and miss something below that."""
    lower = pairs.Lower(corpus, 16000, 0.5)
    wide = Corpus((3000 * noise(480_000, 7, 1.0)).astype(np.int16), np.array([480_000]))
    options = {"bank": 64, "variety": 0.5, "tones": 0, "cutoffs": RECIPES["voice-48k"].cutoffs}
    some = pairs.PairMaker(wide, WIDE, 64, seed=3, lower=lower, **options)
    bands, levels = [], []
    for step in range(8):
        batch = some.batch(step, 8, CPU)
        assert same(batch, some.batch(step, 8, CPU))
        assert torch.equal(batch.band, some.batch(step, 8, CPU).band)
        for row in np.flatnonzero(batch.band < 1):
            target = batch.target[row].numpy()
            assert batch.cutoff[row] < 0.8 * batch.band[row] * 24000
            assert power_db(target, 48000, 8100, 24000) < power_db(target, 48000, 0, 8000) - 40
            levels.append(np.square(target).mean())
        bands += batch.band.tolist()
    assert sorted(set(bands)) == pytest.approx([0.97 / 3, 1.0])
    assert 0.3 < np.mean(np.array(bands) < 1) < 0.7
    own = np.mean([np.square(corpus.crops(np.random.default_rng(s), 1, 5120)).mean() for s in range(30)])
    assert 0.3 * own < np.median(levels) < 3 * own


@pytest.mark.parametrize("model", RECIPES)
def test_a_recipe_fits_its_model(model):
    recipe = RECIPES[model]
    assert recipe.model == model
    assert sum(recipe.cutoffs.shares) == pytest.approx(1)
    assert recipe.net.spec.cutoff_min_hz < recipe.cutoffs.lowest < min(recipe.cutoffs.named)
    assert max(recipe.cutoffs.named) <= recipe.net.spec.cutoff_max_hz
    assert recipe.cutoffs.highest < recipe.net.spec.cutoff_max_hz
    assert loss.METRIC_SIZE in dict(recipe.weights.sizes)
    assert recipe.weights.complex_size in dict(recipe.weights.sizes)


def test_a_model_for_48_khz_trains_from_one_for_16_khz_and_its_card_says_so(speech_folder, tmp_path):
    from rtsr.train.ship import ship

    first = loop.train(RECIPE, speech_folder, tmp_path / "a", CPU, fresh=True)
    start = ship(tmp_path / "a", "tiny-16k", tmp_path / "shipped")
    net = replace(TINY, spec=WIDE)
    recipe = replace(RECIPES["voice-48k"], steps=2, rows=4, frames=64, net=net, widens=str(start))
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
    record = json.loads((tmp_path / "b" / loop.RECORD).read_text())
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
    for one, other in ((whole.net, resumed.net), (whole.average, resumed.average)):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name
    fresh = loop.Run(RECIPE, tmp_path / "c", CPU)
    assert any(not torch.equal(t, fresh.net.state_dict()[n]) for n, t in whole.net.state_dict().items())
    assert any(not torch.equal(t, whole.average.state_dict()[n]) for n, t in whole.net.state_dict().items())


def test_training_lowers_the_loss(small_maker, tmp_path):
    run = loop.Run(loop.Recipe(steps=1000, rows=4, frames=64, warm_up=1, net=TINY), tmp_path, CPU)
    batch = small_maker.batch(0, 4, CPU)
    losses = [run.advance(batch)["log_spectral"] for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]


def test_train_runs_from_a_folder_and_goes_on_from_its_checkpoint(speech_folder, tmp_path):
    whole = loop.train(RECIPE, speech_folder, tmp_path / "a", CPU, fresh=False, every=2)
    assert whole.step == 4
    record = json.loads((tmp_path / "a" / loop.RECORD).read_text())
    assert record["recipe"]["seed"] == RECIPE.seed
    assert [(d["corpus"], d["recordings"], d["seconds"]) for d in record["data"]] == [("c0", 1, 3), ("c1", 1, 3)]
    assert list((tmp_path / "a").glob("events.out.tfevents.*"))
    assert not list((tmp_path / "a").glob("*.new"))
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


def test_fresh_starts_over(speech_folder, tmp_path):
    run = loop.Run(RECIPE, tmp_path / "a", CPU)
    run.step = 3
    run.save()
    assert loop.train(RECIPE, speech_folder, tmp_path / "a", CPU, fresh=True).step == 4
    state = torch.load(tmp_path / "a" / loop.CHECKPOINT, weights_only=True)
    assert state["step"] == 4


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    loop.Run(RECIPE, tmp_path, CPU).save()
    other = loop.Run(loop.Recipe(net=NetConfig(widths=(16, 12, 10), memory=8)), tmp_path, CPU)
    with pytest.raises(InvalidSetting, match="another network"):
        other.resume()


def test_a_run_can_be_shipped_and_opened(speech_folder, tmp_path):
    from rtsr.backend import load
    from rtsr.train.ship import ship

    run = loop.train(RECIPE, speech_folder, tmp_path / "run", CPU, fresh=True)
    manifest = ship(tmp_path / "run", "tiny-16k", tmp_path / "shipped")
    opened = load(manifest, "eager")
    for name, tensor in run.average.state_dict().items():
        assert torch.equal(tensor, opened.net.state_dict()[name]), name
    card = manifest.with_suffix(".md").read_text()
    assert "CC BY 4.0" in card
    assert "BY-SA" not in card
    with pytest.raises(InvalidSetting, match="training run"):
        ship(tmp_path / "nothing", "x", tmp_path / "shipped")
