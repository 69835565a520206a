"""The report: one page with the table, bars for every line, spectrograms, and everything to hear."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from .evaluate import Row
from .page import RECEIVED, TRUE, Example, document, player, title_of, triptych
from .systems import SINC, System, Voice

FIGURES = {  # heading: (name in Scores, which way is better)
    "LSD": ("lsd", "lower"),
    "LSD below": ("lsd_lf", "lower"),
    "LSD above": ("lsd_hf", "lower"),
    "SNR dB": ("snr_db", "higher"),
    "SI-SDR dB": ("si_sdr_db", "higher"),
    "PESQ-WB": ("pesq_wb", "higher"),
    "STOI": ("stoi", "higher"),
    "ViSQOL": ("visqol", "higher"),
}
IN_BARS = ("LSD", "LSD above", "PESQ-WB", "ViSQOL")
COSTS = ("parameters", "GMAC/s", "look-ahead ms", "of real time")


def write_report(
    folder: Path, title: str, rows: Sequence[Row], examples: Sequence[Example], systems: Sequence[System], rate: int
) -> Path:
    """Write `folder`/index.html from an evaluation's rows and an example of each line; returns its path."""
    means = [r for r in rows if r.file is None]
    ours = [s.name for s in systems if isinstance(s, Voice)]
    parts = [
        "<p>Recordings over each line, restored by each system. "
        "What the figures mean is defined in rtsr/eval/metrics.py.</p>",
        "<h2>Figures</h2>",
        table(means),
        "<h2>Line by line</h2>",
        *(bars(heading, means, ours) for heading in IN_BARS),
        "<h2>To see and to hear</h2>",
        *(shown(e, ours, rate) for e in examples),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(document(title, "\n".join(p for p in parts if p)))
    return path


def table(means: Sequence[Row]) -> str:
    """Return every line's and system's means and costs."""
    head = "".join(f"<th>{escape(h)}</th>" for h in ("line", "cutoff", "system", *FIGURES, *COSTS))
    body = []
    for row in means:
        figures = [getattr(row.scores, name) for name, _ in FIGURES.values()]
        macs = row.facts.macs_per_s
        cells = [
            escape(row.condition),
            f"{row.cutoff_hz:.0f}",
            escape(row.system),
            *("–" if f is None else f"{f:.3f}" for f in figures),
            f"{row.facts.parameters:,}" if row.facts.parameters else "–",
            "–" if macs is None else f"{macs / 1e9:.2f}",
            f"{row.facts.look_ahead_ms:.1f}",
            f"{row.real_time_factor:.3f}",
        ]
        body.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    return f"<table><tr>{head}</tr>\n" + "\n".join(body) + "</table>"


def bars(heading: str, means: Sequence[Row], ours: Sequence[str]) -> str:
    """Return a bar a system for each line, or nothing where the figure was not taken."""
    name, better = FIGURES[heading]
    measured = [(r, getattr(r.scores, name)) for r in means]
    present = [(r, value) for r, value in measured if value is not None]
    if not present:
        return ""
    most = max(value for _, value in present) or 1.0
    parts = [f"<h3>{escape(heading)} <small>({better} is better)</small></h3>"]
    for line in dict.fromkeys((r.condition, r.cutoff_hz) for r, _ in present):
        its = [(r, v) for r, v in present if (r.condition, r.cutoff_hz) == line]
        drawn = "".join(
            f"<span>{escape(r.system)}</span>"
            f'<i class="{"ours" if r.system in ours else ""}" style="width:{max(100 * v / most, 1):.1f}%">{v:.2f}</i>'
            for r, v in its
        )
        parts.append(f'<h4>{escape(line[0])}, {line[1]:.0f} Hz</h4><div class="bars">{drawn}</div>')
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
