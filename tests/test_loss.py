"""The loss of envelopes and the discriminators: what they measure, and who learns from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from rtsr.spec import Spec  # noqa: E402
from rtsr.train import loss, pairs  # noqa: E402
from rtsr.train.discriminators import Adversarial, Discriminators  # noqa: E402

SPEC, CPU = Spec(), torch.device("cpu")
FEW = 232  # frames: fewer than 225 are too few for the discriminator of the longest scale


@pytest.fixture(scope="module")
def measured(maker) -> tuple[loss.EnvelopeLoss, pairs.Pairs, torch.Tensor]:
    """The loss, a batch, and the true envelopes of the batch as a network gives them."""
    compared, batch = loss.EnvelopeLoss(SPEC, loss.LossWeights(), CPU), maker.batch(0, 4, CPU)
    power = compared.structure.band_powers(compared.structure.short_spectra(batch.target).abs().square())
    return compared, batch, torch.log(power + 1e-20)


def test_the_truth_has_the_least_level_error(measured):
    compared, batch, truth = measured
    target = compared.target(batch)
    louder, quieter = (
        [compared.level_error(truth + sign * step, target).item() for step in (0, 0.5, 1, 2)] for sign in (1, -1)
    )
    assert louder[0] < 1e-4
    assert louder == sorted(louder)
    assert quieter == sorted(quieter)
    assert quieter[1] > 0.05


@pytest.mark.parametrize("quantile", [0.2, 0.35, 0.5])
def test_too_loud_costs_more_than_too_quiet_by_the_quantile(quantile):
    compared = loss.EnvelopeLoss(SPEC, loss.LossWeights(quantile=quantile), CPU)
    levels, floor = torch.zeros(2, 5, SPEC.bands), torch.zeros(2, 1, 1)
    received = torch.zeros(2, 5, loss.BELOW + SPEC.bands)
    target = loss.Target(levels, received, torch.ones(2, 1, SPEC.bands), floor, floor)
    loud, quiet = (compared.level_error(levels + step, target).item() for step in (1.0, -1.0))
    assert loud / quiet == pytest.approx((1 - quantile) / quantile, rel=1e-4)
    assert quiet == pytest.approx(2 * quantile, rel=1e-4)


def test_what_lies_under_the_floor_is_not_heard(measured):
    compared, batch, truth = measured
    target = compared.target(batch)
    silent, more_silent = (truth.clamp(max=level) for level in (-30.0, -60.0))
    assert compared.level_error(silent, target).item() == pytest.approx(
        compared.level_error(more_silent, target).item(), abs=1e-3
    )


def test_nothing_is_looked_at_above_the_band_that_a_row_knows(measured):
    compared, batch, truth = measured
    known = replace(batch, band=torch.tensor([0.5, 1.0, 1.0, 1.0]))
    target = compared.target(known)
    centre_hz = compared.centre_share * SPEC.rate / 2
    for row, hz, seen in ((0, 4500.0, False), (1, 4500.0, True)):
        other = truth.clone()
        other[row, :, centre_hz > hz] += 3
        for measured_by in (compared.level_error, compared.seen):
            plain, changed = (measured_by(compared.over_floor(e, target), target) for e in (truth, other))
            assert ((plain - changed).abs().max() > 1e-2) == seen


def test_discriminators_see_the_generated_envelope_only_where_bands_are_missing(measured):
    compared, batch, truth = measured
    target = compared.target(batch)
    where = compared.where(target)
    generated, true = (compared.seen(e, target) for e in (target.envelope + 1, target.envelope))
    assert generated.shape == (4, truth.shape[1], loss.BELOW + SPEC.bands)
    assert where.shape == (4, 1, loss.BELOW + SPEC.bands)
    torch.testing.assert_close((generated - true) * loss.SPREAD, where.expand_as(true), rtol=0, atol=1e-4)
    assert not where[..., : loss.BELOW].any()
    assert where.amax() == 1


def alike(seed: int, bands: int = 20) -> torch.Tensor:
    return torch.randn(2, FEW, bands, generator=torch.Generator().manual_seed(seed))


def test_discriminators_of_what_is_the_same_are_wrong_by_a_half_and_find_a_difference():
    torch.manual_seed(0)
    where = torch.ones(2, 1, 20)
    for other, differ in ((0.0, False), (1.0, True)):
        discriminators = Discriminators(Adversarial(channels=4, rate=1e-2), CPU)
        errors = [discriminators.learn(alike(n) + other, alike(n), where) for n in range(40)]
        assert differ or min(errors) >= 0.499
        assert (errors[-1] < 0.3) if differ else errors[-1] == pytest.approx(0.5, abs=0.05)


def test_what_gives_an_envelope_away_teaches_the_generator_alone():
    torch.manual_seed(0)
    discriminators, where = Discriminators(Adversarial(channels=4, realism=0.0), CPU), torch.ones(2, 1, 20)
    true = alike(0)
    assert discriminators.compare(true, true, where).item() == 0
    generated = (true + 0.5).requires_grad_(True)
    discriminators.compare(generated, true, where).backward()
    assert generated.grad is not None
    assert generated.grad.abs().max() > 0
    assert all(p.grad is None and p.requires_grad for p in discriminators.nets.parameters())
