"""How good systems are: recordings as lines give them, restored by each, and scored side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..backend.base import Backend
from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, InvalidSetting
from ..io.file import find_audio, open_to_read
from ..speech.conditions import CLEAN, Heard, clean, hear
from ..speech.corpus import read_manifest
from ..speech.scores import PERCEPTUAL, TRUTH, Scores, mean_scores, score, score_truth
from .systems import Facts, RtsrSystem, Sinc, Spline, System

SHORTEST_S = 0.01  # a spline wants two samples of the narrowest band


@dataclass(frozen=True, slots=True)
class Line:
    """How recordings arrive: over a telephone under a condition, or clean and cut off at so many Hz."""

    condition: str = CLEAN
    cutoff_hz: float = 4000.0
    noises: list[FloatArray] = field(default_factory=list, repr=False)

    def carry(self, truth: FloatArray, rate: int, name: str) -> Heard:
        """Return what arrives of a recording."""
        if self.condition == CLEAN:
            return clean(truth, rate, self.cutoff_hz)
        return hear(truth, rate, self.condition, name, self.noises)


@dataclass(frozen=True, slots=True)
class Row:
    """One system's scores on one line: a file's, or the mean where `file` is None."""

    system: str
    cutoff_hz: float
    file: str | None
    scores: Scores
    condition: str
    facts: Facts
    real_time_factor: float  # seconds of a processor for a second of audio, whatever else it had to do
    corpus: str = ""  # whose recordings a mean is over, or whose the file is; all of them where it is empty

    @property
    def line(self) -> tuple[str, float, str]:
        """What all systems that are compared with it have in common."""
        return self.condition, self.cutoff_hz, self.corpus


def restore_all(truth: FloatArray, model: Backend, cutoff_hz: float, given: bool) -> dict[str, FloatArray]:
    """Narrow a recording at the model's rate and restore it by sinc, spline and model; all as long as `truth`."""
    heard = clean(truth, model.spec.rate, cutoff_hz)
    return {s.name: y for s, y, _ in restored(heard, (Sinc(), Spline(), RtsrSystem(model, given)), model.spec.rate)}


def restored(heard: Heard, systems: Sequence[System], rate: int) -> Iterator[tuple[System, FloatArray, float]]:
    """Yield each system that has an answer, that cut to the truth's length, and its seconds of a processor."""
    for system in systems:
        began = time.process_time()
        wide = system.restore(heard, rate)
        if wide is not None:
            yield system, wide[: len(heard.truth)], time.process_time() - began


def recordings(where: Path, split: str | None, rate: int, limit: int | None, corpus: str = "") -> dict[Path, str]:
    """Return a folder's audio files, or a manifest's files of one split that were made at `rate`, each with its corpus.

    Of the manifest's, only those of corpora whose names begin with `corpus`; a folder's have none.
    """
    if not where.is_dir():
        raise InvalidSetting(f"expected a folder of recordings, got {where}")
    if split is None:
        files = dict.fromkeys(find_audio(where), "")
    else:
        listed = [r for r in read_manifest(where) if r.split == split and r.rate == rate]
        files = dict(sorted((r.path, r.corpus) for r in listed if r.corpus.startswith(corpus)))
        if not files:
            of = f" of a corpus {corpus!r}" if corpus else ""
            raise InvalidSetting(f"{where}/manifest.csv lists no {rate} Hz recording{of} in split {split!r}")
    kept = list(files.items())
    return files if limit is None else dict(kept[:: max(1, len(kept) // limit)][:limit])


def read_truth(path: Path, rate: int) -> FloatArray:
    """Read one recording as mono at the model's rate.

    Raises `InvalidSetting` for another rate, `InvalidAudio` for less than a hop or samples that are not finite.
    """
    with open_to_read(path) as opened:
        if opened.samplerate != rate:
            raise InvalidSetting(f"{path}: expected wideband recordings at {rate} Hz, got {opened.samplerate} Hz")
        truth: FloatArray = opened.read(dtype="float32", always_2d=True).mean(axis=1)
    if len(truth) < SHORTEST_S * rate or not np.isfinite(truth).all():
        raise InvalidAudio(f"{path}: expected {1000 * SHORTEST_S:.0f} ms or more of finite samples to score")
    return truth


def evaluate(
    files: list[Path],
    systems: Sequence[System],
    lines: Sequence[Line],
    rate: int,
    *,
    options: Collection[str] = (PERCEPTUAL,),
    corpora: Mapping[Path, str] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[Row]:
    """Yield each system's row for each line and file, then the line's means; `progress` hears of each file and line.

    `options` name the metrics that are taken beside those that always are. Where one of them does not need the truth,
    the truth has a row too. Where `corpora` says that the files are of several, each has its means as well.
    """
    corpora = corpora or {}
    for line in lines:
        rows: list[Row] = []
        costs: dict[str, Facts] = {}
        for path in files:
            heard = line.carry(read_truth(path, rate), rate, path.name)
            for system, wide, seconds in restored(heard, systems, rate):
                if system.name not in costs:
                    costs[system.name] = system.facts(heard, rate)
                scores = score(heard.truth, wide, rate, heard.cutoff_hz, options)
                known = (system.name, heard.cutoff_hz, path.name, scores, line.condition, costs[system.name])
                rows.append(Row(*known, seconds * rate / len(wide), corpora.get(path, "")))
            own = score_truth(heard.truth, rate, options)
            if own is not None:
                known = (TRUTH, heard.cutoff_hz, path.name, own, line.condition, Facts())
                rows.append(Row(*known, 0.0, corpora.get(path, "")))
            progress()
        yield from rows
        yield from means(rows)
        present = sorted({row.corpus for row in rows})
        for corpus in present if len(present) > 1 else ():
            yield from means([row for row in rows if row.corpus == corpus], corpus)


def means(rows: list[Row], corpus: str = "") -> Iterator[Row]:
    """Yield the mean of each system's rows, which are of one corpus where it is named."""
    for system in dict.fromkeys(r.system for r in rows):
        its = [r for r in rows if r.system == system]
        pace = sum(r.real_time_factor for r in its) / len(its)
        scores = mean_scores([r.scores for r in its])
        yield Row(system, its[0].cutoff_hz, None, scores, its[0].condition, its[0].facts, pace, corpus)


def write_json(rows: list[Row], path: Path, about: dict[str, object]) -> None:
    """Write the rows and what is known about the run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "rows": [asdict(r) for r in rows]}, indent=1) + "\n")
