"""Puts the C++ engine into the wheel where there is a compiler and CMake; without them the wheel is pure Python.

RTSR_WHEEL=pure leaves it out, RTSR_WHEEL=native fails where it cannot be built. RTSR_WHEEL_PREFIX names an installed
engine to take instead of building one, with RTSR_WHEEL_PLATFORM, the platform that it runs on: `.ci/wheel` does so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "RTSR_WHEEL"
CHOICES = ("auto", "pure", "native")
PREFIX, PLATFORM = "RTSR_WHEEL_PREFIX", "RTSR_WHEEL_PLATFORM"
LIBRARY = "rtsr/backend/librtsr.so"  # where rtsr.backend.native looks first
PLUGINS = "rtsr/data/plugins"  # where rtsr.plugins looks first
FORMATS = ("ladspa", "lv2", "vst3", "clap")


class NativeHook(BuildHookInterface):
    """Adds the engine and the platform's tag to a wheel; an editable one takes what lies in build/native."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Take it, or build it, if this wheel is to have it."""
        choice = os.environ.get(VARIABLE, "auto")
        if choice not in CHOICES:
            raise ValueError(f"{VARIABLE}: expected one of {', '.join(CHOICES)}, got {choice!r}")
        if version != "editable" and (prefix := os.environ.get(PREFIX)):
            if not (platform := os.environ.get(PLATFORM)):
                raise ValueError(f"{PREFIX} needs {PLATFORM}, such as manylinux_2_17_x86_64")
            _pack(Path(prefix), platform, build_data)
            return
        lacking = self._lacking()
        if choice == "native" and lacking:
            raise RuntimeError(f"{VARIABLE}=native, but this machine lacks {lacking}")
        if version == "editable" or choice == "pure" or lacking:
            self.app.display_info(f"rtsr: a pure wheel, without librtsr{': no ' + lacking if lacking else ''}")
            return
        self._folder = tempfile.TemporaryDirectory(prefix="rtsr-wheel-")
        _pack(self._build(Path(self._folder.name)), sysconfig.get_platform(), build_data)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was built: the wheel has it now."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    def _lacking(self) -> str:
        """Say what a build would need that is not there, or nothing."""
        if sys.platform != "linux":
            return "Linux"
        compilers = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
        if not any(shutil.which(c) for c in compilers):
            return "C++ compiler"
        missing = [tool for tool in ("cmake", "make") if shutil.which(tool) is None]
        return missing[0] if missing else ""

    def _build(self, folder: Path) -> Path:
        """Build the library and the program and return the prefix they are installed in, without debug symbols."""
        source, build, prefix = Path(self.root) / "native", folder / "build", folder / "prefix"
        settings = ["-DRTSR_TESTS=OFF", "-DCMAKE_INSTALL_LIBDIR=lib"]
        for command in (
            ["cmake", "-S", source, "-B", build, *settings],
            ["cmake", "--build", build, "--parallel", str(os.cpu_count() or 1)],
            ["cmake", "--install", build, "--prefix", prefix, *(["--strip"] if shutil.which("strip") else [])],
        ):
            subprocess.run(command, check=True, stdout=sys.stderr)
        return prefix


def _pack(prefix: Path, platform: str, build_data: dict[str, Any]) -> None:
    """Add what is installed in a prefix, and tag the wheel for its platform."""
    (library,) = (path for path in (prefix / "lib").glob("librtsr.so.*") if not path.is_symlink())
    build_data["force_include"][str(library)] = LIBRARY
    for folder in (prefix / "lib" / name for name in FORMATS):
        if folder.is_dir():
            build_data["force_include"][str(folder)] = f"{PLUGINS}/{folder.name}"
    build_data["shared_scripts"][str(prefix / "bin" / "rtsr-cli")] = "rtsr-cli"
    build_data["pure_python"] = False
    build_data["tag"] = f"py3-none-{platform.replace('-', '_').replace('.', '_')}"
