"""An evaluation's means as a table: each system on each line, its figures and its costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..speech.scores import Scores, figures, shown
from .evaluate import Row

COSTS: dict[str, Callable[[Row], str]] = {
    "M par.": lambda r: f"{r.facts.parameters / 1e6:.2f}",
    "GMAC/s": lambda r: "-" if r.facts.macs_per_s is None else f"{r.facts.macs_per_s / 1e9:.2f}",
    "ahead ms": lambda r: f"{r.facts.look_ahead_ms:.1f}",
    "of real time": lambda r: f"{r.real_time_factor:.3f}",
}
NAMES = ("line", "cutoff", "corpus", "system")


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the headings, `NAMES` first, and the cells of every mean among the rows."""
    means = [r for r in rows if r.file is None]
    lines: dict[tuple[str, float, str], dict[str, Scores]] = {}
    for row in means:
        lines.setdefault(row.line, {})[row.system] = row.scores
    columns = figures(row.scores for row in means)
    cells = [
        [
            row.condition,
            f"{row.cutoff_hz:.0f}",
            row.corpus or "all",
            row.system,
            *(shown(column.of(row.scores, lines[row.line])) for column in columns),
            *(cost(row) for cost in COSTS.values()),
        ]
        for row in means
    ]
    return [*NAMES, *(column.heading for column in columns), *COSTS], cells
