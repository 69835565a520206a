"""`rtsr evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..errors import InvalidSetting
from . import BackendName, app, errors, make_folder
from .options import grouped

if TYPE_CHECKING:
    from ..eval.evaluate import Line, Row
    from ..eval.systems import RtsrSystem, System

WIDTH = 220  # of the table where nothing says how wide a screen is


@dataclass(frozen=True)
class RecordingOptions:
    """Which recordings."""

    speech: Annotated[Path, typer.Argument(help="Folder of wideband recordings, or of a manifest.csv with --split.")]
    split: Annotated[str | None, typer.Option(help="Take the manifest's files of this split.")] = None
    corpus: Annotated[str, typer.Option(help="Of the split, only corpora whose names begin so.")] = ""
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many files, spread over all.")] = None


@dataclass(frozen=True)
class LineOptions:
    """Through which telephone lines they come."""

    cutoffs: Annotated[str, typer.Option(help="Hz, separated by commas.")] = "4000,2000"
    conditions: Annotated[
        str | None, typer.Option(help="Telephone conditions too: all, or names separated by commas.")
    ] = None
    noise: Annotated[
        Path | None, typer.Option(help="Folder of noise for the condition noise; ../noise beside SPEECH if not given.")
    ] = None


@dataclass(frozen=True)
class ScoreOptions:
    """What they are scored by."""

    detect: Annotated[
        bool, typer.Option("--detect", help="Let the stream detect the cutoff; it is given otherwise.")
    ] = False
    perceptual: Annotated[bool, typer.Option(help="PESQ-WB and STOI too.")] = True
    visqol: Annotated[bool, typer.Option("--visqol", help="ViSQOL too: pip install 'rtsr[visqol]'.")] = False
    mos: Annotated[
        bool, typer.Option("--mos", help="DistillMOS and DNSMOS too, and the share restored: pip install 'rtsr[mos]'.")
    ] = False
    harm: Annotated[
        bool, typer.Option("--harm", help="Only check what has to pass as it is: tones, music, wideband.")
    ] = False

    def named(self) -> list[str]:
        """Return the names of the optional metrics that were asked for."""
        from ..speech.scores import MOS, PERCEPTUAL, VISQOL

        asked_for = {PERCEPTUAL: self.perceptual, VISQOL: self.visqol, MOS: self.mos}
        return [name for name, asked in asked_for.items() if asked]


@dataclass(frozen=True)
class OutputOptions:
    """Where the results go."""

    json: Annotated[Path | None, typer.Option(help="Write every file's row here as well.")] = None
    report: Annotated[Path | None, typer.Option(help="Folder for a page to read, see and hear.")] = None

    def make_folders(self) -> None:
        """Make what is missing of them, before any work."""
        for folder in (self.json and self.json.parent, self.report):
            if folder is not None:
                make_folder(folder)


@dataclass(frozen=True)
class SystemOptions:
    """What restores them."""

    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A model's name or manifest, or a published network's run; repeat it to compare several.",
        ),
    ] = None
    backend: BackendName = "auto"

    def open(self, given: bool) -> tuple[list[System], RtsrSystem]:
        """Return all systems, and the first of rtsr's own; `given`: they get the cutoff instead of detecting it."""
        from ..eval.opening import open_systems

        return open_systems(self.models or ["voice-16k"], self.backend, given=given)


@app.command()
@grouped
def evaluate(
    recordings: RecordingOptions,
    lines: LineOptions,
    scores: ScoreOptions,
    output: OutputOptions,
    systems: SystemOptions,
) -> None:
    """Narrow recordings, restore them through the stream, and score them beside sinc and cubic spline.

    Examples:

        rtsr evaluate ../shared/speech --split valid --mos

        rtsr evaluate my-recordings/ --cutoffs 4000,3400 --detect --json out/scores.json

        rtsr evaluate ../shared/speech --split valid --corpus nist --model voice-48k --cutoffs 4000,8000

        rtsr evaluate ../shared/speech --split test --model voice-16k --model runs/audio-unet-x2 --conditions all \\
            --visqol --report out/report
    """
    from ..eval import evaluate as evaluation

    opened, own = systems.open(given=not scores.detect)
    rate = own.model.spec.rate
    corpora = evaluation.recordings(recordings.speech, recordings.split, rate, recordings.limit, recordings.corpus)
    files = list(corpora)
    if scores.harm:
        _check_harm(own, files)
        return
    over = lines_of(lines, recordings.speech, own)
    output.make_folders()
    with _progress(len(files) * len(over)) as advance:
        options = scores.named()
        results = evaluation.evaluate(files, opened, over, rate, options=options, corpora=corpora, progress=advance)
        rows = list(results)
    title = f"{len(files)} recordings at {rate} Hz"
    console = Console()
    Console(width=max(console.width, WIDTH)).print(_table(rows, title))
    if output.json is not None:
        evaluation.write_json(rows, output.json, _about(recordings, scores, own))
    if output.report is not None:
        from ..eval.page import example
        from ..eval.report import write_report

        examples = [example(files[len(files) // 2], line, opened, rate) for line in over]
        console.print(f"open {write_report(output.report, title, rows, examples, opened, rate)} in a browser")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr; call what it yields at every step."""
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _about(recordings: RecordingOptions, scores: ScoreOptions, own: RtsrSystem) -> dict[str, object]:
    """Return what is stored beside the scores."""
    split, corpus = recordings.split, recordings.corpus
    return {
        "model": own.model.model,
        "backend": own.model.name,
        "split": f"{split} {corpus}" if corpus else split,
        "cutoff_given": not scores.detect,
    }


def lines_of(options: LineOptions, speech: Path, own: RtsrSystem) -> list[Line]:
    """Return the clean lines at each cutoff and the telephone's conditions; `speech` is the recordings' folder."""
    from ..eval.evaluate import Line
    from ..speech.conditions import NOISE, parse, read_noises

    spec = own.model.spec
    lines = [Line(cutoff_hz=c) for c in _parse_cutoffs(options.cutoffs, spec.cutoff_min_hz, spec.cutoff_max_hz)]
    if options.conditions is not None:
        named, noise = parse(options.conditions), options.noise or speech.parent / "noise"
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


def _check_harm(own: RtsrSystem, files: list[Path]) -> None:
    """Print what happened to each signal that nothing is missing from; ends with 1 where one was harmed."""
    from ..eval.harm import check_all

    table = Table("signal", "rate", title="what has to pass as it is", box=SIMPLE_HEAD)
    for heading in ("LSD ↓", "loudest partner dB ↓", "settled after s ↓", "then changed", ""):
        table.add_column(heading, justify="right")
    harmed = 0
    for found in check_all(own.model, files[:4]):
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
