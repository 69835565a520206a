"""Metrics that stand for what listeners say, each by a package of its own; the arguments are those of metrics.py."""

from __future__ import annotations

import importlib
import math
import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MissingDependency
from .metrics import pair

PESQ_WB_RATE = 16000
# The package writes utterances to an array of 50 unchecked; each takes 0.4 s, so over 20 s it may crash.
PESQ_LONGEST = 19 * PESQ_WB_RATE
STOI_SHORTEST_S = 0.3
VISQOL_MODES = {16000: "speech", 48000: "audio"}
VISQOL_SHORTEST_S = 1.0  # less holds no whole patch of speech


def pesq_wb(truth: ArrayLike, estimate: ArrayLike) -> float | None:
    """Return the wideband PESQ opinion score of 16 kHz audio, 1.04 (bad) to 4.64 (identical).

    Audio over 19 s is scored in equal pieces and the mean returned. None where PESQ finds no speech to score
    (one of the two is silent, or under a quarter of a second); such a piece is left out of the mean.
    Raises `MissingDependency` without the package pesq. Source: ITU-T P.862.2.
    """
    true, guess = pair(truth, estimate)
    pesq = _load("pesq", "the PESQ score")
    pieces = math.ceil(true.size / PESQ_LONGEST)
    parts = zip(np.array_split(true, pieces), np.array_split(guess, pieces), strict=True)
    marks = [mark for part in parts if (mark := _pesq_of_piece(pesq, *part)) is not None]
    return sum(marks) / len(marks) if marks else None


def stoi(truth: ArrayLike, estimate: ArrayLike, rate: int) -> float | None:
    """Return the short-time objective intelligibility, about 0 (none) to 1 (all of it).

    None where fewer than 30 frames (about 0.4 s) are left without their silence. Raises `MissingDependency`
    without the package pystoi. Source: Taal et al. 2011.
    """
    true, guess = pair(truth, estimate)
    pystoi = _load("pystoi", "the STOI score")
    if true.size < STOI_SHORTEST_S * rate:  # pystoi breaks on less than one of its frames
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(pystoi.stoi(true, guess, rate))
        except RuntimeWarning:
            return None


def visqol(truth: ArrayLike, estimate: ArrayLike, rate: int) -> float | None:
    """Return the ViSQOL opinion score of speech at 16 kHz or of audio at 48 kHz, 1 (bad) to about 5 (identical).

    Speech through the deep lattice network, as the original has it. None at any other rate and where there is nothing
    to score. Raises `MissingDependency` without visqol-python and its lattice. Source: Chinen et al. 2020 (arXiv
    2004.09584).
    """
    true, guess = pair(truth, estimate)
    if rate not in VISQOL_MODES or not (true.any() and guess.any()) or true.size < VISQOL_SHORTEST_S * rate:
        return None
    return float(_visqol(VISQOL_MODES[rate]).measure_from_arrays(true, guess, rate).moslqo)


@cache
def _visqol(mode: str) -> Any:
    api = _load("visqol", "the ViSQOL score", "visqol").VisqolApi()
    if mode == "speech":
        _load("ai_edge_litert", "ViSQOL's lattice", "visqol")
    api.create(mode=mode, **({"use_lattice_model": True} if mode == "speech" else {}))
    return api


def _pesq_of_piece(pesq: Any, true: NDArray[np.float64], guess: NDArray[np.float64]) -> float | None:
    if not (true.any() and guess.any()):
        return None
    try:
        return float(pesq.pesq(PESQ_WB_RATE, true.astype(np.float32), guess.astype(np.float32), "wb"))
    except (pesq.NoUtterancesError, pesq.BufferTooShortError):
        return None


def _load(package: str, purpose: str, extra: str = "report") -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependency(package, extra, purpose) from error
