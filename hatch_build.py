"""Builds librtsr into the wheel where there is a compiler and CMake; without them the wheel is pure Python.

RTSR_WHEEL=pure leaves the library out, RTSR_WHEEL=native fails where it cannot be built.
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
INSIDE = "rtsr/backend/librtsr.so"  # where rtsr.backend.native looks first


class NativeHook(BuildHookInterface):
    """Adds the library and the platform's tag to a wheel; an editable one takes what lies in build/native."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it if this wheel is to have it."""
        choice = os.environ.get(VARIABLE, "auto")
        if choice not in CHOICES:
            raise ValueError(f"{VARIABLE}: expected one of {', '.join(CHOICES)}, got {choice!r}")
        lacking = self._lacking()
        if choice == "native" and lacking:
            raise RuntimeError(f"{VARIABLE}=native, but this machine lacks {lacking}")
        if version == "editable" or choice == "pure" or lacking:
            self.app.display_info(f"rtsr: a pure wheel, without librtsr{': no ' + lacking if lacking else ''}")
            return
        self._folder = tempfile.TemporaryDirectory(prefix="rtsr-wheel-")
        build_data["force_include"][str(self._build(Path(self._folder.name)))] = INSIDE
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

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
        """Build the library alone and return where it lies, without debug symbols."""
        source = Path(self.root) / "native"
        subprocess.run(["cmake", "-S", source, "-B", folder, "-DRTSR_TESTS=OFF"], check=True, stdout=sys.stderr)
        command = ["cmake", "--build", folder, "--target", "rtsr", "--parallel", str(os.cpu_count() or 1)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        library = (folder / "librtsr.so").resolve()
        if strip := shutil.which("strip"):
            subprocess.run([strip, "--strip-unneeded", library], check=True)
        return library
