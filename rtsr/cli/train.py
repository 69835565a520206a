"""`rtsr train`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InvalidSetting, MissingDependency
from . import app
from .options import grouped

if TYPE_CHECKING:
    import torch

    from ..train.recipes import Recipe


@dataclass(frozen=True)
class TrainOptions:
    """What `rtsr train` takes."""

    speech: Annotated[Path, typer.Argument(help="Folder with speech and its manifest.csv.")]
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, recipe, TensorBoard events.")] = Path(
        "runs/a"
    )
    model: Annotated[
        str,
        typer.Option(help="voice-16k, voice-48k or the -small of either; or a published network (docs/evaluation.md)."),
    ] = "voice-16k"
    factor: Annotated[int, typer.Option(help="Of a published network: output rate over received rate.")] = 2
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Of training, a resumed run's earlier ones included; in place of steps."),
    ] = None
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps in all, a resumed run's earlier ones included.")
    ] = None
    rows: Annotated[int | None, typer.Option(min=1, help="Stretches in a batch.")] = None
    lines: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of pairs with line augmentation: codecs, losses, noise from ../noise."),
    ] = 0.0
    voices: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of pairs with speed and equaliser perturbation."),
    ] = 0.0
    start: Annotated[
        str | None, typer.Option(help="What to begin with: the folder of a run, or a model's name or manifest.")
    ] = None
    seed: Annotated[int, typer.Option(help="Of the weights and of everything drawn.")] = 1
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto"
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints and validations.")] = 500
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over even if there is a checkpoint.")] = False


@app.command()
@grouped
def train(options: TrainOptions) -> None:
    """Train a network; goes on from the run's checkpoint if there is one.

    A published network (audio-unet, audio-unet-8, causal-audio-unet, hetherly, sut, sut-inception) is trained as it
    was published, for --minutes.

    manifest.csv has the columns file, split (train, valid, test), rate, corpus and licence; share-alike
    recordings are left out.

    Examples:

        rtsr train ../shared/speech --out runs/a

        rtsr train ../shared/speech --model audio-unet --factor 4 --minutes 60 --out runs/audio-unet-x4

        rtsr train ../shared/speech --start voice-16k --steps 2000 --out runs/b

        rtsr train ../shared/speech --minutes 20 --rows 256 --out runs/on-a-card

        tensorboard --logdir runs
    """
    try:
        import torch  # noqa: F401  what is missing is said before any work

        from ..train.recipes import RECIPES
    except ImportError as error:
        raise MissingDependency(error.name or "torch", "train", "rtsr train") from None
    if options.model in RECIPES:
        _train_ours(options, RECIPES[options.model], _device(options.device))
    else:
        _train_published(options, sorted(RECIPES), _device(options.device))


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidSetting("CUDA was asked for, but torch sees no CUDA device; use --device cpu")
    return torch.device(name)


def _train_ours(options: TrainOptions, usual: Recipe, device: torch.device) -> None:
    from ..train import loop

    if options.minutes is not None and options.steps is not None:
        raise InvalidSetting("expected --steps or --minutes, got both")
    if options.minutes == 0:
        raise InvalidSetting("expected --minutes of more than 0")
    steps, rows = options.steps or usual.steps, options.rows or usual.rows
    drawn = replace(usual, seed=options.seed, voices=options.voices, lines=options.lines)
    recipe = replace(drawn, steps=steps, rows=rows, minutes=options.minutes)
    fresh, every, start = options.fresh, options.every, options.start
    loop.train(recipe, options.speech, options.out, device, fresh=fresh, every=every, start=start)


def _train_published(options: TrainOptions, ours: list[str], device: torch.device) -> None:
    from ..train import baseline

    if options.start is not None:
        raise InvalidSetting(f"expected --start only for {', '.join(ours)}, got it for {options.model}")
    if options.minutes is None:
        raise InvalidSetting(f"expected --minutes for {options.model}: published networks are given a budget of time")
    recipe = baseline.BaselineRecipe(options.model, options.factor, options.minutes, options.rows or 16, options.seed)
    baseline.train(recipe, options.speech, options.out, device, fresh=options.fresh, every=options.every)
