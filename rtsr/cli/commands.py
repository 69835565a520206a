"""`rtsr demo`, `rtsr models` and `rtsr export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..backend import load
from ..errors import MissingDependency
from ..net.weights import Weights, shipped
from . import BackendName, Model, app, errors, make_folder

if TYPE_CHECKING:
    from ..eval.demo import Demo

console = Console()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for demo.wav and demo.png.")] = Path("out"),
    fast: Annotated[bool, typer.Option("--fast", help="As fast as the machine can, not in real time.")] = False,
    model: Model = "voice-16k",
    backend: BackendName = "auto",
) -> None:
    """Stream the bundled telephone prompt through the whole live path and show what came out.

    Leaves OUT/demo.wav to hear and OUT/demo.png to see, and prints latency and quality.

    Examples:

        rtsr demo

        rtsr demo --fast --out /tmp/demo
    """
    from ..eval import demo as demonstration

    opened = load(model, backend)
    make_folder(out)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("streaming as fast as it goes" if fast else "streaming in real time", total=1.0)
        result = demonstration.run(
            opened, out, paced=not fast, progress=lambda part: progress.update(task, completed=part)
        )
    _show_latency(result, opened.spec.hop_ms)
    _show_quality(result)
    console.print(f"hear {out / 'demo.wav'}, see {out / 'demo.png'}")


def _show_latency(result: Demo, hop_ms: float) -> None:
    median, most = result.counters.percentiles_ms(50, 99)
    table = Table(title="Latency", title_justify="left", show_header=False)
    table.add_row("algorithmic (hop + overlap)", f"{result.latency_ms:.1f} ms")
    table.add_row(f"computing one {hop_ms:.0f} ms hop, median", f"{median:.2f} ms")
    table.add_row("computing one hop, 99 %", f"{most:.2f} ms")
    table.add_row("hops computed too late", f"{result.counters.late} of {result.counters.hops}")
    table.add_row("audio / time taken", f"{result.seconds:.2f} s / {result.wall_s:.2f} s")
    console.print(table)


def _show_quality(result: Demo) -> None:
    from ..speech.scores import figures, shown

    table = Table("system", title="Quality of the 16 kHz take, narrowed to 8 kHz and restored", title_justify="left")
    columns = figures(result.scores.values())
    for column in columns:
        table.add_column(column.heading, justify="right")
    for name, scores in result.scores.items():
        table.add_row(name, *(shown(column.of(scores, result.scores)) for column in columns))
    console.print(table)


@app.command()
def models() -> None:
    """List the models in this installation."""
    table = Table("name", "rates", "latency", "parameters", "cost", "trained")
    for name in shipped():
        weights = Weights.find(name)
        spec, manifest = weights.spec, weights.manifest
        table.add_row(
            name,
            f"4-{spec.rate // 1000} → {spec.rate // 1000} kHz",
            f"{1000 * spec.latency / spec.rate:.0f} ms",
            f"{manifest['parameters'] / 1e6:.2f} M",
            f"{manifest['macs_per_s'] / 1e9:.2f} GMAC/s",
            str(manifest["card"].get("trained", "")),
        )
    console.print(table)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run with its checkpoint.")],
    name: Annotated[str, typer.Argument(help="The model's name, with which its files' names begin.")],
    out: Annotated[Path, typer.Option(help="Folder for the weight files.")] = Path("out"),
    scores: Annotated[Path | None, typer.Option(help="What `rtsr evaluate --json` wrote, for the model card.")] = None,
) -> None:
    """Write a run's averaged weights as safetensors and ONNX, with the manifest that `--model` takes
    and a model card.

    Example:

        rtsr export runs/a my-voice && rtsr enhance in.wav out.wav --model out/my-voice.json
    """
    try:
        from ..train.ship import ship
    except ImportError as error:
        raise MissingDependency(error.name or "torch", "train", "rtsr export") from None
    console.print(f"wrote {ship(run, name, out, scores)}")
