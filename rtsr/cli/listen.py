"""`rtsr listen`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..errors import InvalidSetting
from . import app, make_folder
from .evaluate import LineOptions, SystemOptions, lines_of
from .options import grouped


@dataclass(frozen=True)
class ListenLines(LineOptions):
    """Through which telephone lines the recordings come."""

    cutoffs: Annotated[str, typer.Option(help="Hz, separated by commas.")] = "4000"


@dataclass(frozen=True)
class PageOptions:
    """What the page is made of."""

    split: Annotated[str | None, typer.Option(help="Take the manifest's files of this split.")] = None
    limit: Annotated[int, typer.Option(min=1, help="Recordings a line.")] = 6
    out: Annotated[Path, typer.Option(help="Folder for listen.html.")] = Path("out")
    seed: Annotated[int, typer.Option(help="Of the order in which systems and pairs come.")] = 0


@app.command()
@grouped
def listen(
    page: PageOptions,
    lines: ListenLines,
    systems: SystemOptions,
    speech: Annotated[Path | None, typer.Argument(help="Folder of wideband recordings, as for rtsr evaluate.")] = None,
    votes: Annotated[
        list[Path] | None, typer.Option("--votes", help="Count what pages saved, instead of making one.")
    ] = None,
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
    from ..eval.page import example

    opened, own = systems.open(given=True)
    rate = own.model.spec.rate
    files = list(recordings(speech, page.split, rate, page.limit))
    over = lines_of(lines, speech, own)
    make_folder(page.out)
    examples = [example(path, line, opened, rate) for line in over for path in files]
    console.print(f"open {write_page(page.out, examples, rate, page.seed)} in a browser")
