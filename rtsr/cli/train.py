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
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps in all, a resumed run's earlier ones included.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Stretches of 1.4 s in a batch.")] = None,
    seed: Annotated[int, typer.Option(help="Of the weights and of everything drawn.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints and validations.")] = 500,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over even if there is a checkpoint.")] = False,
) -> None:
    """Train a network; goes on from the run's checkpoint if there is one.

    manifest.csv has the columns file, split (train, valid, test), rate, corpus and licence; share-alike
    recordings are left out.

    Examples:

        rtsr train ../shared/speech --out runs/a

        tensorboard --logdir runs
    """
    try:
        import torch

        from ..train import loop
    except ImportError as error:
        raise MissingDependency(error.name or "torch", "train", "rtsr train") from None
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidSetting("CUDA was asked for, but torch sees no CUDA device; use --device cpu")
    usual = loop.Recipe()
    recipe = replace(usual, seed=seed, steps=steps or usual.steps, rows=rows or usual.rows)
    loop.train(recipe, speech, out, torch.device(device), fresh=fresh, every=every)
