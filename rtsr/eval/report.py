"""The report: one page with the table, bars for every line, spectrograms, and everything to hear."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..speech.scores import METRICS, SINC, Metric
from .evaluate import Row
from .page import RECEIVED, TRUE, Example, document, player, title_of, triptych
from .systems import RtsrSystem, System
from .table import table


def write_report(
    folder: Path, title: str, rows: Sequence[Row], examples: Sequence[Example], systems: Sequence[System], rate: int
) -> Path:
    """Write `folder`/index.html from an evaluation's rows and an example of each line; returns its path."""
    means = [r for r in rows if r.file is None]
    ours = [s.name for s in systems if isinstance(s, RtsrSystem)]
    parts = [
        "<p>Recordings over each line, restored by each system. "
        "What the figures mean is defined in rtsr/speech/scores.py.</p>",
        "<h2>Figures</h2>",
        as_html(*table(means)),
        "<h2>Line by line</h2>",
        *(bars(metric, means, ours) for metric in METRICS if metric.in_bars),
        "<h2>To see and to hear</h2>",
        *(shown(e, ours, rate) for e in examples),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(document(title, "\n".join(p for p in parts if p)))
    return path


def as_html(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    body = ("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in cells)
    return f"<table><tr>{head}</tr>\n" + "\n".join(body) + "</table>"


def bars(metric: Metric, means: Sequence[Row], ours: Sequence[str]) -> str:
    """Return a bar a system for each line, or nothing where the metric was not taken."""
    present = [(r, value) for r in means if (value := r.scores[metric.name]) is not None]
    if not present:
        return ""
    most = max(value for _, value in present) or 1.0
    parts = [f"<h3>{escape(metric.heading)} <small>({metric.better} is better)</small></h3>"]
    for line in dict.fromkeys(r.line for r, _ in present):
        drawn = "".join(
            f"<span>{escape(r.system)}</span>"
            f'<i class="{"ours" if r.system in ours else ""}" style="width:{max(100 * v / most, 1):.1f}%">{v:.2f}</i>'
            for r, v in present
            if r.line == line
        )
        named = ", ".join((line[0], f"{line[1]:.0f} Hz", *([line[2]] if line[2] else [])))
        parts.append(f'<h4>{escape(named)}</h4><div class="bars">{drawn}</div>')
    return "\n".join(parts)


def shown(example: Example, ours: Sequence[str], rate: int) -> str:
    """Return an example's spectrograms and players; what was received is heard through the sinc."""
    names = {RECEIVED: example.sounds[SINC]}
    names |= {name: y for name, y in example.sounds.items() if name != SINC}
    names[TRUE] = example.heard.truth
    players = "".join(f'<tr><td class="name">{escape(n)}</td><td>{player(y, rate)}</td></tr>' for n, y in names.items())
    pictures = "".join(triptych(example, name, rate) for name in ours)
    heading = f"{title_of(example.line)}: {example.file}"
    return f"<h3>{escape(heading)}</h3>{pictures}<table>{players}</table>"
