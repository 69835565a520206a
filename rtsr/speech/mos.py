"""Predictors of human opinion: what a listener would say of speech at 16 kHz, without knowing the true signal.

They are measures of what is heard. They are never part of a loss, and no recording is chosen by them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import sys
import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..dsp.windows import FloatArray
from ..errors import MissingDependency

MOS_RATE = 16000
SHORTEST_S = 0.5  # less holds nothing to form an opinion of

_known: dict[tuple[str, bytes], dict[str, float]] = {}  # by predictor and signal: the truth is scored for every line


def distillmos(signal: ArrayLike) -> float | None:
    """Return the DistillMOS opinion score of 16 kHz speech (samples,), 1 (bad) to 5; None for silence or under 0.5 s.

    Raises `MissingDependency` without the package distillmos. Source: Stahl and Gamper 2025 (arXiv 2502.05356).
    """
    found = _score("distillmos", signal, _distillmos)
    return None if found is None else found["mos"]


def dnsmos(signal: ArrayLike, which: str) -> float | None:
    """Return a DNSMOS opinion score of 16 kHz speech (samples,), 1 (bad) to 5; None for silence or under 0.5 s.

    `which` is p808 (overall, ITU-T P.808), or of P.835: sig (the voice), bak (the background) or ovrl (both). Raises
    `MissingDependency` without the package speechmos. Source: Reddy et al. (arXiv 2010.15258 and 2110.01763).
    """
    found = _score("dnsmos", signal, _dnsmos)
    return None if found is None else found[which]


def _score(name: str, signal: ArrayLike, predict: Callable[[FloatArray], dict[str, float]]) -> dict[str, float] | None:
    """Return a predictor's score of a signal, computed once for each; None where there is nothing to score."""
    samples = np.clip(np.asarray(signal, np.float32), -1, 1)
    if samples.size < SHORTEST_S * MOS_RATE or not samples.any():
        return None
    key = (name, hashlib.sha256(samples.tobytes()).digest())
    if key not in _known:
        _known[key] = predict(samples)
    return _known[key]


def _distillmos(samples: FloatArray) -> dict[str, float]:
    import torch

    with torch.inference_mode():
        return {"mos": float(_distillmos_model()(torch.from_numpy(samples)[None]))}


@cache
def _distillmos_model() -> Any:
    """Load the network. The package uses torchaudio in its command line alone, where torch's version has to fit."""
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        sys.modules["torchaudio"] = ModuleType("torchaudio")
    try:
        package = importlib.import_module("distillmos")
    except ImportError as error:
        raise MissingDependency("distillmos", "mos", "the DistillMOS score") from error
    finally:
        if not hasattr(sys.modules["torchaudio"], "__file__"):
            del sys.modules["torchaudio"]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights lie
        return package.ConvTransformerSQAModel().eval()


def _dnsmos(samples: FloatArray) -> dict[str, float]:
    try:
        package = importlib.import_module("speechmos.dnsmos")
    except ImportError as error:
        raise MissingDependency("speechmos", "mos", "the DNSMOS score") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa of what it will change
        found = package.run(samples, MOS_RATE)
    return {name: float(found[f"{name}_mos"]) for name in ("p808", "sig", "bak", "ovrl")}
