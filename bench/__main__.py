"""`python -m bench`: run every benchmark, print a table and store a row of each in bench/results."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from . import hop, memory
from .record import store


def main(
    model: Annotated[str, typer.Option(help="A model's name or manifest.")] = "voice-16k",
    seconds: Annotated[float, typer.Option(help="Audio to stream through each backend.")] = 60.0,
    save: Annotated[bool, typer.Option(help="Append the rows to bench/results.")] = True,
) -> None:
    """Time one stream on one core with every backend, and measure the memory of `rtsr enhance`.

    Example:

        python -m bench --seconds 20 --no-save
    """
    rows = hop.measure(model, seconds)
    table = Table("backend", "of real time", "hop p50", "p99", "p99.9", "max", title="one stream, one core")
    for row in rows:
        times = (f"{row[f'{p}_ms']:.3f} ms" for p in ("p50", "p99", "p999", "max"))
        table.add_row(str(row["backend"]), f"{row['real_time_factor']:.4f}", *times)
    console = Console()
    console.print(table)
    used = memory.measure(model)
    console.print(f"rtsr enhance: {used['resident_mb']:.0f} MB resident at most, torch loaded: {used['torch_loaded']}")
    if save:
        store("hop", rows)
        store("memory", [used])


typer.run(main)
