"""What a training run depends on, and the recipes of the models that ship."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..net.model import NetConfig
from ..spec import Spec
from .discriminators import Adversarial
from .filters import Cutoffs
from .loss import LossWeights


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a run depends on; written beside its checkpoints."""

    model: str = "voice-16k"  # whose recipe it is
    steps: int = 9_000
    minutes: float | None = None  # of training in place of steps; then a run is not the same twice
    rows: int = 12
    frames: int = 280
    rate: float = 1e-3  # of AdamW
    matrix_rate: float = 4e-3  # of Muon
    warm_up: int = 300
    decay: float = 0.5  # the last part of the run in which the rate falls to nothing
    average: float = 0.999  # decay of the moving average of the weights, which is what is shipped
    margin_db: float = 7.5  # by which what ships is quieter than what was learnt: too loud costs more than too quiet
    seed: int = 1
    tones: float = 0.04  # share of rows with tones, from which nothing is missing
    voices: float = 0.0  # share of rows with speed and equaliser perturbation
    lines: float = 0.0  # share of rows with line augmentation: codecs, losses, clipping, noise
    transfers_from: str | None = None  # a model of a lower rate whose weights the network starts with
    lower: float = 0.0  # share of rows from recordings made at `lower_rate`, of whose band alone the loss knows
    lower_rate: int = 16_000
    net: NetConfig = field(default_factory=NetConfig)
    weights: LossWeights = field(default_factory=LossWeights)
    cutoffs: Cutoffs = field(default_factory=Cutoffs)
    adversarial: Adversarial = field(default_factory=Adversarial)


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Return the share of the full rate: warm up for some steps, stay, then fall in a straight line.

    progress: how much of the run is over, of 1. A run can be shortened or prolonged while the rate stays.
    """
    left = (1 - progress) / recipe.decay
    return min(1.0, (step + 1) / recipe.warm_up, max(left, 0.0))


def _to_48k(model: str, lower: Recipe) -> Recipe:
    spec = Spec(48_000, hop=240, history=1440, synthesis=480, cutoff_min_hz=3_000.0, cutoff_max_hz=14_000.0)
    return Recipe(
        model=model,
        steps=2_000,
        rows=10,
        frames=240,
        matrix_rate=2e-3,
        warm_up=50,
        average=0.99,
        margin_db=0.0,
        transfers_from=lower.model,
        lower=0.2,
        net=replace(lower.net, spec=spec),
        cutoffs=Cutoffs((4000.0, 8000.0, 6000.0, 12000.0), (0.4, 0.35, 0.12, 0.13), lowest=3_200.0, highest=13_000.0),
    )


USUAL = Recipe()
SMALL = Recipe(model="voice-16k-small", net=NetConfig(widths=(112, 80, 64), memory=112))
_RECIPES = (USUAL, SMALL, _to_48k("voice-48k", USUAL), _to_48k("voice-48k-small", SMALL))
RECIPES = {recipe.model: recipe for recipe in _RECIPES}
