"""Figures beside their bars: what is over is printed, stored and, where that is asked for, fails the command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from rtsr.bench.record import store

RESULTS = Path(__file__).parent / "results"


def over_bars(row: Mapping[str, Any], bars: Mapping[str, float], about: str = "") -> list[str]:
    """Return each figure of a row that is over its bar, or NaN, in words that begin with `about`."""
    return [f"{about}{name} is {row[name]:g}, at most {bar:g}" for name, bar in bars.items() if not row[name] <= bar]


def finish(name: str, rows: list[dict[str, Any]], failed: list[str], check: bool, save: bool) -> None:
    """Print what is over its bar, append the rows to `results/NAME.jsonl`, and exit with 1 where checked and over."""
    for figure in failed:
        print(f"OVER THE BAR  {figure}")
    if save:
        print(f"rows in {store(RESULTS, name, rows)}")
    if check and failed:
        raise typer.Exit(1)
