"""The judges of the second stage learn to tell sounds apart, and teach the network without being taught by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from rtsr.errors import InvalidSetting  # noqa: E402
from rtsr.net.model import NetConfig  # noqa: E402
from rtsr.train import loop  # noqa: E402
from rtsr.train.judges import JudgeWeights, Panel  # noqa: E402
from rtsr.train.pairs import Pairs  # noqa: E402

CPU = torch.device("cpu")
FEW = JudgeWeights(channels=4, rate=1e-2, share=1.0)
RECIPE = loop.Recipe(steps=6, rows=2, frames=32, warm_up=2, net=NetConfig(widths=(16, 12, 8), memory=8), judges=FEW)


@pytest.fixture
def panel() -> Panel:
    torch.manual_seed(0)
    return Panel(FEW, CPU)


def noise(seed: int, rows: int = 4) -> torch.Tensor:
    return 0.1 * torch.randn(rows, 4000, generator=torch.Generator().manual_seed(seed))


def pulses(seed: int, rows: int = 4) -> torch.Tensor:
    """As loud as the noise, but a pulse every 5 ms: what a log-spectral loss alone is content with."""
    out = torch.zeros(rows, 4000)
    out[:, seed % 80 :: 80] = 0.1 * 80**0.5
    return out


def pairs(step: int) -> Pairs:
    received = noise(step, rows=2)[:, : 32 * 80]
    return Pairs(received, received + noise(step + 100, rows=2)[:, : 32 * 80], torch.full((2,), 4000.0))


@pytest.fixture(scope="module")
def taught() -> tuple[Panel, float]:
    """A panel that has heard 45 pairs, and how wrong it was about the last."""
    torch.manual_seed(0)
    panel = Panel(FEW, CPU)
    return panel, [panel.learn(panel.judge(pulses(step), noise(step))[1]) for step in range(45)][-1]


def test_judges_learn_to_tell_pulses_from_noise(taught):
    panel, wrong = taught
    assert wrong < 0.2  # 0.5 would be guessing
    with torch.no_grad():
        verdicts = [np.mean([float(one[-1].mean()) for one in panel.hear(3 * x)]) for x in (pulses(99), noise(99))]
    assert verdicts[1] > verdicts[0] + 0.3


def test_an_opinion_moves_what_was_restored_and_no_judge(panel):
    restored = pulses(1).requires_grad_()
    giveaway, wrong = panel.judge(restored, noise(1))
    giveaway.backward()
    assert restored.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in panel.judges.parameters())
    before = [parameter.clone() for parameter in panel.judges.parameters()]
    seen = restored.grad.clone()
    panel.learn(wrong)
    assert torch.equal(restored.grad, seen)
    assert any(not torch.equal(a, b) for a, b in zip(before, panel.judges.parameters(), strict=True))


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_the_truth_is_preferred_whatever_its_level(taught, gain):
    panel, _ = taught
    with torch.no_grad():
        like, unlike = (panel.judge(gain * x, gain * noise(7))[0] for x in (noise(7), pulses(7)))
    assert like < 0.5 * unlike


def test_a_share_of_the_rows_is_judged():
    panel = Panel(replace(FEW, share=0.5), CPU)
    assert [len(x) for x in panel.shown(noise(0), noise(1))] == [2, 2]


def test_a_resumed_stage_goes_on_as_if_never_stopped(tmp_path):
    whole, torn = loop.Run(RECIPE, tmp_path / "a", CPU), loop.Run(RECIPE, tmp_path / "b", CPU)
    for step in range(4):
        whole.advance(pairs(step))
    for step in range(2):
        torn.advance(pairs(step))
    torn.save()
    torn = loop.Run(RECIPE, tmp_path / "b", CPU)
    torn.resume()
    for step in range(2, 4):
        parts = torn.advance(pairs(step))
    assert parts["judges"] > 0
    for one, other in ((whole.net, torn.net), (whole.panel.judges, torn.panel.judges)):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_stage_begins_with_the_averaged_weights_of_another(tmp_path):
    first = loop.Run(replace(RECIPE, judges=None), tmp_path / "a", CPU)
    for step in range(3):
        first.advance(pairs(step))
    first.save()
    second = loop.Run(RECIPE, tmp_path / "b", CPU)
    second.start_from(str(tmp_path / "a"))
    assert second.step == 0
    for a, b, c in zip(first.average.parameters(), second.net.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    with pytest.raises(InvalidSetting, match="another stage"):
        loop.Run(RECIPE, tmp_path / "a", CPU).resume()
    with pytest.raises(InvalidSetting, match=r"expected the folder of a run with its checkpoint\.pt, .*nowhere"):
        second.start_from(str(tmp_path / "nowhere"))
