"""What tests share: a small model with random weights, every backend, and speech where there is some.

Speech is looked for in the folder that RTSR_SPEECH names, otherwise in ../shared/speech beside the checkout. Where
it is, a test marked `needs_speech` that is skipped counts as failed; with CI=true so does a backend that is missing.
"""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rtsr.backend import BACKENDS, Backend, load
from rtsr.errors import MissingDependency
from rtsr.net.weights import SHIPPED

pytest_plugins = ["pytester"]

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


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch on one thread: small layers only get slower on more, and others use the machine too."""
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a small random model that generates loudly, so that a difference anywhere is heard."""
    if not importlib.util.find_spec("torch"):
        return SHIPPED / "voice-16k.json"
    import torch

    from rtsr.net.export import export
    from rtsr.net.model import BandNet, NetConfig

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        net = BandNet(NetConfig(widths=(32, 24, 16)))
        for name, parameter in net.named_parameters():
            if name.endswith("scale"):
                parameter.fill_(0.7)
        net.leave.weight.normal_(0, 0.15)
        net.leave.bias[: net.config.spec.bins_out] = -1.0
    return export(net, "random-16k", tmp_path_factory.mktemp("model"), {"licence": "none: random numbers"})


def open_backend(path: str | Path, name: str) -> Backend:
    """Open a model on a backend, skipping or failing where its package is missing."""
    try:
        return load(path, name)
    except MissingDependency as error:
        missing(error.package)
        raise


@pytest.fixture(scope="session", params=BACKENDS)
def opened(request: pytest.FixtureRequest, model_path: Path) -> Backend:
    """The small random model, opened on each backend in turn."""
    return open_backend(model_path, request.param)


@pytest.fixture(scope="session", params=[b for b in BACKENDS if b != "null"])
def generating(request: pytest.FixtureRequest, model_path: Path) -> Backend:
    """The small random model on each backend that runs a network."""
    return open_backend(model_path, request.param)


@pytest.fixture(scope="session")
def null(model_path: Path) -> Backend:
    """The backend that generates nothing, with the small model's sizes."""
    return load(model_path, "null")


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
        found = np.concatenate(parts)
        assert len(found) >= seconds * rate, f"expected {seconds} s of {split} speech in {folder}"
        return found[: round(seconds * rate)]

    return read
