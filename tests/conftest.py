"""What tests share: a small model with random weights, every backend, and recorded speech where there is some.

With CI=true a backend whose package is missing is a failure and not a skip.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from rtsr.backend import BACKENDS, Backend, has_nvidia, load
from rtsr.cli import main
from rtsr.net.weights import SHIPPED
from tests.backends import open_backend
from tests.signals import noise, voice_like
from tests.speech import pytest_configure, pytest_runtest_makereport, speech

__all__ = ["pytest_configure", "pytest_runtest_makereport", "speech"]  # pytest finds them here

pytest_plugins = ["pytester"]

if not has_nvidia():
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are first imported

LOUD = -1.0  # natural log of the band powers of the small model: loud, and far enough below full scale not to clip


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch on one thread: small layers only get slower on more, and others use the machine too."""
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture
def run(monkeypatch, capsys):
    """Call `rtsr ARGS` and return its exit code, stdout and stderr."""

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rtsr", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, " ".join(printed.err.split())

    return call


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
        net.leave.weight.normal_(0, 0.1)
        net.leave.bias.fill_(LOUD)
    return export(net, "random-16k", tmp_path_factory.mktemp("model"), {"licence": "none: random numbers"})


DISTINCT = [b for b in BACKENDS if not b.startswith("native-")]  # these are native, but for the products with weights


@pytest.fixture(scope="session", params=DISTINCT)
def opened(request: pytest.FixtureRequest, model_path: Path) -> Backend:
    """The small random model, opened on each backend in turn."""
    return open_backend(model_path, request.param)


@pytest.fixture(scope="session", params=[b for b in DISTINCT if b != "null"])
def generating(request: pytest.FixtureRequest, model_path: Path) -> Backend:
    """The small random model on each backend that runs a network."""
    return open_backend(model_path, request.param)


@pytest.fixture(scope="session")
def null(model_path: Path) -> Backend:
    """The backend that generates nothing, with the small model's sizes."""
    return load(model_path, "null")


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory) -> Path:
    """A folder with a manifest and a few recordings of something like speech."""
    import soundfile

    root = tmp_path_factory.mktemp("speech")
    rows = []
    for i, (split, rate, licence) in enumerate(
        [
            ("train", 16000, "CC BY 4.0"),
            ("train", 48000, "Apache-2.0"),
            ("train", 16000, "CC BY-SA 3.0"),
            ("train", 8000, "CC BY 4.0"),
            ("valid", 16000, "CC BY 4.0"),
            ("test", 16000, "CC BY 4.0"),
        ]
    ):
        name = f"{split}-{i}.flac"
        soundfile.write(root / name, voice_like(3.0, rate, seed=i) + noise(3 * rate, i, 1e-3), rate)
        rows.append({"file": name, "split": split, "rate": rate, "corpus": f"c{i}", "licence": licence})
    with (root / "manifest.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="session")
def corpus(speech_folder, tmp_path_factory):
    """Its training recordings at 16 kHz, packed."""
    from rtsr.speech.corpus import Corpus, read_manifest, select

    chosen = select(read_manifest(speech_folder), "train", 16000)
    return Corpus.packed(chosen, 16000, tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="session")
def maker(corpus):
    """Voices only, over lines of every kind; tones have tests of their own."""
    from rtsr.spec import Spec
    from rtsr.train.augmentation import Augmentation
    from rtsr.train.pairs import PairMaker

    return PairMaker(corpus, Spec(), 128, 3, Augmentation(variety=1, tones=0), bank=64)
