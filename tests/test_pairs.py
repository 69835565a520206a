"""A pair's received and target signals differ by what the line took, and the same step draws the same."""

from __future__ import annotations

import numpy as np
import pytest

from tests.signals import narrowed, noise, power_db, voice_like

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from rtsr.spec import Spec  # noqa: E402
from rtsr.speech.corpus import Corpus  # noqa: E402
from rtsr.speech.g711 import g711  # noqa: E402
from rtsr.train import filters, pairs, tones  # noqa: E402
from rtsr.train.augmentation import FASTEST, Augmentation, Lower, perturb  # noqa: E402
from rtsr.train.line_augmentation import LineAugmentation  # noqa: E402
from rtsr.train.recipes import RECIPES  # noqa: E402

SPEC, CPU = Spec(), torch.device("cpu")
WIDE = RECIPES["voice-48k"].net.spec


def same(a: pairs.Pairs, b: pairs.Pairs) -> bool:
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("received", "target", "cutoff"))


def test_a_step_draws_the_same_pairs_whenever_it_is_drawn(corpus, maker):
    again = pairs.PairMaker(corpus, SPEC, 128, 3, Augmentation(variety=1, tones=0), bank=64)
    fifth = maker.batch(5, 4, CPU)
    again.batch(1, 4, CPU)
    assert same(again.batch(5, 4, CPU), fifth)
    assert not same(maker.batch(6, 4, CPU), fifth)
    assert not same(pairs.PairMaker(corpus, SPEC, 128, 4, Augmentation(tones=0), bank=64).batch(5, 4, CPU), fifth)


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
    truth = maker._levelled(torch.from_numpy(corpus.crops(rng, 6, maker.length)), varied, rng).numpy()
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
    toned = pairs.PairMaker(corpus, SPEC, 128, 3, Augmentation(variety=1, tones=1), bank=64)
    alone = 0
    for step in range(6):
        batch, plain = toned.batch(step, 8, CPU), maker.batch(step, 8, CPU)
        assert torch.equal(batch.cutoff, plain.cutoff)
        which, _, spoken = toned._tones(batch.cutoff.numpy(), np.random.default_rng([3, 2, step]))
        assert which.tolist() == list(range(8))
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
    some = pairs.PairMaker(corpus, SPEC, 128, 3, Augmentation(variety=1, tones=0.25), bank=64)
    changed = []
    for step in range(20):
        batch, plain = some.batch(step, 8, CPU), maker.batch(step, 8, CPU)
        changed += [not torch.equal(a, b) for a, b in zip(batch.received, plain.received, strict=True)]
        assert same(batch, some.batch(step, 8, CPU))
    assert np.mean(changed) == pytest.approx(0.25, abs=0.08)


def test_rows_come_over_telephones_as_often_as_asked_for(corpus, maker):
    over = LineAugmentation(0.5, 16000, [noise(40000, 8, 0.1)])
    some = pairs.PairMaker(corpus, SPEC, 128, 3, Augmentation(variety=1, tones=0, lines=over), bank=64)
    changed = []
    for step in range(10):
        batch, plain = some.batch(step, 8, CPU), maker.batch(step, 8, CPU)
        assert same(batch, some.batch(step, 8, CPU))
        assert torch.isfinite(batch.target).all()
        changed += [not torch.equal(a, b) for a, b in zip(batch.received, plain.received, strict=True)]
    assert 0.25 < np.mean(changed) < 0.6  # rows whose band ends above 4 kHz stay as they are


def test_a_telephone_changes_the_received_band_and_noise_is_part_of_the_truth():
    over = LineAugmentation(1.0, 16000, [noise(40000, 8, 0.1)])
    x = np.stack([narrowed(voice_like(1.0, seed=s), 16000, 3500) for s in range(3)])
    kinds, rng = ["a-law", None, "noise"], np.random.default_rng(1)
    noisy = over.before(x, kinds, rng)
    np.testing.assert_array_equal(noisy[:2], x[:2])
    assert np.abs(noisy[2] - x[2]).max() > 1e-4
    coded = over.after(x, np.full(3, 3500.0), kinds, rng)
    np.testing.assert_array_equal(coded[1:], x[1:])
    assert 20 < 10 * np.log10(np.square(x[0]).sum() / np.square(coded[0] - x[0]).sum()) < 45
    np.testing.assert_array_equal(over.after(x, np.full(3, 4500.0), kinds, rng), x)


@pytest.mark.parametrize("kind", tones.TONES)
@pytest.mark.parametrize("cutoff", [8000 / 6, 4000.0])
def test_every_kind_of_tone_lies_below_the_cutoff(kind, cutoff):
    """But keys, which are where they are: the line takes away those above."""
    for seed in range(4):
        x = kind(np.arange(16640) / 16000, cutoff, np.random.default_rng(seed))
        assert x.shape == (16640,)
        assert np.abs(x).max() > 0.3
        edge = max(cutoff, 1900) if kind in (tones.keys, tones.call_progress) else cutoff
        assert power_db(x, 16000, edge + 300, 8000) < power_db(x, 16000, 0, 8000) - 40


def test_tones_are_as_loud_as_promised():
    peaks = [np.abs(tones.draw_tones(4000, 16000, 4000.0, np.random.default_rng(s))).max() for s in range(200)]
    assert -45.1 < 20 * np.log10(min(peaks)) < -40
    assert -8 < 20 * np.log10(max(peaks)) < -2.9


