"""The network is causal, the same in one call or many, deaf above the cutoff, and within its budget."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tests.signals import noise, voice_like

torch = pytest.importorskip("torch", reason="the network is written in torch")

from rtsr.dsp.frames import Frames  # noqa: E402  torch has to be there first
from rtsr.dsp.overlap import OverlapAdd  # noqa: E402
from rtsr.net.export import macs_per_s  # noqa: E402
from rtsr.net.layers import Block, CausalDepthwise, MinGru  # noqa: E402
from rtsr.net.model import QUIET, BandNet, NetConfig  # noqa: E402
from rtsr.net.signal import analyse, synthesise  # noqa: E402
from rtsr.net.weights import Weights  # noqa: E402

ROWS, FRAMES = 3, 70


@pytest.fixture(scope="module")
def net(model_path) -> BandNet:
    return Weights.find(model_path).network().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def heard(net) -> torch.Tensor:
    x = np.stack([voice_like(0.35, seed=r) + noise(5600, r, 1e-3) for r in range(ROWS)])
    return analyse(torch.from_numpy(x.astype(np.float32)), net.config.spec)


@pytest.fixture(scope="module")
def cutoff() -> torch.Tensor:
    return torch.tensor([1500.0, 3000.0, 5000.0]).unsqueeze(1).expand(-1, FRAMES)


def test_the_future_does_not_reach_the_past(net, heard, cutoff):
    whole, _ = net(heard, cutoff, net.new_state(ROWS))
    changed = heard.clone()
    changed[:, 40:] += torch.randn(changed[:, 40:].shape, generator=torch.Generator().manual_seed(0))
    other, _ = net(changed, cutoff, net.new_state(ROWS))
    torch.testing.assert_close(other[:, :40], whole[:, :40], rtol=0, atol=0)
    assert (other[:, 40] - whole[:, 40]).abs().max() > 1e-3
    given = cutoff.clone()
    given[:, 40:] = 2000.0
    other, _ = net(heard, given, net.new_state(ROWS))
    torch.testing.assert_close(other[:, :40], whole[:, :40], rtol=0, atol=0)


@pytest.mark.parametrize("sizes", [[1] * FRAMES, [1, 2, 3, 64], [33, 1, 36]])
def test_frames_in_any_portions_give_what_all_at_once_give(net, heard, cutoff, sizes):
    whole, last = net(heard, cutoff, net.new_state(ROWS))
    state, parts, start = net.new_state(ROWS), [], 0
    for size in sizes:
        part, state = net(heard[:, start : start + size], cutoff[:, start : start + size], state)
        parts.append(part)
        start += size
    assert start == FRAMES
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5 * whole.abs().max().item())
    for name in last:
        torch.testing.assert_close(state[name], last[name], rtol=1e-4, atol=1e-5)


def test_a_state_is_not_changed_but_replaced(net, heard, cutoff):
    state = net.new_state(ROWS)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    _, new = net(heard, cutoff, state)
    for name in state:
        assert torch.equal(state[name], kept[name])
        assert new[name].shape == state[name].shape
    assert set(new) == set(net.state_shapes())


def test_the_past_matters_for_as_long_as_the_layers_say(net, heard, cutoff):
    """Every state carries something: forgetting any one of them changes what comes next."""
    _, state = net(heard[:, :50], cutoff[:, :50], net.new_state(ROWS))
    expected, _ = net(heard[:, 50:], cutoff[:, 50:], state)
    for name in state:
        without = {**state, name: torch.zeros_like(state[name])}
        got, _ = net(heard[:, 50:], cutoff[:, 50:], without)
        assert (got - expected).abs().max() > 1e-5, name


def test_the_feature_of_what_is_missing_rises_over_the_last_bin_under_the_cutoff(net):
    missing = net.missing(torch.tensor([[4000.0]]))[0, 0]
    assert missing[:40].eq(0).all()
    assert missing[40:].eq(1).all()
    shifted = net.missing(torch.tensor([[4025.0]]))[0, 0]
    assert shifted[40].item() == pytest.approx(0.75)


def test_what_lies_above_the_cutoff_is_not_heard(net, heard, cutoff):
    """Whatever a container has above the cutoff, aliases of a bad line for instance, changes only the level."""
    features = net.features(heard, heard.square().sum(-1), cutoff)
    changed = heard.clone()
    for row, hz in enumerate(cutoff[:, 0]):
        changed[row][:, net.hz_in >= hz] = 5.0
    assert torch.equal(net.features(changed, changed.square().sum(-1), cutoff), features)


def test_silence_and_the_loudest_signals_give_finite_envelopes_and_states(net, heard):
    given = torch.full((ROWS, FRAMES), 2000.0)
    for spectrum in (torch.zeros_like(heard), heard * 1e-9, heard * 1e4):
        envelope, state = net(spectrum, given, net.new_state(ROWS))
        assert envelope.isfinite().all()
        assert all(whole.isfinite().all() for whole in state.values())


def test_an_untrained_network_is_quiet(heard, cutoff):
    torch.manual_seed(0)
    net = BandNet(NetConfig(widths=(32, 24, 16)))
    with torch.no_grad():
        envelope, _ = net(heard, cutoff, net.new_state(ROWS))
    assert envelope.shape == (ROWS, FRAMES, net.config.spec.bands)
    assert abs(envelope.mean().item() - QUIET) < 0.5


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_a_convolution_looks_back_exactly_as_far_as_its_state(dilation):
    layer = CausalDepthwise(4, 7, dilation)
    x = torch.zeros(1, 60, 4)
    x[:, 10] = 1
    with torch.no_grad():
        y, state = layer(x, torch.zeros(1, *layer.state_shape()))
        heard_at = (y - layer.bias).abs().sum((0, 2)).nonzero().flatten().tolist()
    assert heard_at == [10 + k * dilation for k in range(7)]
    assert state.shape == (1, 6 * dilation, 4)


def test_every_layer_takes_frames_one_by_one():
    torch.manual_seed(0)
    x = torch.randn(2, 30, 8)
    for layer in (Block(8, 7, 2, 2.0), MinGru(8, 12), CausalDepthwise(8, 7, 4)):
        with torch.no_grad():
            state = torch.zeros(2, *layer.state_shape())
            whole, last = layer(x, state)
            parts = []
            for k in range(30):
                part, state = layer(x[:, k : k + 1], state)
                parts.append(part)
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(state, last, rtol=1e-5, atol=1e-6)


def test_the_torch_frames_are_the_streams_frames(net):
    spec, x = net.config.spec, voice_like(0.5)
    frames = Frames(spec, spec.rate)
    streamed = np.array([frames.push(hop[None])[0].copy() for hop in x.reshape(-1, spec.hop)])
    np.testing.assert_allclose(analyse(torch.from_numpy(x)[None], spec)[0].numpy(), streamed, atol=1e-4)


def test_the_torch_overlap_add_is_the_streams_without_its_delay(net):
    spec = net.config.spec
    made = torch.randn(1, 40, spec.bins_out, 2, generator=torch.Generator().manual_seed(1))
    overlap = OverlapAdd(spec)
    streamed = np.concatenate([overlap.push(frame.numpy()[None])[0].copy() for frame in made[0]])
    whole = synthesise(made, spec)[0].numpy()
    assert len(whole) == len(streamed)
    np.testing.assert_allclose(whole[: -spec.overlap], streamed[spec.overlap :], atol=1e-5)


def test_the_default_network_keeps_to_its_budget():
    net = BandNet(NetConfig())
    assert sum(p.numel() for p in net.parameters()) <= 3_000_000
    assert 0 < macs_per_s(net) <= 350_000_000


def test_macs_count_one_a_weight_a_frame():
    net = BandNet(NetConfig(widths=(32, 24, 16)))
    counted = 0

    def count(layer: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal counted
        counted += layer.weight.numel()

    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        net(torch.zeros(1, 1, 241, 2), torch.zeros(1, 1), net.new_state())
    depthwise = sum(m.weight.numel() for m in net.modules() if isinstance(m, CausalDepthwise))
    assert macs_per_s(net) == (counted + depthwise) * net.config.spec.frames_per_s


def test_a_config_survives_json():
    config = NetConfig(widths=(32, 24, 16), dilations=(1, 3, 5))
    assert NetConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_deeper_and_shallower_networks_are_the_same_class():
    for widths, dilations, blocks in (((16, 8), (1, 2), 1), ((16, 12, 8, 6), (1, 2, 4, 8), 3)):
        net = BandNet(dataclasses.replace(NetConfig(), widths=widths, dilations=dilations, bottleneck_blocks=blocks))
        with torch.no_grad():
            made, _ = net(torch.randn(1, 5, 241, 2), torch.full((1, 5), 4000.0), net.new_state())
        assert made.shape == (1, 5, net.config.spec.bands)
