"""The published networks have the shapes and sizes they were published with; the causal one streams what it gives."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.signals import noise, voice_like

torch = pytest.importorskip("torch", reason="baselines need torch")
pytest.importorskip("scipy", reason="the spline needs scipy")

from rtsr.errors import CorruptWeights, InvalidAudio, InvalidSetting, UnknownName  # noqa: E402
from rtsr.eval.baseline import Live, Offline  # noqa: E402
from rtsr.net.baselines import NETWORKS, AudioUNet, UninterpolatedUNet, network  # noqa: E402
from rtsr.net.unet import macs_per_sample, reach, shuffle  # noqa: E402
from rtsr.runs import is_baseline  # noqa: E402
from rtsr.speech.conditions import Heard  # noqa: E402
from rtsr.speech.narrow import SHORT_SINC, interpolated, short_sinc  # noqa: E402


@pytest.fixture(autouse=True)
def quick_start(monkeypatch):
    """Orthogonal weights take seconds to draw, and these tests ask for nothing that depends on them."""
    monkeypatch.setattr(torch.nn.init, "orthogonal_", lambda weight: torch.nn.init.normal_(weight, std=0.02))


def small(causal: bool, monkeypatch) -> AudioUNet:
    """An AudioUNet whose last layer is as loud as the others, and thin enough for a test."""
    monkeypatch.setattr(AudioUNet, "filters", (8, 12, 16, 16))
    torch.manual_seed(0)
    net = AudioUNet(2, causal=causal).eval()
    for part in net.convs():
        torch.nn.init.normal_(part.weight, std=(part.in_channels * part.kernel_size[0]) ** -0.5)
    return net


PUBLISHED = {  # millions of parameters and 10^9 operations a second of 16 kHz audio
    ("audio-unet", 2): (71.0, 140.0),
    ("audio-unet-8", 4): (118.2, 147.8),
    ("causal-audio-unet", 6): (71.0, 140.0),
    ("hetherly", 4): (31.5, 1.7),
    ("sut", 4): (9.4, 2.8),
    ("sut-inception", 4): (15.1, 17.9),
}


@pytest.mark.parametrize(("name", "factor"), PUBLISHED)
def test_a_network_is_as_large_as_published(name, factor):
    with torch.device("meta"):
        net = network(name, factor)
    parameters, macs = PUBLISHED[name, factor]
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(parameters, abs=0.1)
    assert macs_per_sample(net) * 16e-6 == pytest.approx(macs, rel=0.05)


@pytest.mark.parametrize("factor", [2, 4, 6])
@pytest.mark.parametrize("name", ["hetherly", "sut", "sut-inception"])
def test_every_factor_gives_as_many_samples_as_a_target_has(name, factor):
    net = network(name, factor).eval()
    samples = net.fits(512)
    with torch.inference_mode():
        out = net(torch.zeros(2, samples))
    assert out.shape == net.centre(torch.zeros(2, samples * net.step)).shape
    assert out.shape[1] >= 512


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_signals_are_restored_to_their_length_whatever_the_pieces(name, monkeypatch):
    monkeypatch.setattr(AudioUNet, "filters", (4,) * 8)
    torch.manual_seed(1)
    net = network(name, 2).eval()
    x = torch.from_numpy(noise(3001, 1, 0.3)).unsqueeze(0)
    whole = net.restore(x, 2**15)
    assert whole.shape == (1, 3001 * net.step)
    torch.testing.assert_close(net.restore(x, 1024), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_an_output_hears_as_far_as_reach_says(causal, monkeypatch):
    net = small(causal, monkeypatch)
    before, after = map(int, reach(net.path()))
    x = torch.zeros(1, 4096, requires_grad=True)
    middle = 2048
    heard = []
    for place in range(middle, middle + net.multiple):
        (gradient,) = torch.autograd.grad(net(x + 0.1).select(1, place), x)
        where = gradient[0].nonzero()[:, 0]
        heard.append((place - where.min().item(), where.max().item() - place))
    assert max(b for b, _ in heard) == before
    assert max(a for _, a in heard) == after


def test_the_causal_audio_unet_streams_what_it_gives_at_once(monkeypatch):
    net = small(True, monkeypatch)
    x = torch.from_numpy(voice_like(0.5)).unsqueeze(0)[:, :7936]
    with torch.inference_mode():
        whole = net(x)
        for sizes in ([32] * 248, [64, 32, 960, 32 * 215]):
            state, parts = net.new_state(), []
            for part in x.split(sizes, dim=1):
                out, state = net.advance(part, state)
                parts.append(out)
            torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-6, rtol=1e-5)
    assert (whole - x).abs().max() > 0.01


def test_the_causal_audio_unet_streams_rows_apart(monkeypatch):
    net = small(True, monkeypatch)
    x = torch.from_numpy(np.stack([noise(640, s, 0.2) for s in (1, 2)]))
    with torch.inference_mode():
        together, _ = net.advance(x, net.new_state(2))
        for row in range(2):
            torch.testing.assert_close(net(x[row : row + 1])[0], together[row], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("factor", [2, 4, 6])
def test_live_gives_what_the_whole_signal_gives_its_delay_later(factor, monkeypatch):
    monkeypatch.setattr(AudioUNet, "filters", (8, 12, 16, 16))
    torch.manual_seed(2)
    net = AudioUNet(factor, causal=True).eval()
    torch.nn.init.normal_(net.last.weight, std=0.05)
    live = Live(net)
    low = noise(40 * live.hop, 3, 0.2)
    out = np.concatenate([live.process(low[i : i + live.hop]) for i in range(0, len(low), live.hop)])
    raised = short_sinc(factor).process(low)
    with torch.inference_mode():
        whole = net(torch.from_numpy(raised).unsqueeze(0))[0].numpy()
    np.testing.assert_allclose(out, whole, atol=1e-5)
    aligned = interpolated(low, net.starts_from, factor, 16000)
    np.testing.assert_allclose(raised[SHORT_SINC:], aligned[: len(raised) - SHORT_SINC], atol=1e-6)


def test_live_hears_nothing_before_it_comes(monkeypatch):
    net = small(True, monkeypatch)
    low = noise(1600, 4, 0.2)
    changed = low.copy()
    changed[800:] += 0.1
    one, other = Live(net).process(low), Live(net).process(changed)
    first = int(np.flatnonzero(np.abs(one - other) > 1e-7)[0])
    assert 2 * 800 - 32 < first <= 2 * 800 + SHORT_SINC


def test_live_takes_whole_hops_of_a_causal_network(monkeypatch):
    with pytest.raises(InvalidSetting, match="causal"):
        Live(small(False, monkeypatch))
    live = Live(small(True, monkeypatch))
    with pytest.raises(InvalidAudio, match="16"):
        live.process(np.zeros(15, np.float32))


@pytest.mark.parametrize("starts_from", ["spline", "sinc", "short sinc"])
@pytest.mark.parametrize("factor", [2, 4, 6])
def test_interpolation_moves_nothing_in_time(starts_from, factor):
    time = np.arange(2000) / 2000
    low = np.sin(2 * np.pi * 100 * time).astype(np.float32)
    fine = np.sin(2 * np.pi * 100 * np.arange(2000 * factor) / 2000 / factor)
    up = interpolated(low, starts_from, factor, 2000 * factor)
    assert up.shape == fine.shape
    inside = slice(300 * factor, -300 * factor)
    assert np.abs(up[inside] - fine[inside]).max() < 0.01
    np.testing.assert_array_equal(interpolated(low, "low", factor, 2000 * factor), low)


def test_a_shuffle_takes_turns_between_halves_of_the_channels():
    x = torch.arange(8.0).view(1, 4, 2)
    assert shuffle(x).tolist() == [[[0, 4, 1, 5], [2, 6, 3, 7]]]


def test_other_names_and_factors_are_refused():
    with pytest.raises(UnknownName, match="audio-unet"):
        network("audio-net", 2)
    with pytest.raises(InvalidSetting, match="factor"):
        UninterpolatedUNet(3)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Offline:
    """A run as training leaves it, thin."""
    monkeypatch.setattr(AudioUNet, "filters", (4, 4, 4, 4))
    net = network("audio-unet", 4)
    (tmp_path / "run.json").write_text(json.dumps({"baseline": {"name": "audio-unet", "factor": 4, "rate": 16000}}))
    torch.save({"net": net.state_dict()}, tmp_path / "checkpoint.pt")
    return tmp_path


def test_a_run_opens_and_restores(run):
    opened = Offline.open(run)
    assert opened.name == "audio-unet x4"
    low = noise(777, 5)
    heard = Heard(np.zeros(4 * 777, np.float32), low, 4000, 2000.0)
    wide = opened.restore(heard, 16000)
    assert wide.shape == (4 * 777,)
    assert opened.restore(Heard(heard.truth, low, 8000, 4000.0), 16000) is None
    facts = opened.facts(heard, 16000)
    assert facts.look_ahead_ms == pytest.approx((743 + 28) / 16)
    assert facts.parameters > 0
    assert facts.macs_per_s > 0


def test_what_is_no_run_is_refused(run, tmp_path_factory):
    assert is_baseline(run)
    assert not is_baseline(tmp_path_factory.mktemp("empty"))
    with pytest.raises(InvalidSetting, match="run"):
        Offline.open(tmp_path_factory.mktemp("none"))
    torch.save({"net": {}}, run / "checkpoint.pt")
    with pytest.raises(CorruptWeights, match="audio-unet"):
        Offline.open(run)
