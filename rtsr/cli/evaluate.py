"""`rtsr evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..errors import InvalidSetting
from . import BackendName, app, errors, make_folder

if TYPE_CHECKING:
    from ..eval.evaluate import Line, Row
    from ..eval.systems import Voice

WIDTH = 220  # of the table where nothing says how wide a screen is


@app.command()
def evaluate(
    speech: Annotated[Path, typer.Argument(help="Folder of wideband recordings, or of a manifest.csv with --split.")],
    split: Annotated[str | None, typer.Option(help="Take the manifest's files of this split.")] = None,
    corpus: Annotated[str, typer.Option(help="Of the split, only corpora whose names begin so.")] = "",
    cutoffs: Annotated[str, typer.Option(help="Hz, separated by commas.")] = "4000,2000",
    conditions: Annotated[
        str | None, typer.Option(help="Telephone conditions too: all, or names separated by commas.")
    ] = None,
    noise: Annotated[
        Path | None, typer.Option(help="Folder of noise for the condition noise; ../noise beside SPEECH if not given.")
    ] = None,
    detect: Annotated[bool, typer.Option("--detect", help="Let the stream detect the cutoff, do not tell it.")] = False,
    perceptual: Annotated[bool, typer.Option(help="PESQ-WB and STOI too.")] = True,
    visqol: Annotated[bool, typer.Option("--visqol", help="ViSQOL too: pip install 'rtsr[visqol]'.")] = False,
    mos: Annotated[
        bool, typer.Option("--mos", help="DistillMOS and DNSMOS too, and the share restored: pip install 'rtsr[mos]'.")
    ] = False,
    harm: Annotated[
        bool, typer.Option("--harm", help="Only check what has to pass as it is: tones, music, wideband.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many files, spread over all.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="At most so many seconds of each file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write every file's row here as well.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for a page to read, see and hear.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A model's name or manifest, or a published network's run; repeat it to compare several.",
        ),
    ] = None,
    backend: BackendName = "auto",
) -> None:
    """Narrow recordings, restore them through the stream, and score them beside sinc and cubic spline.

    Examples:

        rtsr evaluate ../shared/speech --split valid --mos --limit 8 --seconds 10

        rtsr evaluate my-recordings/ --cutoffs 4000,3400 --detect --json out/scores.json

        rtsr evaluate ../shared/speech --split valid --corpus nist --model voice-48k --cutoffs 4000,8000

        rtsr evaluate ../shared/speech --split test --model voice-16k --model runs/audio-unet-x2 --conditions all \\
            --visqol --report out/report
    """
    from ..eval import evaluate as evaluation
    from ..eval.opening import open_systems
    from ..speech.scores import MOS, PERCEPTUAL, VISQOL

    systems, voice = open_systems(models or ["voice-16k"], backend, told=not detect)
    rate = voice.model.spec.rate
    corpora = evaluation.recordings(speech, split, rate, limit, corpus)
    files = list(corpora)
    if harm:
        _check_harm(voice, files)
        return
    lines = lines_of(cutoffs, conditions, noise or speech.parent / "noise", voice)
    for folder in (json and json.parent, report):
        if folder is not None:
            make_folder(folder)
    asked_for = {PERCEPTUAL: perceptual, VISQOL: visqol, MOS: mos}
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("", total=len(files) * len(lines))
        rows = list(
            evaluation.evaluate(
                files,
                systems,
                lines,
                rate,
                options=[name for name, asked in asked_for.items() if asked],
                corpora=corpora,
                seconds=seconds,
                progress=lambda: progress.advance(task),
            )
        )
    title = f"{len(files)} recordings at {rate} Hz"
    console = Console()
    Console(width=max(console.width, WIDTH)).print(_table(rows, title))
    about: dict[str, object] = {
        "model": voice.model.model,
        "backend": voice.model.name,
        "split": f"{split} {corpus}" if corpus else split,
        "told": not detect,
        "seconds": seconds,
    }
    if json is not None:
        evaluation.write_json(rows, json, about)
    if report is not None:
        from ..eval.page import example
        from ..eval.report import write_report

        examples = [example(files[len(files) // 2], line, systems, rate) for line in lines]
        console.print(f"open {write_report(report, title, rows, examples, systems, rate)} in a browser")


def lines_of(cutoffs: str, conditions: str | None, noise: Path, voice: Voice) -> list[Line]:
    """Return the clean lines at each cutoff and the telephone's conditions."""
    from ..eval.evaluate import Line
    from ..speech.conditions import NOISE, parse, read_noises

    spec = voice.model.spec
    lines = [Line(cutoff_hz=c) for c in _parse_cutoffs(cutoffs, spec.cutoff_min_hz, spec.cutoff_max_hz)]
    if conditions is not None:
        named = parse(conditions)
        noises = read_noises(noise, spec.rate) if NOISE in named else []
        if NOISE in named and not noises:
            raise InvalidSetting(f"expected a folder of noise for the condition noise, got {noise}: see --noise")
        lines += [Line(name, noises=noises) for name in named]
    return lines


def _table(rows: list[Row], title: str) -> Table:
    from ..eval.table import NAMES, table

    headings, cells = table(rows)
    shown = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        justify: JustifyMethod = "left" if heading in ("line", "corpus", "system") else "right"
        shown.add_column(heading, justify=justify, no_wrap=number >= len(NAMES) - 1)
    for row in cells:
        shown.add_row(*row)
    return shown


def _check_harm(voice: Voice, files: list[Path]) -> None:
    """Print what happened to each signal that nothing is missing from; ends with 1 where one was harmed."""
    from ..eval.harm import check_all

    table = Table("signal", "rate", title="what has to pass as it is", box=SIMPLE_HEAD)
    for heading in ("LSD ↓", "loudest partner dB ↓", "settled after s ↓", "then changed", ""):
        table.add_column(heading, justify="right")
    harmed = 0
    for found in check_all(voice.model, files[:4]):
        harmed += not found.passed
        figures = (found.lsd, found.partner_db, found.settled_s)
        shown = ("-" if v is None else f"{v:.2f}" for v in figures)
        table.add_row(found.signal, str(found.rate), *shown, str(found.changes), "" if found.passed else "harmed")
    Console().print(table)
    if harmed:
        raise typer.Exit(1)


def _parse_cutoffs(text: str, least: float, most: float) -> list[float]:
    try:
        cutoffs = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidSetting(f"expected cutoffs in Hz separated by commas, got {text!r}") from None
    if not all(least <= c <= most for c in cutoffs):
        raise InvalidSetting(f"expected cutoffs from {least:.0f} to {most:.0f} Hz, got {text}")
    return cutoffs
