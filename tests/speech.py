"""Recorded speech for tests, and the rule that where there is some no test that needs it may be skipped.

It is looked for in the folder that RTSR_SPEECH names, otherwise in ../shared/speech beside the checkout.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "speech"
Speech = Callable[..., np.ndarray]


def speech_folder() -> Path | None:
    """Return where speech is said to be, or None; a folder that RTSR_SPEECH names counts as there."""
    named = os.environ.get("RTSR_SPEECH")
    if named:
        return Path(named)
    return BESIDE if BESIDE.is_dir() else None


def missing(what: str) -> None:
    """Skip for want of a package, or fail where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed, and CI must test it", pytrace=False)
    pytest.skip(f"{what} is not installed")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_speech: uses recorded speech; must not be skipped where there is some")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skip into a failure where the speech that the test needs is there."""
    report = yield
    if report.skipped and item.get_closest_marker("needs_speech") and speech_folder():
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although {speech_folder()} is there: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def speech() -> Speech:
    """Recorded speech: call it with seconds, and split and rate if not ("valid", 16000); float32, (samples,)."""
    folder = speech_folder()
    if folder is None:
        pytest.skip("no recorded speech: set RTSR_SPEECH to a folder with a manifest.csv")

    def read(seconds: float, split: str = "valid", rate: int = 16_000, which: int = 0) -> np.ndarray:
        import soundfile

        with (folder / "manifest.csv").open(newline="") as lines:
            rows = [r for r in csv.DictReader(lines) if r["split"] == split and int(r["rate"]) == rate]
        parts: list[np.ndarray] = []
        for row in rows[which:]:
            parts.append(soundfile.read(folder / row["file"], dtype="float32")[0])
            if sum(map(len, parts)) >= seconds * rate:
                break
        assert sum(map(len, parts)) >= seconds * rate, f"expected {seconds} s of {split} speech in {folder}"
        return np.concatenate(parts)[: round(seconds * rate)]

    return read
