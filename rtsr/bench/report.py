"""Benchmarks for people: a summary in words, pictures, and a page that holds both."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import numpy as np

from ..figure import pyplot, save
from .latency import Times
from .record import Row

STAGE_ORDER = ("resample", "frame", "network", "fine structure", "overlap-add", "mix and copy")
PAGE = """<!doctype html><meta charset="utf-8"><title>rtsr bench</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}img{{max-width:100%}}
table{{border-collapse:collapse;font-size:14px}}td,th{{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:right}}
td:first-child,th:first-child{{text-align:left}}</style>
<h1>{title}</h1><p>{summary}</p>{pictures}<table>{table}</table>"""


def summary(latency: list[Row], throughput: list[Row]) -> str:
    """Say what the machine can carry and what a call adds; either list may be empty."""
    words = []
    if throughput:
        best = max(throughput, key=lambda row: row["capacity"])
        per_hop = f"every {best['deadline_ms']:.0f} ms hop done in time (p99)"
        cores = f"{best['threads']} thread" + ("s" if best["threads"] > 1 else "")
        words.append(
            f"this machine can carry {best['capacity']} calls with {per_hop}, on {cores} with {best['backend']}"
            if best["capacity"]
            else f"this machine cannot carry one call: a tick takes more than {best['deadline_ms']:.0f} ms"
        )
    real = [row for row in latency if row["backend"] != "null"]
    if real:
        paced = [row for row in real if row["mode"] == "paced"] or real
        row = min(paced, key=lambda row: row["p99_ms"])
        algorithmic = row["algorithmic_ms"]
        words.append(
            f"one call adds {algorithmic + row['p50_ms']:.1f} ms ({algorithmic + row['p99_ms']:.1f} at worst in a "
            f"hundred), of which {algorithmic:.1f} algorithmic"
        )
    return ("; ".join(words) or "nothing was measured") + "."


def budget(rows: list[Row], path: Path) -> None:
    """Draw where each backend's milliseconds go, one stacked bar a paced run, to a PNG."""
    plt = pyplot()
    shown = [row for row in rows if row["mode"] != "paced, CPU loaded"]
    figure, (whole, close) = plt.subplots(1, 2, figsize=(12, 1.6 + 0.5 * len(shown)), sharey=True)
    names = [f"{row['backend']}, {row['mode']}" for row in shown]
    for axis, parts in ((whole, _budget_parts), (close, _compute_parts)):
        left = np.zeros(len(shown))
        for label in parts(shown[0]):
            width = np.array([parts(row)[label] for row in shown])
            axis.barh(names, width, left=left, label=label)
            left += width
        axis.set_xlabel("ms")
        axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    figure.suptitle("latency budget: all of it, and the median of each stage of computing", y=1.12)
    save(figure, path)


def _budget_parts(row: Row) -> dict[str, float]:
    """Collecting a hop and holding the overlap back are algorithmic; buffers are what any block size costs beyond."""
    hop = row["hop_ms"]
    return {
        "algorithmic: hop": hop,
        "algorithmic: overlap": row["algorithmic_ms"] - hop,
        "buffers": row["buffers_ms"],
        "compute, median": row["p50_ms"],
        "compute, to p99": row["p99_ms"] - row["p50_ms"],
    }


def _compute_parts(row: Row) -> dict[str, float]:
    return {name: row["stages_p50_ms"][name] for name in STAGE_ORDER}


def histogram(times: dict[str, Times], deadline_ms: float, path: Path) -> None:
    """Draw how long hops took, one line a run, both axes logarithmic, to a PNG; times in ms."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(9, 4.5))
    low = min(float(t.min()) for t in times.values())
    high = max(2 * deadline_ms, *(float(t.max()) for t in times.values()))
    for name, each in times.items():
        axis.hist(each, np.geomspace(low, high, 100), histtype="step", label=name)
    axis.axvline(deadline_ms, color="black", linestyle=":", label="a hop lasts")
    axis.set(xscale="log", yscale="log", xlabel="ms to compute one hop", ylabel="hops")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, path)


def throughputs(rows: list[Row], path: Path) -> None:
    """Draw p99 tick time against streams, one line a backend and number of threads, to a PNG."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(9, 4.5))
    for row in rows:
        streams, _, p99 = np.array(row["points"]).T
        axis.plot(streams, p99, marker="o", label=f"{row['backend']}, {row['threads']} threads: {row['capacity']}")
    axis.axhline(rows[0]["deadline_ms"], color="black", linestyle=":", label="a hop lasts")
    axis.set(xscale="log", yscale="log", xlabel="streams", ylabel="p99 of a tick, ms")
    axis.legend(fontsize=8)
    save(figure, path)


def page(path: Path, words: str, pictures: list[Path], rows: list[Row]) -> None:
    """Write one HTML file with the summary, the pictures and what was watched."""
    images = "".join(
        f'<p><img alt="{escape(p.stem)}" src="data:image/png;base64,{base64.b64encode(p.read_bytes()).decode()}"></p>'
        for p in pictures
    )
    cells = "".join(
        f"<tr><td>{escape(row['key'])}<td>{escape(name)}<td>{value:.4g}"
        for row in rows
        for name, value in row["watch"].items()
    )
    table = f"<tr><th>what<th>figure<th>value{cells}"
    path.write_text(PAGE.format(title="rtsr bench", summary=escape(words), pictures=images, table=table))