@pytest.mark.parametrize("cutoff", [8000 / 6, 2000.0, 4000.0, 6500.0])
@pytest.mark.parametrize("kind", [k for k, _ in filters.FAMILY])
def test_every_filter_passes_the_band_and_stops_what_is_above(kind, cutoff):
    hz = np.linspace(0, 8000, 4001)
    for seed in range(5):
        response = kind(hz, cutoff, np.random.default_rng(seed))
        assert response.shape == hz.shape
        inside = (hz > 400) & (hz < 0.55 * cutoff)
        assert 0.8 < response[inside].min() <= response.max() < 1.01
        assert response[hz > 1.35 * cutoff].max(initial=0) < 0.1


def test_weights_of_the_filters_are_shares():
    assert sum(w for _, w in filters.FAMILY) == pytest.approx(1)


def test_cutoffs_are_drawn_from_the_factors_and_between():
    rng = np.random.default_rng(0)
    for varied, at_factors in ((False, 1.0), (True, 0.5)):
        drawn = np.array([filters.Cutoffs().draw(rng, varied) for _ in range(2000)])
        assert 1200 <= drawn.min() <= drawn.max() <= 6500
        for factor, share in ((4000, 0.48), (2000, 0.36), (16000 / 12, 0.16)):
            assert np.mean(np.isclose(drawn, factor)) == pytest.approx(share * at_factors, abs=0.04)


@pytest.mark.parametrize("law", ["a", "mu"])
def test_g711_is_as_noisy_as_a_telephone_line(maker, law):
    """Companding keeps the error 30-odd dB under the signal over 30 dB of levels, which no linear 8 bits would."""

    def through(*rows: np.ndarray) -> torch.Tensor:
        laws = torch.full((len(rows),), pairs.LAWS.index(law))
        return maker._g711(torch.from_numpy(np.stack(rows)), laws)

    x = narrowed(voice_like(1.0), 16000, 3500)
    signals = [gain * x for gain in (np.float32(1.0), np.float32(0.1), np.float32(0.03))]
    for signal, coded in zip(signals, through(*signals).numpy(), strict=True):
        assert coded.shape == signal.shape
        ratio = 10 * np.log10(np.square(signal).sum() / np.square(coded - signal).sum())
        assert 25 < ratio < 45
        np.testing.assert_allclose(coded[::2], g711(signal[::2], law), atol=5e-5)
    quiet, loud = through(np.zeros(1600, np.float32), np.full(1600, 3, np.float32)).abs().amax(1)
    assert quiet < 1e-3  # the A-law has no code of silence
    assert loud <= 1.3


def test_the_line_noise_is_as_loud_as_it_says_and_in_the_band(maker):
    x = torch.from_numpy(narrowed(voice_like(128 * 80 / 16000), 16000, 3000)).repeat(3, 1)
    drawn = torch.from_numpy(noise(x.numel()).reshape(x.shape))
    levels = (0.1, 0.01, 0.003)
    knobs = torch.tensor([[0, -0.25, -0.5], levels, [3000, 3000, 3000]])
    for row, level, added in zip(x.numpy(), levels, maker._noise(x, drawn, knobs).numpy(), strict=True):
        assert np.sqrt(np.square(added).mean() / np.square(row).mean()) == pytest.approx(level, rel=1e-3)
        assert power_db(added, 16000, 3100, 8000) < power_db(added, 16000, 0, 3000) - 40


def test_rows_of_a_lower_rate_know_their_band_alone(corpus):
    """They are as loud as they were, end where they ended, and miss something below that."""
    lower = Lower(corpus, 16000, 0.5)
    wide = Corpus((3000 * noise(480_000, 7, 1.0)).astype(np.int16), np.array([480_000]))
    lower_and_wide = Augmentation(variety=0.5, tones=0, cutoffs=RECIPES["voice-48k"].cutoffs, lower=lower)
    some = pairs.PairMaker(wide, WIDE, 64, 3, lower_and_wide, bank=64)
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


def test_perturbation_raises_the_pitch_and_shapes_the_spectrum_up_to_the_top_of_the_band(corpus):
    """A tone in the corpus comes out up to an eighth higher, noise with its top octave, and never twice alike."""
    time = np.arange(16000 * 4) / 16000
    tone = Corpus((8000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16), np.array([len(time)]))
    hiss = Corpus((noise(4 * 16000) * 8000).astype(np.int16), np.array([4 * 16000]))
    hz, pitches, tops = np.linspace(0, 8000, 5121), [], []
    for seed in range(8):
        heard = perturb(tone, np.random.default_rng(seed), hz)
        assert heard.shape == (10240,)
        assert heard.dtype == np.float32
        pitches.append(hz[np.abs(np.fft.rfft(heard * np.hanning(len(heard)))).argmax()])
        shaped = perturb(hiss, np.random.default_rng(seed), hz)
        tops.append(power_db(shaped, 16000, 7000, 8000) - power_db(shaped, 16000, 3000, 4000))
    assert 1000 <= min(pitches) < max(pitches) <= 1000 * FASTEST + 2
    assert np.ptp(pitches) > 20
    assert -9 < min(tops) < max(tops) < 9  # a slope, not an edge
    assert np.ptp(tops) > 1


def test_the_share_of_perturbed_rows_is_drawn_by_the_step_and_leaves_the_rest_alone(corpus, maker, monkeypatch):
    monkeypatch.setattr(pairs.PairMaker, "_line", lambda self, received, cutoffs, varied, rng: received)
    half = Augmentation(variety=1, tones=0, voices=0.5)
    changed, again = (pairs.PairMaker(corpus, SPEC, 128, 3, half, bank=64) for _ in range(2))
    others = 0
    for step in range(4):
        mixed, plain = changed.batch(step, 8, CPU), maker.batch(step, 8, CPU)
        assert same(mixed, again.batch(step, 8, CPU))
        assert torch.equal(mixed.cutoff, plain.cutoff)
        others += sum(not torch.equal(a, b) for a, b in zip(mixed.target, plain.target, strict=True))
    assert 8 <= others <= 24
