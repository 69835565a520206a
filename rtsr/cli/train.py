"""`rtsr train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidSetting, MissingDependency
from . import app


@app.command()
def train(
    speech: Annotated[Path, typer.Argument(help="Folder with speech and its manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, recipe, TensorBoard events.")] = Path(
        "runs/a"
    ),
    model: Annotated[
        str,
        typer.Option(help="voice-16k, voice-48k or the -small of either; or a published network (docs/evaluation.md)."),
    ] = "voice-16k",
    factor: Annotated[int, typer.Option(help="Of a published network: output rate over received rate.")] = 2,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Of training for a published network, resumed runs' earlier ones included."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps in all, a resumed run's earlier ones included.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Stretches in a batch.")] = None,
    lines: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of pairs that come over telephones: codecs, losses, noise from ../noise."
        ),
    ] = 0.0,
    voices: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of pairs whose voice is made another: faster, by another microphone."),
    ] = 0.0,
    start: Annotated[
        str | None, typer.Option(help="What to begin with: the folder of a run, or a model's name or manifest.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the weights and of everything drawn.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints and validations.")] = 500,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over even if there is a checkpoint.")] = False,
) -> None:
    """Train a network; goes on from the run's checkpoint if there is one.

    A published network (audio-unet, audio-unet-8, causal-audio-unet, hetherly, sut, sut-inception) is trained as it
    was published, for --minutes.

    manifest.csv has the columns file, split (train, valid, test), rate, corpus and licence; share-alike
    recordings are left out.

    Examples:

        rtsr train ../shared/speech --out runs/a

        rtsr train ../shared/speech --model audio-unet --factor 4 --minutes 60 --out runs/audio-unet-x4

        rtsr train ../shared/speech --start voice-16k --steps 2000 --out runs/b

        tensorboard --logdir runs
    """
    try:
        import torch

        from ..train import baseline, loop
        from ..train.recipes import RECIPES
    except ImportError as error:
        raise MissingDependency(error.name or "torch", "train", "rtsr train") from None
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidSetting("CUDA was asked for, but torch sees no CUDA device; use --device cpu")
    if model not in RECIPES:
        if start is not None:
            raise InvalidSetting(f"expected --start only for {', '.join(RECIPES)}, got it for {model}")
        if minutes is None:
            raise InvalidSetting(f"expected --minutes for {model}: published networks are given a budget of time")
        theirs = baseline.BaselineRecipe(model, factor, minutes, rows or 16, seed)
        baseline.train(theirs, speech, out, torch.device(device), fresh=fresh, every=every)
        return
    if minutes is not None:
        raise InvalidSetting(f"expected --steps for {model}, whose learning rate follows them, got --minutes")
    usual = RECIPES[model]
    recipe = replace(usual, seed=seed, voices=voices, lines=lines, steps=steps or usual.steps, rows=rows or usual.rows)
    loop.train(recipe, speech, out, torch.device(device), fresh=fresh, every=every, start=start)
