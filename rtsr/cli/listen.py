"""`rtsr listen`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..errors import InvalidSetting
from . import BackendName, app, make_folder
from .evaluate import lines_of


@app.command()
def listen(
    speech: Annotated[Path | None, typer.Argument(help="Folder of wideband recordings, as for rtsr evaluate.")] = None,
    split: Annotated[str | None, typer.Option(help="Take the manifest's files of this split.")] = None,
    cutoffs: Annotated[str, typer.Option(help="Hz, separated by commas.")] = "4000",
    conditions: Annotated[str | None, typer.Option(help="Telephone conditions too: all, or names.")] = None,
    noise: Annotated[Path | None, typer.Option(help="Folder of noise, as for rtsr evaluate.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Recordings a line.")] = 6,
    out: Annotated[Path, typer.Option(help="Folder for listen.html.")] = Path("out"),
    seed: Annotated[int, typer.Option(help="Of the order in which systems and pairs come.")] = 0,
    votes: Annotated[
        list[Path] | None, typer.Option("--votes", help="Count what pages saved, instead of making one.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="A model's name or manifest, or a published network's run.")
    ] = None,
    backend: BackendName = "auto",
) -> None:
    """Make a page for a blind comparison by ear: two systems at a time, as A and B; it saves votes.json.

    Examples:

        rtsr listen ../shared/speech --split test --model voice-16k --model runs/audio-unet-x2

        rtsr listen --votes ~/Downloads/votes.json
    """
    console = Console()
    if votes:
        from ..eval.listen import tally

        table = Table("system", "against", "preferred", "not", "no difference")
        for t in tally(votes):
            table.add_row(t.system, t.other, str(t.won), str(t.lost), str(t.equal))
        console.print(table)
        return
    if speech is None:
        raise InvalidSetting("expected a folder of recordings, or --votes with what a page saved")
    from ..eval.evaluate import recordings
    from ..eval.listen import write_page
    from ..eval.opening import open_systems
    from ..eval.page import example

    systems, voice = open_systems(models or ["voice-16k"], backend, told=True)
    rate = voice.model.spec.rate
    files = list(recordings(speech, split, rate, limit))
    lines = lines_of(cutoffs, conditions, noise or speech.parent / "noise", voice)
    make_folder(out)
    examples = [example(path, line, systems, rate) for line in lines for path in files]
    console.print(f"open {write_page(out, examples, rate, seed)} in a browser")
