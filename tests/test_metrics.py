"""Every figure agrees with a case worked out by hand, and the LSD with an independent computation."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsr.errors import InvalidAudio, InvalidSetting, MissingDependency
from rtsr.speech import perceptual, scores
from rtsr.speech.metrics import envelope_error, level_bias, lsd, si_sdr, snr
from rtsr.speech.narrow import narrow
from rtsr.speech.perceptual import pesq_wb, stoi
from rtsr.speech.scores import METRICS, Metric, figures, mean_scores, score, score_truth

RATE = 16000
few = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def noise(seed: int, length: int = 8000) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, length)


def voice(seed: int = 0, seconds: float = 2.0) -> np.ndarray:
    """Return noise in syllables: bursts of 150 ms, four a second, which PESQ and STOI take for speech."""
    time = np.arange(int(seconds * RATE)) / RATE
    return 0.3 * noise(seed, len(time)) * (np.sin(2 * np.pi * 4 * time) > -0.3)


def torch_lsd(truth: np.ndarray, estimate: np.ndarray, keep: slice) -> float:
    torch = pytest.importorskip("torch", reason="the independent LSD is computed with torch.stft")

    def log_power(x: np.ndarray):
        window = torch.hann_window(2048, dtype=torch.float64)
        spectrum = torch.stft(torch.tensor(x), 2048, 512, window=window, return_complex=True)
        return spectrum.abs().square().clamp(min=1e-8).log10()[keep]

    return float((log_power(truth) - log_power(estimate)).square().mean(0).sqrt().mean())


def test_lsd_of_equal_signals_is_zero():
    assert lsd(noise(0), noise(0)) == 0


@few
@given(seeds, st.floats(-20, 20), st.integers(1, 5000))
def test_lsd_of_a_gain_is_a_tenth_of_its_decibels(seed, gain_db, length):
    truth = 10 * noise(seed, length + 2000)
    assert lsd(truth, truth * 10 ** (gain_db / 20)) == pytest.approx(abs(gain_db) / 10, abs=1e-4)


def test_lsd_of_ten_db_on_loud_noise_is_one():
    truth = 10 * noise(1)
    assert lsd(truth, truth * math.sqrt(10)) == pytest.approx(1, abs=1e-12)


def test_lsd_does_not_hear_below_the_clamp():
    assert lsd(np.zeros(4000), 1e-7 * noise(2, 4000)) == 0


def test_lsd_of_silence_against_an_impulse():
    """Three of 17 frames hear it: one under the window's peak (power 1), two at half height (power 1/4)."""
    impulse = np.zeros(8192)
    impulse[4096] = 1.0
    expected = (8 + 2 * (8 + math.log10(1 / 4))) / 17
    assert lsd(np.zeros(8192), impulse) == pytest.approx(expected, abs=1e-9)


@few
@given(seeds, st.integers(1025, 9000), st.floats(1e-6, 10))
def test_lsd_agrees_with_torch(seed, length, level):
    truth, estimate = level * noise(seed, length), level * noise(seed + 1, length)
    assert lsd(truth, estimate) == pytest.approx(torch_lsd(truth, estimate, slice(None)), rel=1e-9)


def test_lsd_of_a_band_agrees_with_torch():
    truth, estimate = noise(3), narrow(noise(3), RATE, 4000)
    below, above = torch_lsd(truth, estimate, slice(0, 512)), torch_lsd(truth, estimate, slice(512, None))
    assert lsd(truth, estimate, RATE, (0, 4000)) == pytest.approx(below, rel=1e-9)
    assert lsd(truth, estimate, RATE, (4000, math.inf)) == pytest.approx(above, rel=1e-9)


def test_lsd_works_on_fewer_samples_than_one_window():
    assert lsd(10 * noise(4, 5), 100 * noise(4, 5)) > 0


@pytest.mark.parametrize("band", [(9000, 10000), (4000, 4000), (4000, 2000)])
def test_lsd_refuses_a_band_without_bins(band):
    with pytest.raises(InvalidSetting, match="band"):
        lsd(noise(0), noise(1), RATE, band)


def test_snr_of_ten_percent_too_loud_is_twenty_db():
    assert snr(noise(5), 1.1 * noise(5)) == pytest.approx(20)


def test_snr_at_its_ends():
    assert snr(noise(5), noise(5)) == math.inf
    assert snr(np.zeros(10), np.zeros(10)) == math.inf
    assert snr(np.zeros(10), np.ones(10)) == -math.inf
    assert snr(np.ones(10), np.zeros(10)) == 0


@few
@given(seeds, st.floats(0.01, 100), st.booleans())
def test_si_sdr_does_not_hear_a_gain(seed, gain, flip):
    truth, estimate = noise(seed), noise(seed) + noise(seed + 1)
    assert si_sdr(truth, estimate * (-gain if flip else gain)) == pytest.approx(si_sdr(truth, estimate))


