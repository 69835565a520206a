"""`rtsr evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..backend import load
from ..errors import InvalidSetting
from . import BackendName, Model, app, errors

HEADINGS = ("LSD ↓", "-LF ↓", "-HF ↓", "SNR ↑", "SI-SDR ↑", "PESQ ↑", "STOI ↑")


@app.command()
def evaluate(
    speech: Annotated[Path, typer.Argument(help="Folder of wideband recordings, or of a manifest.csv with --split.")],
    split: Annotated[str | None, typer.Option(help="Take the manifest's files of this split.")] = None,
    cutoffs: Annotated[str, typer.Option(help="Hz, separated by commas.")] = "4000,2000",
    detect: Annotated[bool, typer.Option("--detect", help="Let the stream detect the cutoff, do not tell it.")] = False,
    perceptual: Annotated[bool, typer.Option(help="PESQ-WB and STOI too.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many files, spread over all.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write every file's row here as well.")] = None,
    model: Model = "voice-16k",
    backend: BackendName = "auto",
) -> None:
    """Narrow recordings, restore them through the stream, and score them beside sinc and cubic spline.

    Examples:

        rtsr evaluate ../shared/speech --split valid

        rtsr evaluate my-recordings/ --cutoffs 4000,3400 --detect --json out/scores.json
    """
    from ..eval.evaluate import evaluate as rows_of
    from ..eval.evaluate import recordings, write_json

    opened = load(model, backend)
    at = _parse_cutoffs(cutoffs, opened.spec.cutoff_min_hz, opened.spec.cutoff_max_hz)
    files = recordings(speech, split, opened.spec.rate, limit)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("", total=len(files) * len(at))
        rows = list(
            rows_of(files, opened, at, told=not detect, perceptual=perceptual, progress=lambda: progress.advance(task))
        )
    table = Table(title=f"{len(files)} recordings at {opened.spec.rate} Hz", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("cutoff", justify="right")
    table.add_column("system", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        if row.file is None:
            s = row.scores
            figures = (s.lsd, s.lsd_lf, s.lsd_hf, s.snr_db, s.si_sdr_db, s.pesq_wb, s.stoi)
            table.add_row(f"{row.cutoff_hz:.0f}", row.system, *("-" if v is None else f"{v:.3f}" for v in figures))
    Console().print(table)
    if json is not None:
        about: dict[str, object] = {"model": opened.model, "backend": opened.name, "split": split, "told": not detect}
        write_json(rows, json, about)


def _parse_cutoffs(text: str, least: float, most: float) -> list[float]:
    try:
        cutoffs = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidSetting(f"expected cutoffs in Hz separated by commas, got {text!r}") from None
    if not all(least <= c <= most for c in cutoffs):
        raise InvalidSetting(f"expected cutoffs from {least:.0f} to {most:.0f} Hz, got {text}")
    return cutoffs
