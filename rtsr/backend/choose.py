"""Which backend is the fastest here: each is tried for a moment, and those that cannot run say why in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import numpy as np

from ..errors import BackendFailed, CorruptWeights, MissingDependency, UnknownName
from .base import Backend

TRIAL_S = 1.0  # for all candidates together
LEAST_STEPS = 5
NVIDIA = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # what a driver leaves on Linux and in WSL

log = logging.getLogger("rtsr")


def has_nvidia() -> bool:
    """Return whether an NVIDIA driver is loaded, without loading a library to ask it."""
    return any(path.exists() for path in NVIDIA)


def fastest(names: Iterable[str], open_backend: Callable[[str], Backend], rows: int) -> Backend:
    """Open those of `names` that can be opened and return the one whose median step of `rows` rows is the shortest.

    A driver or a library that fails in any way only takes its backend out of the choice. Raises what the last of them
    raised where none can be opened, and `UnknownName` or `CorruptWeights` at once.
    """
    names, found = list(names), list[tuple[float, Backend]]()
    refused: Exception | None = None
    for name in names:
        try:
            opened = open_backend(name)
            found.append((step_seconds(opened, rows, TRIAL_S / len(names)), opened))
        except (UnknownName, CorruptWeights):
            raise  # of the model, so of all backends
        except (BackendFailed, MissingDependency) as error:
            log.info("auto: not %s: %s", name, error)
            refused = error
        except Exception as error:  # torch, CUDA and ONNX Runtime have no common base
            log.warning("auto: not %s: %s: %s", name, type(error).__name__, error)
            refused = error
    if not found:
        raise refused or BackendFailed("expected at least one backend to choose from, got none")
    for seconds, opened in found:
        log.info("auto: %s takes %.3f ms for %d rows", opened.name, 1000 * seconds, rows)
    return min(found, key=lambda pair: pair[0])[1]


def step_seconds(model: Backend, rows: int, trial_s: float) -> float:
    """Return the median time of a step of `rows` rows of noise in seconds."""
    spec, rng = model.spec, np.random.default_rng(0)
    spectrum = rng.standard_normal((rows, spec.bins_in, 2)).astype(np.float32)
    cutoff = np.full(rows, spec.cutoff_max_hz / 2, np.float32)
    state, out = model.new_state(rows), np.zeros((rows, spec.bands), np.float32)
    model.step(spectrum, cutoff, state, out)
    times: list[float] = []
    while sum(times) < trial_s or len(times) < LEAST_STEPS:
        began = time.perf_counter()
        model.step(spectrum, cutoff, state, out)
        times.append(time.perf_counter() - began)
    return median(times)
