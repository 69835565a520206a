"""How good a model is: recordings narrowed, restored by the stream, and scored beside the baselines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ..backend.base import Backend
from ..dsp.windows import FloatArray
from ..enhance import enhance
from ..errors import InvalidSetting
from ..io.file import find_audio, open_to_read
from .metrics import Scores, mean_scores, score
from .narrow import decimate, narrow, sinc_upsample, spline_upsample

SINC, SPLINE = "sinc", "cubic spline"


@dataclass(frozen=True, slots=True)
class Row:
    """One system's scores at one cutoff: a file's, or the mean where `file` is None."""

    system: str
    cutoff_hz: float
    file: str | None
    scores: Scores


def restore_all(truth: FloatArray, model: Backend, cutoff_hz: float, told: bool) -> dict[str, FloatArray]:
    """Narrow a recording at the model's rate and restore it by every system; all as long as `truth`.

    Where the rate is a whole multiple of twice the cutoff the stream gets the low-rate signal, as from a
    telephone; otherwise the narrowed signal at the full rate. `told` tells the stream the cutoff.
    """
    rate = model.spec.rate
    cutoff: float | str = cutoff_hz if told else "auto"
    factor = rate / (2 * cutoff_hz)
    if factor != round(factor):
        low = narrow(truth, rate, cutoff_hz)
        return {SINC: low, model_name(model): enhance(low, rate, model=model, cutoff=cutoff)}
    step = round(factor)
    low = decimate(truth, rate, step)
    restored = {
        SINC: sinc_upsample(low, rate // step, step),
        SPLINE: spline_upsample(low, step),
        model_name(model): enhance(low, rate // step, model=model, cutoff=cutoff),
    }
    return {name: y[: len(truth)] for name, y in restored.items()}


def model_name(model: Backend) -> str:
    """How a model on a backend is called in tables."""
    return f"{model.model} ({model.name})"


def recordings(where: Path, split: str | None, rate: int, limit: int | None) -> list[Path]:
    """Return a folder's audio files, or a manifest's files of one split that were made at `rate`."""
    if split is None:
        files = find_audio(where)
    else:
        from ..train.corpus import read_manifest

        files = sorted(r.path for r in read_manifest(where) if r.split == split and r.rate == rate)
        if not files:
            raise InvalidSetting(f"{where}/manifest.csv lists no {rate} Hz recording in split {split!r}")
    return files if limit is None else files[:: max(1, len(files) // limit)][:limit]


def read_truth(path: Path, rate: int) -> FloatArray:
    """Read one recording as mono at the model's rate; raises `InvalidSetting` for another rate."""
    with open_to_read(path) as opened:
        if opened.samplerate != rate:
            raise InvalidSetting(f"{path}: expected wideband recordings at {rate} Hz, got {opened.samplerate} Hz")
        return opened.read(dtype="float32", always_2d=True).mean(axis=1)


def evaluate(
    files: list[Path],
    model: Backend,
    cutoffs_hz: list[float],
    *,
    told: bool = True,
    perceptual: bool = True,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[Row]:
    """Yield each system's row for each file and cutoff, then the means; `progress` is called once a file and cutoff."""
    for cutoff in cutoffs_hz:
        rows: list[Row] = []
        for path in files:
            truth = read_truth(path, model.spec.rate)
            for system, y in restore_all(truth, model, cutoff, told).items():
                rows.append(Row(system, cutoff, path.name, score(truth, y, model.spec.rate, cutoff, perceptual)))
            progress()
        yield from rows
        for system in dict.fromkeys(r.system for r in rows):
            yield Row(system, cutoff, None, mean_scores([r.scores for r in rows if r.system == system]))


def write_json(rows: list[Row], path: Path, about: dict[str, object]) -> None:
    """Write the rows and what is known about the run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "rows": [asdict(r) for r in rows]}, indent=1) + "\n")
