"""Recordings from a manifest, decoded once into one packed array that every later run maps from disk."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, InvalidSetting

SHARE_ALIKE = "BY-SA"


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of `manifest.csv`."""

    path: Path
    split: str
    rate: int
    corpus: str
    licence: str


def read_manifest(root: Path) -> list[Recording]:
    """Read `root/manifest.csv` (columns file, split, rate, corpus, licence); raises `InvalidSetting` if absent."""
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise InvalidSetting(f"expected a folder of speech with a manifest.csv, got {root}")
    with manifest.open(newline="") as lines:
        return [_recording(root, row, number) for number, row in enumerate(csv.DictReader(lines), 2)]


def _recording(root: Path, row: dict[str, str], line: int) -> Recording:
    try:
        return Recording(root / row["file"], row["split"], int(row["rate"]), row["corpus"], row["licence"])
    except (KeyError, ValueError, TypeError) as error:
        wanted = "file, split, rate in Hz, corpus and licence"
        raise InvalidSetting(f"{root / 'manifest.csv'}, line {line}: expected {wanted} ({error!r})") from error


def select(recordings: Iterable[Recording], split: str, rate: int, share_alike: bool = False) -> list[Recording]:
    """Return the recordings of a split that were made at `rate` or above, without share-alike ones unless asked."""
    return [
        r for r in recordings if r.split == split and r.rate >= rate and (share_alike or SHARE_ALIKE not in r.licence)
    ]


def read_at(path: Path, rate: int) -> FloatArray:
    """Read one recording as mono float32 at `rate`, shape (samples,)."""
    import soundfile
    import soxr

    try:
        audio, found = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"cannot read {path}: {error}") from error
    mono = audio.mean(axis=1)
    return mono if found == rate else soxr.resample(mono, found, rate, quality="VHQ").astype(np.float32)


class Corpus:
    """Packed 16-bit samples of many recordings, mapped from disk; `crops` draws stretches from it."""

    def __init__(self, samples: np.ndarray, ends: np.ndarray) -> None:
        self.samples = samples
        self.ends = ends

    @classmethod
    def packed(cls, recordings: list[Recording], rate: int, cache: Path) -> Corpus:
        """Decode `recordings` to `cache` unless it holds them already, and map them."""
        if not recordings:
            raise InvalidSetting("expected at least one recording, got none: look at the split and the licence filter")
        key = json.dumps([rate, [[str(r.path), r.path.stat().st_size] for r in recordings]])
        name = hashlib.sha256(key.encode()).hexdigest()[:12]
        data, index = cache / f"{name}.i16.npy", cache / f"{name}.ends.npy"
        if not index.exists():
            cache.mkdir(parents=True, exist_ok=True)
            _pack(recordings, rate, data, index)
        return cls(np.load(data, mmap_mode="r"), np.load(index))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def starts(self, rng: np.random.Generator, rows: int, length: int) -> np.ndarray:
        """Draw where `rows` stretches of `length` samples begin: anywhere."""
        if len(self) <= length:
            raise InvalidSetting(f"expected more than {length} samples of speech to draw from, got {len(self)}")
        return rng.integers(0, len(self) - length, rows)

    def crops(self, rng: np.random.Generator, rows: int, length: int) -> FloatArray:
        """Draw `rows` stretches of `length` samples; shape (rows, length), float32 in [-1, 1)."""
        starts = self.starts(rng, rows, length)
        return np.stack([self.samples[s : s + length] for s in starts]).astype(np.float32) / np.float32(32768)


def describe(recordings: list[Recording], corpus: Corpus, rate: int) -> list[dict[str, object]]:
    """Return what the packed `recordings` are, a row a corpus and licence, for a run's record and a model's card."""
    lengths: dict[tuple[str, str], list[float]] = {}
    for recording, samples in zip(recordings, np.diff(corpus.ends, prepend=0), strict=True):
        lengths.setdefault((recording.corpus, recording.licence), []).append(float(samples) / rate)
    return [
        {"corpus": corpus_name, "licence": licence, "recordings": len(each), "seconds": round(sum(each))}
        for (corpus_name, licence), each in lengths.items()
    ]


def _pack(recordings: list[Recording], rate: int, data: Path, index: Path) -> None:
    parts = [
        np.clip(read_at(r.path, rate) * 32768, -32768, 32767).round().astype(np.int16)
        for r in track(recordings, description="decoding")
    ]
    np.save(data, np.concatenate(parts))
    np.save(index, np.cumsum([len(p) for p in parts]))
