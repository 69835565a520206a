"""What `import rtsr` offers is exactly this; a name that goes or comes is a decision, not an accident."""

from __future__ import annotations

import inspect
import re
import types
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import rtsr

PUBLIC = [
    "AlreadyRunning",
    "Backend",
    "BackendFailed",
    "CallRefused",
    "ControlFailed",
    "CorruptWeights",
    "DeviceFailed",
    "InvalidAudio",
    "InvalidSetting",
    "MissingDependency",
    "OutputExists",
    "Pool",
    "PoolFull",
    "Reblock",
    "Regression",
    "RtsrError",
    "Spec",
    "Stream",
    "UnknownName",
    "__version__",
    "enhance",
    "load",
]
METHODS = {
    rtsr.Stream: ["cutoff_hz", "flush", "latency", "latency_ms", "process", "reset", "set_cutoff", "set_gain"],
    rtsr.Reblock: ["flush", "latency_ms", "process", "reset"],
    rtsr.Backend: ["new_state", "read_row", "step", "write_row"],
}


def test_the_public_names_are_these():
    assert sorted(rtsr.__all__) == sorted(PUBLIC)
    assert all(hasattr(rtsr, name) for name in PUBLIC)


def test_nothing_else_lies_about():
    others = {
        name
        for name, value in vars(rtsr).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name not in PUBLIC
    }
    assert others == set()


@pytest.mark.parametrize("name", [n for n in PUBLIC if n != "__version__"])
def test_every_public_name_says_what_it_promises(name):
    assert inspect.getdoc(getattr(rtsr, name))


@pytest.mark.parametrize(("kind", "names"), METHODS.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_the_public_methods_are_these_and_each_says_what_it_promises(kind, names):
    public = {n for n, v in vars(kind).items() if not n.startswith("_") and (callable(v) or isinstance(v, property))}
    assert sorted(public) == names
    for name in names:
        assert inspect.getdoc(getattr(kind, name))


def test_the_version_is_the_packages():
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", rtsr.__version__)
    project = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()
    assert f'version = "{rtsr.__version__}"' in project
    try:
        assert version("rtsr") == rtsr.__version__
    except PackageNotFoundError:
        pytest.skip("rtsr runs from its checkout and is not installed")


def test_the_package_is_typed():
    assert (Path(rtsr.__file__).parent / "py.typed").is_file()
