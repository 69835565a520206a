"""`rtsr bench`: what this machine can carry, how late it is, and what others cost on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..backend import GPU_BACKENDS, Backend, has_nvidia, installed, load
from ..errors import BackendFailed, InvalidSetting, MissingDependency, Regression
from ..net.weights import Weights
from . import Model, app, errors, make_folder
from .options import grouped

if TYPE_CHECKING:
    from ..bench.latency import Times
    from ..bench.record import Row

console = Console()
RESULTS, OUT = Path("bench/results"), Path("out/bench")
SECONDS, SECONDS_ALONE = 5.0, 20.0


class What(StrEnum):
    """What can be measured."""

    ALL = "all"
    LATENCY = "latency"
    THROUGHPUT = "throughput"
    COMPARE = "compare"
    COUNT = "count"


@dataclass
class Findings:
    """What one call measured: rows by benchmark, and what the pictures need."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    times: dict[str, Times] = field(default_factory=dict)


@dataclass(frozen=True)
class RunOptions:
    """What is measured, and for how long."""

    model: Model = "voice-16k"
    backend: Annotated[
        list[str] | None, typer.Option("--backend", help="Only this one; may be given several times.")
    ] = None
    seconds: Annotated[
        float | None, typer.Option(min=0.2, help="Of audio in each latency run; 5, or 20 where only that is measured.")
    ] = None
    most: Annotated[int | None, typer.Option(min=1, help="Streams to try at most; 512 on a CPU, 65536 on a GPU.")] = (
        None
    )
    threads: Annotated[int | None, typer.Option(min=1, help="At most; as many as there are cores.")] = None
    rounds: Annotated[int, typer.Option(min=1, help="Times that every system is compared in turn.")] = 5


@dataclass(frozen=True)
class ResultOptions:
    """What becomes of the figures."""

    save: Annotated[bool, typer.Option(help="Append the rows to the results.")] = True
    check: Annotated[
        bool, typer.Option("--check", help="Fail where a stored figure of this machine kind was better.")
    ] = False
    results: Annotated[Path, typer.Option(help="Folder of the stored rows.")] = RESULTS
    out: Annotated[Path, typer.Option(help="Folder for pictures and the page.")] = OUT


@app.command()
@grouped
def bench(
    run: RunOptions,
    result: ResultOptions,
    what: Annotated[What, typer.Argument(help="Which of these.")] = What.ALL,
) -> None:
    """Measure this machine and say in words what it can carry: all of it takes less than two minutes.

    latency times one stream's hops, stage by stage: flat out, at a call's pace, and beside busy processes; and the
    start. throughput adds streams until a tick takes longer than a hop, for 1 to all threads. compare times ours, the
    AudioUNet, sinc and cubic spline in turn on the same second of audio, one thread each. count says what a voice's hop
    costs on a GPU, from the code and without one, beside what a card can do. all is latency, throughput on all cores,
    start-up, memory and, where torch is installed, count. Rows go to RESULTS, pictures and a page to OUT.

    Examples:

        rtsr bench

        rtsr bench --check --no-save

        rtsr bench compare
    """
    if what not in (What.COMPARE, What.COUNT):
        from ..figure import pyplot

        pyplot()  # a missing package is an error before anything is measured
        make_folder(result.out)
    if result.save:
        make_folder(result.results)
    findings = Findings()
    if what in (What.ALL, What.LATENCY):
        _latency(findings, run, run.seconds or (SECONDS if what is What.ALL else SECONDS_ALONE))
    if what in (What.ALL, What.THROUGHPUT):
        _throughput(findings, run, only_all=what is What.ALL)
    if what in (What.ALL, What.LATENCY):
        _start(findings, run)
    if what is What.COMPARE:
        _compare(findings, run)
    if what is What.COUNT or (what is What.ALL and find_spec("torch")):
        _count(findings, run)
    _conclude(findings, result)


def _compare(findings: Findings, run: RunOptions) -> None:
    from ..bench import compare as comparing

    weights = Weights.find(run.model)
    systems = [comparing.ours(m, weights) for m in _models(run) if m.name != "null"]
    if not systems:
        raise InvalidSetting("expected a backend that runs the network to compare with, got null alone")
    systems += [comparing.audio_unet(weights.spec.rate, causal=causal) for causal in (False, True)]
    systems += comparing.interpolations(weights.spec.rate)
    with _progress("comparing", (run.rounds + 1) * len(systems)) as advance:
        seconds = comparing.measure(systems, run.rounds, advance)
    findings.rows["compare"] = rows = comparing.rows(systems, seconds)
    table = Table("system", "s per s of audio", f"× {systems[0].name}", "GMAC/s", "× ours", title="cost, one thread")
    for row in rows:
        macs = f"{row['macs_per_s'] / 1e9:.2f}" if row["macs_per_s"] else ""
        more = f"{row['macs_times_ours']:.0f}" if row["macs_times_ours"] else ""
        table.add_row(row["system"], f"{row['s_per_audio_s']:.4f}", f"{row['times_ours']:.2f}", macs, more)
    console.print(table)


def _count(findings: Findings, run: RunOptions) -> None:
    if not find_spec("torch"):
        raise MissingDependency("torch", "train", "rtsr bench count")
    from ..bench import count as counting

    findings.rows["count"] = rows = counting.rows(Weights.find(run.model))
    heads = ("form", "precision", "launches", "kB a voice", "MFLOP a voice", "MB of constants", "voices at most")
    table = Table(*heads, title=f"one hop on a GPU, counted; at most: on an {counting.CARD}")
    for row in rows:
        watch = row["watch"]
        figures = (watch["launches"], watch["kb_per_voice"], row["operations_per_voice"] / 1e6, row["constants_mb"])
        shown = (f"{value:.{digits}f}" for value, digits in zip(figures, (0, 1, 2, 1), strict=True))
        table.add_row(row["form"], row["precision"], *shown, f"{row['voices_at_most']}")
    console.print(table)
    if not any(row["form"] == "kernels" for row in rows):
        console.print("the kernels are not counted: they need Triton, which the extra train brings on Linux")