def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_energies():
    assert si_sdr([3.0, 0.0], [3.0, 0.3]) == pytest.approx(20)
    assert si_sdr([3.0, 0.0], [30.0, 3.0]) == pytest.approx(20)


def test_si_sdr_at_its_ends():
    assert si_sdr([1.0, 0.0], [0.5, 0.0]) == math.inf
    assert si_sdr([1.0, 0.0], [0.0, 1.0]) == -math.inf
    assert si_sdr(np.zeros(4), np.ones(4)) == si_sdr(np.ones(4), np.zeros(4)) == -math.inf
    assert si_sdr(np.zeros(4), np.zeros(4)) == math.inf


def test_pesq_is_highest_for_the_truth_and_falls_with_noise():
    pytest.importorskip("pesq", reason="PESQ needs the package pesq")
    truth = voice()
    marks = [pesq_wb(truth, truth + level * noise(9, len(truth))) for level in (0, 0.03, 0.3)]
    assert marks[0] == pytest.approx(4.644, abs=1e-3)
    assert marks[0] > marks[1] > marks[2] >= 1


@pytest.mark.parametrize("truth", [np.zeros(RATE), voice(seconds=0.1)], ids=["silent", "too short"])
def test_pesq_without_speech_is_none(truth):
    pytest.importorskip("pesq", reason="PESQ needs the package pesq")
    assert pesq_wb(truth, truth) is None
    assert pesq_wb(truth, voice()[: len(truth)]) is None


def test_pesq_of_a_silent_estimate_is_none():
    pytest.importorskip("pesq", reason="PESQ needs the package pesq")
    assert pesq_wb(voice(), np.zeros(len(voice()))) is None


def test_pesq_of_a_long_signal_is_the_mean_of_its_pieces():
    pytest.importorskip("pesq", reason="PESQ needs the package pesq")
    truth = voice(seconds=20)
    estimate = truth + np.repeat([0.01, 0.1], 10 * RATE) * noise(9, len(truth))
    halves = [pesq_wb(truth[half], estimate[half]) for half in (slice(0, 10 * RATE), slice(10 * RATE, None))]
    assert halves[0] > halves[1] + 0.1
    assert pesq_wb(truth, estimate) == pytest.approx(np.mean(halves))


def test_pesq_of_more_utterances_than_the_package_can_hold_does_not_crash():
    pytest.importorskip("pesq", reason="PESQ needs the package pesq")
    time = np.arange(25 * RATE) / RATE
    assert pesq_wb(*[noise(10, len(time)) * (time % 0.42 < 0.21)] * 2) == pytest.approx(4.644, abs=1e-3)


def test_stoi_is_one_for_the_truth_and_falls_with_noise():
    pytest.importorskip("pystoi", reason="STOI needs the package pystoi")
    truth = voice()
    marks = [stoi(truth, truth + level * noise(9, len(truth)), RATE) for level in (0, 0.3, 3)]
    assert marks[0] == pytest.approx(1, abs=1e-6)
    assert marks[0] > marks[1] > marks[2]


@pytest.mark.parametrize("length", [1, 100, 5000, 6000])
def test_stoi_of_almost_nothing_is_none(length):
    pytest.importorskip("pystoi", reason="STOI needs the package pystoi")
    assert stoi(noise(0, length), noise(0, length), RATE) is None


@pytest.mark.parametrize(("package", "call"), [("pesq", pesq_wb), ("pystoi", lambda x, y: stoi(x, y, RATE))])
def test_a_missing_package_is_named_with_its_cure(monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"rtsr\[report\]") as caught:
        call(voice(), voice())
    assert package in str(caught.value)


@pytest.mark.parametrize(
    ("truth", "estimate"),
    [
        (np.zeros(10), np.zeros(11)),
        (np.zeros((2, 10)), np.zeros((2, 10))),
        (np.zeros(0), np.zeros(0)),
        (np.zeros(2), np.array([0.0, np.nan])),
        (np.array([0.0, np.inf]), np.zeros(2)),
    ],
    ids=["length", "channels", "empty", "nan", "inf"],
)
@pytest.mark.parametrize("call", [lsd, snr, si_sdr, pesq_wb, lambda x, y: stoi(x, y, RATE)])
def test_audio_that_cannot_be_compared_is_refused(call, truth, estimate):
    with pytest.raises(InvalidAudio):
        call(truth, estimate)


def test_score_of_a_narrowed_voice_blames_the_high_band():
    truth = noise(6)
    found = score(truth, narrow(truth, RATE, 4000), RATE, 4000, options=())
    assert found["lsd_lf"] < 0.2 < 5 < found["lsd"] < found["lsd_hf"]
    assert found["snr_db"] == pytest.approx(3, abs=0.3)  # half the power of white noise is gone
    assert found["pesq_wb"] is None
    assert found["stoi"] is None


