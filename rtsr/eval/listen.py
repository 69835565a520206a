"""A blind comparison: a page that plays two systems as A and B in no order one could guess, and keeps the votes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from pathlib import Path

import numpy as np

from ..errors import InvalidSetting
from .page import Example, document, sound, title_of
from .systems import SPLINE

CHOICES = ("a", "b", "equal")  # what the page saves
NEITHER = CHOICES.index("equal")

SCRIPT = """
const trials = JSON.parse(document.getElementById("trials").textContent);
const kept = "rtsr-listen-" + document.body.dataset.name;
let votes = JSON.parse(localStorage.getItem(kept) || "[]");
const at = id => document.getElementById(id);
function show() {
  const n = votes.length, over = n >= trials.length;
  at("ask").hidden = over;
  at("place").textContent = over ? "That was all: thank you." : `${n + 1} of ${trials.length}: ${trials[n].title}`;
  if (!over) for (const side of ["a", "b", "truth"]) at(side).src = at(trials[n][side]).textContent;
}
function vote(choice) {
  const t = trials[votes.length];
  votes.push({line: t.line, file: t.file, a: t.a_system, b: t.b_system, vote: choice});
  localStorage.setItem(kept, JSON.stringify(votes));
  show();
}
function save() {
  const blob = new Blob([JSON.stringify({votes}, null, 1)], {type: "application/json"});
  const link = Object.assign(document.createElement("a"), {href: URL.createObjectURL(blob), download: "votes.json"});
  link.click();
}
function again() { votes = []; localStorage.removeItem(kept); show(); }
show();
"""

ASK = """
<p id="place"></p>
<div id="ask">
<p>A <audio id="a" controls></audio> B <audio id="b" controls></audio> as it was <audio id="truth" controls></audio></p>
<p>Which is nearer to how it was?
<button onclick="vote('a')">A</button><button onclick="vote('b')">B</button>
<button onclick="vote('equal')">no difference</button></p></div>
<p><button onclick="save()">Save votes.json</button><button onclick="again()">Start over</button></p>
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often one system was preferred to another."""

    system: str
    other: str
    won: int
    lost: int
    equal: int


def write_page(folder: Path, examples: Sequence[Example], rate: int, seed: int = 0) -> Path:
    """Write `folder`/listen.html: every pair of systems on every example, in shuffled order; returns its path."""
    rng = np.random.default_rng(seed)
    sounds: dict[str, str] = {}
    trials: list[dict[str, str]] = []
    for number, shown in enumerate(examples):
        names = [n for n in shown.sounds if n != SPLINE]
        keys = {name: f"s{number}-{i}" for i, name in enumerate(rng.permutation([*names, "truth"]).tolist())}
        for name, key in keys.items():
            sounds[key] = sound(shown.heard.truth if name == "truth" else shown.sounds[name], rate)
        for pair in combinations(names, 2):
            a, b = rng.permutation(pair).tolist()
            trials.append(
                {
                    "title": title_of(shown.line),
                    "line": shown.line.condition,
                    "file": shown.file,
                    "a": keys[a],
                    "b": keys[b],
                    "truth": keys["truth"],
                    "a_system": a,
                    "b_system": b,
                }
            )
    if not trials:
        raise InvalidSetting("expected at least two systems and one recording to compare, got fewer")
    order = [trials[i] for i in rng.permutation(len(trials))]
    hidden = "".join(f'<script type="text/plain" id="{key}">{uri}</script>\n' for key, uri in sounds.items())
    encoded = json.dumps(order).replace("</", "<\\/")
    body = f'{ASK}{hidden}<script type="application/json" id="trials">{encoded}</script><script>{SCRIPT}</script>'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "listen.html"
    path.write_text(document("A or B", body).replace("<body>", f'<body data-name="{escape(folder.name)}-{seed}">'))
    return path


def tally(paths: Sequence[Path]) -> list[Tally]:
    """Count what pages saved; raises `InvalidSetting` for a file that holds no votes."""
    votes: dict[tuple[str, str], list[int]] = {}
    for path in paths:
        try:
            cast = [(str(v["a"]), str(v["b"]), CHOICES.index(v["vote"])) for v in json.loads(path.read_text())["votes"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidSetting(f"expected votes that the page of rtsr listen saved, got {path}: {error}") from error
        for a, b, choice in cast:
            first, second = sorted((a, b))
            counts = votes.setdefault((first, second), [0, 0, 0])
            counts[choice if choice == NEITHER or a == first else 1 - choice] += 1
    return [Tally(one, other, *counts) for (one, other), counts in sorted(votes.items())]
