"""The programs in bench/ import what they use: nothing else in the tests opens most of them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.speech import missing

PROGRAMS = sorted(path.stem for path in (Path(__file__).parents[1] / "bench").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_can_be_opened(name):
    try:
        importlib.import_module(f"bench.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("rtsr", "tests", "bench"):
            raise
        missing(error.name or name)