def test_score_is_its_single_figures():
    pytest.importorskip("pesq", reason="PESQ needs the package pesq")
    pytest.importorskip("pystoi", reason="STOI needs the package pystoi")
    truth, estimate = voice(), voice() + 0.1 * noise(7, len(voice()))
    assert score(truth, estimate, RATE, 3000) == {
        "lsd": lsd(truth, estimate),
        "lsd_lf": lsd(truth, estimate, RATE, (0, 3000)),
        "lsd_hf": lsd(truth, estimate, RATE, (3000, 8001)),
        "snr_db": snr(truth, estimate),
        "si_sdr_db": si_sdr(truth, estimate),
        "pesq_wb": pesq_wb(truth, estimate),
        "stoi": stoi(truth, estimate, RATE),
        "visqol": None,
        "level_bias_db": level_bias(truth, estimate, RATE, 3000),
        "envelope_db": envelope_error(truth, estimate, RATE, 3000),
        **dict.fromkeys(("distillmos", "p808", "sig", "ovrl")),
    }


def test_score_at_another_rate_has_no_pesq():
    pytest.importorskip("pystoi", reason="STOI needs the package pystoi")
    found = score(voice(), voice(), 48000, 8000)
    assert found["pesq_wb"] is None
    assert found["stoi"] is not None


def test_mean_scores_leaves_out_what_a_file_does_not_have():
    first = {"lsd": 1.0, "pesq_wb": None, "stoi": None}
    second = {"lsd": 3.0, "pesq_wb": 4.5, "stoi": None}
    assert mean_scores([first, second]) == {"lsd": 2.0, "pesq_wb": 4.5, "stoi": None}
    assert mean_scores([first]) == first


LOUD = Metric(
    "loud", "Loud", "higher", lambda j: float(np.abs(j.estimate).max()), option="loud", needs_truth=False, share=True
)


def test_a_metric_is_one_row(monkeypatch):
    monkeypatch.setattr(scores, "METRICS", (*METRICS, LOUD))
    assert score(voice(), 0.5 * np.ones(len(voice())), RATE, 4000, options=("loud",))["loud"] == 0.5
    assert score(voice(), voice(), RATE, 4000, options=())["loud"] is None


def test_the_truth_has_scores_by_what_does_not_need_it(monkeypatch):
    assert score_truth(voice(), RATE, ("perceptual", "visqol")) is None
    monkeypatch.setattr(scores, "METRICS", (*METRICS, LOUD))
    own = score_truth(np.ones(100), RATE, ("loud",))
    assert own == {m.name: 1.0 if m is LOUD else None for m in (*METRICS, LOUD)}
    assert score_truth(np.ones(100), RATE, ()) is None


def test_what_share_is_restored_lies_between_sinc_and_truth(monkeypatch):
    monkeypatch.setattr(scores, "METRICS", (LOUD,))
    line = {"sinc": {"loud": 1.0}, "ours": {"loud": 2.5}, "truth": {"loud": 3.0}}
    own, share = figures(line.values())
    assert (own.heading, share.heading) == ("Loud ↑", "Loud restored ↑")
    assert [own.of(each, line) for each in line.values()] == [1.0, 2.5, 3.0]
    assert [share.of(each, line) for each in line.values()] == [0.0, 0.75, 1.0]
    assert share.of(line["ours"], {"sinc": line["sinc"]}) is None
    assert share.of(line["ours"], {"sinc": line["sinc"], "truth": line["sinc"]}) is None


def test_a_table_has_the_columns_that_were_taken():
    known = [{"lsd": 1.0, "pesq_wb": None}, {"lsd": 2.0, "snr_db": 3.0}]
    assert [f.heading for f in figures(known)] == ["LSD ↓", "SNR ↑"]


def test_mean_of_no_scores_is_refused():
    with pytest.raises(InvalidSetting):
        mean_scores([])


def test_visqol_falls_with_the_band():
    pytest.importorskip("visqol", reason="ViSQOL is an extra of its own")
    pytest.importorskip("ai_edge_litert", reason="ViSQOL's lattice is an extra of its own")
    truth = voice(seconds=3.0)
    heard = (truth, narrow(truth, RATE, 4000), narrow(truth, RATE, 2000))
    marks = [perceptual.visqol(truth, x, RATE) for x in heard]
    assert marks == sorted(marks, reverse=True)
    assert marks[0] > marks[2] + 0.3
    assert perceptual.visqol(truth, truth, 8000) is None
    assert perceptual.visqol(truth, 0 * truth, 16000) is None
    assert perceptual.visqol(truth[:800], truth[:800], 16000) is None


def test_visqol_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "visqol", None)
    perceptual._visqol.cache_clear()
    with pytest.raises(MissingDependency, match=r"rtsr\[visqol\]"):
        perceptual.visqol(np.ones(16000), np.ones(16000), 16000)