def _models(run: RunOptions) -> list[Backend]:
    """Open the backends that were named, or all that this machine has."""
    if run.backend:
        return [load(run.model, name) for name in run.backend]
    found = [load(run.model, name) for name in installed()]
    for name in GPU_BACKENDS if has_nvidia() else ():
        try:
            found.append(load(run.model, name))
        except (BackendFailed, MissingDependency) as error:
            errors.print(f"without {name}: {error}", markup=False, soft_wrap=True)
    return found


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr; call what it yields at every step."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _latency(findings: Findings, run: RunOptions, seconds: float) -> None:
    from ..bench import latency as measuring

    models = _models(run)
    with _progress("one stream", len(models) * len(measuring.MODES)) as advance:
        rows, findings.times = measuring.rows(models, seconds, progress=advance)
    findings.rows["latency"] = rows
    table = Table("backend", "mode", "of real time", "p50", "p99", "p99.9", "max", "late", title="ms to compute a hop")
    for row in rows:
        figures = (f"{row[f'{p}_ms']:.3f}" for p in ("p50", "p99", "p999", "max"))
        table.add_row(row["backend"], row["mode"], f"{row['real_time_factor']:.4f}", *figures, str(row["late"]))
    console.print(table)


def _throughput(findings: Findings, run: RunOptions, *, only_all: bool) -> None:
    from ..bench import throughput
    from ..bench.record import cores
    from ..pool import capacity

    models = [m for m in _models(run) if run.backend or m.name not in ("null", "eager")]
    counts = range(1, (run.threads or cores()) + 1)
    runs = [(m, n, run.most or capacity.MOST[m.name in GPU_BACKENDS]) for m in models for n in counts]
    if only_all:
        runs = [one for one in runs if one[1] == counts[-1]]
    rows = []
    with _progress("many streams", sum(len(capacity.counts(top)) + 2 for _, _, top in runs)) as advance:
        for opened, n, top in runs:
            points = capacity.search(opened, n, top, progress=advance)
            rows.append(throughput.row(opened, n, points))
            rows[-1]["bytes_per_row"] = throughput.memory_per_row(opened)
    findings.rows["throughput"] = rows
    table = Table(
        "backend", "threads", "streams", "µs a stream", "alone", "audio s/s", "kB a stream", title="many streams"
    )
    for row in rows:
        figures = (f"{row['us_per_row']:.0f}", f"{row['us_alone']:.0f}", f"{row['audio_s_per_s']:.0f}")
        kilobytes = f"{row['bytes_per_row'] / 1e3:.0f}"
        table.add_row(row["backend"], str(row["threads"]), str(row["capacity"]), *figures, kilobytes)
    console.print(table)


def _start(findings: Findings, run: RunOptions) -> None:
    from ..bench import start

    names = run.backend or installed()
    with _progress("starting", len(names) + 1) as advance:
        rows = []
        for name in names:
            rows.append(start.stream(run.model, name))
            advance()
        findings.rows["start"] = rows
        findings.rows["memory"] = [start.enhance(run.model)]
        advance()
    table = Table("backend", "import s", "open s", "first hop s", "MB", title="a new process")
    for row in rows:
        seconds = (f"{row[f'{p}_s']:.2f}" for p in ("import", "open", "first_hop"))
        table.add_row(row["backend"], *seconds, f"{row['resident_mb']:.0f}")
    console.print(table)
    used = findings.rows["memory"][0]
    console.print(f"rtsr enhance: {used['resident_mb']:.0f} MB resident at most, torch loaded: {used['torch_loaded']}")


def _conclude(findings: Findings, result: ResultOptions) -> None:
    """Say it in words, store it, draw it, and compare it with what was stored before if asked to."""
    from ..bench import record, report

    latency, throughput = findings.rows.get("latency", []), findings.rows.get("throughput", [])
    words = report.summary(latency, throughput)
    lost: list[str] = []
    compared = 0
    for name, found in findings.rows.items():
        if result.check:
            losses, count = record.regressions(found, record.stored(result.results, name))
            lost, compared = lost + losses, compared + count
        if result.save:
            record.store(result.results, name, found)
    if latency or throughput:
        console.print(f"[bold]{words[0].upper()}{words[1:]}[/]", soft_wrap=True)
        report.page(
            result.out / "bench.html",
            words,
            _draw(findings, result.out),
            [row for rows in findings.rows.values() for row in rows],
        )
        console.print(f"see {result.out / 'bench.html'}")
    if lost:
        raise Regression("slower than stored for this kind of machine: " + "; ".join(lost))
    if result.check:
        console.print(f"{compared} figures compared with stored ones of this kind of machine, none is worse")


def _draw(findings: Findings, out: Path) -> list[Path]:
    from ..bench import report

    pictures = []
    if rows := findings.rows.get("latency"):
        report.budget(rows, out / "budget.png")
        report.histogram(findings.times, rows[0]["hop_ms"], out / "histogram.png")
        pictures += [out / "budget.png", out / "histogram.png"]
    if rows := findings.rows.get("throughput"):
        report.throughputs(rows, out / "throughput.png")
        pictures.append(out / "throughput.png")
    return pictures
