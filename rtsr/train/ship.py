"""From a training run to a model that ships: weight files, manifest and model card."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from ..errors import InvalidSetting
from ..net.export import export
from ..net.model import BandNet, NetConfig
from ..runs import read_checkpoint, read_record
from ..speech.scores import Scores, figures, shown


def ship(run: Path, name: str, folder: Path, scores: Path | None = None) -> Path:
    """Export a run's averaged weights to `folder`, lower by the recipe's margin; returns the manifest's path.

    `scores`, a file that `rtsr evaluate --json` wrote, goes into the card. Raises `InvalidSetting` where `run`
    is no training run.
    """
    state, record = read_checkpoint(run), read_record(run)
    net = BandNet(NetConfig.from_dict(record["recipe"]["net"]))
    net.load_state_dict(state["average"])
    with torch.no_grad():
        net.leave.bias.sub_(record["recipe"]["margin_db"] * math.log(10) / 10)
    card = {
        "trained": f"{state['step']} steps, seed {record['recipe']['seed']}",
        "steps": state["step"],
        "minutes": round(state["seconds"] / 60),
        "recipe": {k: v for k, v in record["recipe"].items() if k != "net"},
        "data": record["data"],
        "began_with": record.get("began_with"),
        "machine": record["machine"],
        "scores": _means(scores),
    }
    path = export(net, name, folder, card)
    path.with_suffix(".md").write_text(card_text(name, json.loads(path.read_text())))
    return path


def _means(scores: Path | None) -> list[dict[str, Any]]:
    if scores is None:
        return []
    try:
        scored = json.loads(scores.read_text())
        return [{"split": scored["split"], **row} for row in scored["rows"] if row["file"] is None]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidSetting(f"--scores: expected what rtsr evaluate --json wrote, got {scores} ({error})") from error


def _beginning(card: dict[str, Any]) -> str:
    """Say what the network knew before, and what recordings of a lower rate are for."""
    if not card.get("began_with"):
        return ""
    started = f"It started from `{card['began_with']}` and what that had learnt from its own data.\n\n"
    recipe = card["recipe"]
    if not recipe["lower"]:
        return started
    share, rate = recipe["lower"], recipe["lower_rate"]
    return f"""{started[:-1]}Of the stretches, {100 * share:.0f} % are from recordings made at {rate} Hz;
the loss knows nothing of the band that those do not have.

"""


def _score_table(rows: list[dict[str, Any]]) -> str:
    """Return the means as a table of Markdown."""
    lines: dict[tuple[str, str, str, float], dict[str, Scores]] = {}
    for row in rows:
        lines.setdefault(_line(row), {})[row["system"]] = row["scores"]
    columns = figures(row["scores"] for row in rows)
    cells = [["split", "corpus", "line", "cutoff", "system", *(column.heading for column in columns)]]
    cells.append(["---"] * len(cells[0]))
    for row in rows:
        split, corpus, condition, cutoff_hz = _line(row)
        found = (shown(column.of(row["scores"], lines[_line(row)])) for column in columns)
        cells.append([split, corpus or "all", condition, f"{cutoff_hz:.0f}", row["system"], *found])
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _line(row: dict[str, Any]) -> tuple[str, str, str, float]:
    return str(row["split"]), row.get("corpus", ""), row.get("condition", "clean"), row["cutoff_hz"]


def card_text(name: str, manifest: dict[str, Any]) -> str:
    """Write the model card (Mitchell et al. 2019, arXiv 1810.03993) from a manifest."""
    card, spec = manifest["card"], manifest["net"]["spec"]
    recipe = card["recipe"]
    data = "\n".join(
        f"| {d['corpus']} | {d['recordings']} | {d['seconds'] / 3600:.2f} | {d['licence']} |" for d in card["data"]
    )
    options = "".join(f" --{name} {recipe[name]}" for name in ("voices", "lines") if recipe.get(name))
    if recipe.get("model", "voice-16k") != "voice-16k":
        options += f" --model {recipe['model']}"
    return f"""# {name}

Adds the band above the cutoff to speech at {spec["rate"]} Hz: {manifest["parameters"] / 1e6:.2f} M parameters,
{manifest["macs_per_s"] / 1e9:.2f} GMAC/s, {1000 * spec["synthesis"] // spec["rate"]} ms of algorithmic latency.
Licence: Apache-2.0.

## Meant for
Speech of one person at a time from telephone-like lines with a band that ends between {spec["cutoff_min_hz"]:.0f}
and {spec["cutoff_max_hz"]:.0f} Hz. What it adds is a likely guess, not what was said: do not use it as evidence, to
identify a person, or to transcribe what cannot be heard. Music is not what it was trained on.

## Training
{card["steps"]} steps of {recipe["rows"]} stretches of {recipe["frames"] * spec["hop"] / spec["rate"]:.2f} s, seed
{recipe["seed"]}, {card["minutes"]} minutes on {card["machine"]}. The command:

    rtsr train SPEECH --steps {recipe["steps"]} --rows {recipe["rows"]} --seed {recipe["seed"]}{options}

{_beginning(card)}| corpus | recordings | hours | licence |
|---|---|---|---|
{data}

## Scores
Through the stream; what each figure means is defined in `rtsr/speech/scores.py`.

{_score_table(card["scores"])}

## Files

{chr(10).join(f"- `{f['file']}`, sha256 `{f['sha256']}`" for f in manifest["files"].values())}
"""
