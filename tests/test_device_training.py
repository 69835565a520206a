"""A training step asks nothing of a device in between: what it would have to wait for is an error on "meta"."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from rtsr.net.layers import doubled, scanned  # noqa: E402
from rtsr.net.model import NetConfig  # noqa: E402
from rtsr.spec import Spec  # noqa: E402
from rtsr.train import loop, pairs  # noqa: E402
from rtsr.train.augmentation import Augmentation, Lower  # noqa: E402
from rtsr.train.discriminators import Adversarial  # noqa: E402
from rtsr.train.optimisers import Muon  # noqa: E402

SPEC, CPU, META = Spec(), torch.device("cpu"), torch.device("meta")  # shapes and places, but no numbers
CARD = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NET = NetConfig(widths=(16, 12, 8), memory=8)
RECIPE = loop.Recipe(rows=6, frames=232, net=NET, adversarial=Adversarial(channels=4))


@pytest.fixture
def maker(corpus) -> pairs.PairMaker:
    """Every kind of row."""
    every = Augmentation(variety=0.8, tones=0.4, voices=0.3, lower=Lower(corpus, 8000, 0.3))
    return pairs.PairMaker(corpus, SPEC, RECIPE.frames, 3, every, bank=32)


def test_pairs_are_made_without_waiting(maker):
    kinds = set()
    for step in range(8):
        made, right = (maker.batch(step, RECIPE.rows, device) for device in (META, CPU))
        for name in ("received", "target", "cutoff", "band"):
            assert getattr(made, name).device == META
            assert getattr(made, name).shape == getattr(right, name).shape
        kinds.add(float(right.band.min()))
    assert len(kinds) == 2


def test_pairs_of_a_device_are_those_of_the_cpu(maker, corpus):
    """Where there is no card, what a card does is done on the CPU: the corpus lies there, and is read by its places."""
    right = [maker.batch(step, RECIPE.rows, CPU) for step in range(6)]
    maker._kept[CARD] = replace(maker.kept(CARD), samples=torch.tensor(np.asarray(corpus.samples), device=CARD))
    for step, expected in enumerate(right):
        made = maker.batch(step, RECIPE.rows, CARD)
        for name in ("received", "target"):
            torch.testing.assert_close(getattr(made, name).cpu(), getattr(expected, name), rtol=0, atol=1e-5)
        assert torch.equal(made.cutoff.cpu(), expected.cutoff)
        assert torch.equal(made.band.cpu(), expected.band)


def test_a_step_is_taken_without_waiting(maker, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())  # which knows no "meta"
    run = loop.Run(RECIPE, tmp_path, META)
    for _ in range(2):
        parts = run.advance(maker.batch(run.step, RECIPE.rows, META))
    assert {value.device for value in parts.values()} == {META}
    with pytest.raises(RuntimeError):
        float(parts["level"])  # what would wait


def test_the_memory_is_scanned_in_parallel_and_back():
    torch.manual_seed(0)
    kept, added = torch.rand(2, 3, 37, 5, dtype=torch.float64)
    given = [one.requires_grad_() for one in (kept, added, torch.randn(3, 1, 5, dtype=torch.float64))]
    torch.testing.assert_close(doubled(*given), scanned(*given))
    assert torch.autograd.gradcheck(scanned, given)
    y = given[2]
    for t in range(37):
        y = kept[:, t : t + 1] * y + added[:, t : t + 1]
        torch.testing.assert_close(scanned(*given)[:, t : t + 1], y)


def test_muon_of_many_matrices_is_that_of_each():
    shapes = ((12, 30), (30, 12), (12, 30), (8, 8), (40, 5))
    options = {"lr": 0.01, "weight_decay": 0.01, "momentum": 0.95, "adjust_lr_fn": "match_rms_adamw"}
    start = [torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i, shape in enumerate(shapes)]
    both = []
    for kind in (torch.optim.Muon, Muon):
        matrices = [torch.nn.Parameter(m.clone()) for m in start]
        optimiser = kind(matrices, **options)
        for step in range(4):
            for i, m in enumerate(matrices):
                m.grad = torch.randn(m.shape, generator=torch.Generator().manual_seed(100 * step + i))
            optimiser.step()
        both.append((matrices, optimiser))
    for m, n, begun in zip(both[0][0], both[1][0], start, strict=True):
        assert (n - m).norm() < 0.02 * (m - begun).norm()
    both[0][1].load_state_dict(both[1][1].state_dict())
