"""What is installed is what a C program needs, and no more."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rtsr.net.weights import SHIPPED
from tests.speech import missing

BUILT = Path(__file__).parents[2] / "build" / "native"
PROGRAM = """
#include <rtsr.h>
#include <rtsr_worker.h>
#include <stdio.h>
int main(int count, char **words) {
    rtsr_model *model = 0;
    rtsr_status status = rtsr_model_open(count > 1 ? words[1] : "", RTSR_FLOAT32, &model);
    printf("%d %d %s", (int)status, model ? (int)rtsr_model_spec(model)->rate : 0, rtsr_last_error());
    rtsr_model_close(model);
    return 0;
}
"""


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installation."""
    if not (BUILT / "librtsr.so").is_file():
        missing("librtsr")
    folder = tmp_path_factory.mktemp("installed")
    run("cmake", "--install", str(BUILT), "--prefix", str(folder))
    return folder


def test_a_c_program_is_built_with_what_pkg_config_says(installed, tmp_path):
    config = next(installed.rglob("rtsr.pc"))
    try:
        flags = run("pkg-config", "--cflags", "--libs", "rtsr", PKG_CONFIG_PATH=str(config.parent)).split()
    except FileNotFoundError:
        missing("pkg-config")
    (tmp_path / "program.c").write_text(PROGRAM)
    strict = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
    run("gcc", *strict, str(tmp_path / "program.c"), "-o", str(tmp_path / "program"), *flags)
    libraries = str(config.parents[1])
    said = run(str(tmp_path / "program"), str(SHIPPED / "voice-16k.json"), LD_LIBRARY_PATH=libraries)
    assert said == "0 16000 "
    said = run(str(tmp_path / "program"), str(tmp_path / "nothing.json"), LD_LIBRARY_PATH=libraries)
    assert said == f"1 0 {tmp_path}/nothing.json is missing or cannot be read"


def test_only_the_functions_of_the_header_are_seen_and_all_of_them(installed):
    listed = run("nm", "-D", "--defined-only", str(next(installed.rglob("librtsr.so")))).split("\n")
    seen = {line.split()[2] for line in listed if line and " T " in line}
    headers = [line for path in (installed / "include").glob("*.h") for line in path.read_text().split("\n")]
    declared = {line.split("(")[0].split()[-1].lstrip("*") for line in headers if line.startswith("RTSR_API")}
    assert seen == {f"{name}@@RTSR_0" for name in declared}
    assert len(declared) > 30


def test_it_depends_on_nothing_but_the_c_library(installed):
    needed = run("objdump", "-p", str(next(installed.rglob("librtsr.so")))).split("\n")
    libraries = {line.split()[1].split(".")[0] for line in needed if "NEEDED" in line}
    assert libraries <= {"libc", "libm", "ld-linux-x86-64", "ld-linux-aarch64"}
