"""Opening a model on a backend that may not be there."""

from __future__ import annotations

from pathlib import Path

from rtsr.backend import Backend, load
from rtsr.errors import MissingDependency
from tests.speech import missing


def open_backend(path: str | Path, name: str) -> Backend:
    """Open a model on a backend, skipping or failing where its package is missing."""
    try:
        return load(path, name)
    except MissingDependency as error:
        missing(error.package)
        raise
