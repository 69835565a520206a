"""What `pip wheel .` makes: with librtsr where there is a compiler, and pure Python where there is none."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import rtsr
from tests.speech import missing

ROOT = Path(__file__).parents[2]
SAY = """
import rtsr
from rtsr.backend import native
print(rtsr.__file__)
print(native.library())
print(rtsr.load("voice-16k").name)
"""


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel into a folder, as pip does, without fetching anything."""
    if importlib.util.find_spec("hatchling") is None:
        missing("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def made(folder: Path, **environment: str) -> Path:
    """The wheel."""
    done = build(folder, **environment)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpacked(wheel: Path, folder: Path) -> list[str]:
    """What a program says that sees the wheel's content and not the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    env = {k: v for k, v in os.environ.items() if k != "RTSR_LIBRARY"} | {"PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", SAY], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:3]


@pytest.mark.slow
def test_with_a_compiler_the_library_is_inside_and_used(tmp_path):
    wheel = made(tmp_path, RTSR_WHEEL="native")
    assert "-py3-none-linux_" in wheel.name
    assert wheel.stat().st_size < 34e6  # four models, each as safetensors and ONNX
    with zipfile.ZipFile(wheel) as archive:
        assert f"rtsr-{rtsr.__version__}.data/scripts/rtsr-cli" in archive.namelist()
    inside = tmp_path / "unpacked"
    place, library, backend = unpacked(wheel, inside)
    assert place == str(inside / "rtsr" / "__init__.py")
    assert library == str(inside / "rtsr" / "backend" / "librtsr.so")
    assert backend == "native"


def test_without_a_compiler_it_is_pure(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    wheel = made(tmp_path, PATH=str(tools))
    assert wheel.name.endswith("-py3-none-any.whl")
    place, library, backend = unpacked(wheel, tmp_path / "unpacked")
    assert place.startswith(str(tmp_path))
    assert (library, backend) == ("None", "ort")


def test_what_is_asked_for_and_cannot_be_is_refused(tmp_path):
    refused = build(tmp_path, PATH=str(tmp_path), RTSR_WHEEL="native")
    assert refused.returncode
    assert "RTSR_WHEEL=native, but this machine lacks C++ compiler" in refused.stderr
    refused = build(tmp_path, RTSR_WHEEL="nativ")
    assert "expected one of auto, pure, native, got 'nativ'" in refused.stderr


def test_a_pure_one_can_be_asked_for(tmp_path):
    assert made(tmp_path, RTSR_WHEEL="pure").name.endswith("-py3-none-any.whl")


def test_an_engine_that_is_installed_is_taken_with_its_plug_ins_under_the_platform_that_is_named(tmp_path):
    prefix = tmp_path / "prefix"
    for name in ("lib/librtsr.so.0.1.0", "lib/lv2/rtsr.lv2/rtsr.so", "bin/rtsr-cli"):
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_bytes(b"engine")
    (prefix / "lib" / "librtsr.so.0").symlink_to("librtsr.so.0.1.0")
    wheel = made(tmp_path, RTSR_WHEEL_PREFIX=str(prefix), RTSR_WHEEL_PLATFORM="manylinux_2_17_aarch64")
    assert wheel.name.endswith("-py3-none-manylinux_2_17_aarch64.whl")
    with zipfile.ZipFile(wheel) as archive:
        for inside in ("rtsr/backend/librtsr.so", "rtsr/data/plugins/lv2/rtsr.lv2/rtsr.so"):
            assert archive.read(inside) == b"engine"
    refused = build(tmp_path, RTSR_WHEEL_PREFIX=str(prefix))
    assert "needs RTSR_WHEEL_PLATFORM" in refused.stderr
