"""`python -m bench.mutation rtsr/dsp/mix.py`: mutate a file at random places, and list what its tests do not notice.

cosmic-ray mutates the files of this checkout. Each mutation is tested in a fork of this process, which has imported
the libraries already: these take most of the time of a short test. A file with numba's functions is tested without
numba.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import select
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

TABLE = Path(__file__).with_name("mutation.toml")
LIBRARIES = ("numba", "numpy", "pytest", "soundfile", "torch")  # not what pytest wants to import itself, as hypothesis
CONFIG = """[cosmic-ray]
module-path = [{file}]
timeout = {timeout_s:.1f}
excluded-modules = []
test-command = {command}
[cosmic-ray.distributor]
name = "local"
"""


def sample(session: Path, lines: list[str], count: int, seed: int) -> int:
    """Keep one mutation at each of so many places of a session; returns how many mutations of `lines` there were."""
    with sqlite3.connect(session) as data:
        found = data.execute(
            "SELECT start_pos_row, start_pos_col, operator_name, occurrence, operator_args, job_id FROM mutation_specs "
            "ORDER BY 1, 2, 3, 4, 5"
        ).fetchall()
        places: dict[tuple[int, int], list[str]] = {}
        for row, column, operator, *_, job in found:
            # Nothing evaluates the types of annotations, and numba's decorators do nothing here.
            if "_BitOr_" not in operator and not lines[row - 1].startswith("@njit"):
                places.setdefault((row, column), []).append(job)
        chooser = random.Random(seed)
        kept = [chooser.choice(places[place]) for place in chooser.sample(sorted(places), min(count, len(places)))]
        for table in ("mutation_specs", "work_items"):
            data.execute(f"DELETE FROM {table} WHERE job_id NOT IN ({', '.join('?' * len(kept))})", kept)
    return len(found)


def test(arguments: list[str], compiled: bool) -> None:
    """Run pytest, and end the process with what it returns."""
    import numba
    import pytest

    numba.config.DISABLE_JIT = not compiled
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os._exit(int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *arguments])))


def tested(arguments: list[str], compiled: bool, timeout_s: float) -> int:
    """Return what pytest returns in a fork, or 1 where it does not end in time."""
    process = multiprocessing.get_context("fork").Process(target=test, args=(arguments, compiled))
    process.start()
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        process.join()
    return min(abs(process.exitcode or 0), 1)


def execute(folder: Path, test_it: Callable[[], int]) -> None:
    """Let cosmic-ray make each mutation; what it starts as its test asks this process for one, by two FIFOs."""
    asked = os.open(folder / "ask", os.O_RDWR)
    cosmic_ray = subprocess.Popen(["cosmic-ray", "exec", folder / "toml", folder / "sqlite"])
    while cosmic_ray.poll() is None:
        if select.select([asked], [], [], 0.5)[0]:
            os.read(asked, 1)
            (folder / "answer").write_text(f"{test_it()}\n")
    os.close(asked)
    if cosmic_ray.returncode:
        raise SystemExit("cosmic-ray has failed")


def mutate(file: Path, arguments: list[str], sampled: int, seed: int, timeout_s: float) -> bool:
    """Mutate one file and print what its tests do not notice; returns whether they pass without a mutation."""
    text = file.read_text()
    test_it = partial(tested, arguments, "njit" not in text, timeout_s)
    if test_it():
        print(f"{file}: its tests fail without a mutation, or take more than {timeout_s:.0f} s", flush=True)
        return False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for fifo in ("ask", "answer"):
            os.mkfifo(folder / fifo)
        command = json.dumps(f"sh -c 'echo > {folder}/ask; read code < {folder}/answer; exit $code'")
        config = CONFIG.format(file=json.dumps(str(file)), timeout_s=10 * timeout_s, command=command)
        (folder / "toml").write_text(config)
        session = folder / "sqlite"
        subprocess.run(["cosmic-ray", "init", folder / "toml", session], check=True, stdout=subprocess.DEVNULL)
        print(f"{file}: {sampled} of {sample(session, text.splitlines(), sampled, seed)} mutations", flush=True)
        execute(folder, test_it)
        subprocess.run(["cr-report", session, "--surviving-only", "--show-diff"], check=True)
    return True


def main(
    files: Annotated[list[Path], typer.Argument(help="From the root of the checkout, whose files are changed.")],
    tests: Annotated[str | None, typer.Option(help="Arguments of pytest; by default those in mutation.toml.")] = None,
    sampled: Annotated[int, typer.Option("--sample", help="At so many places of each file.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 1,
    timeout_s: Annotated[float, typer.Option(help="A mutation whose tests take longer counts as noticed.")] = 120.0,
) -> None:
    """Mutate files at random places; prints each mutation that no test notices."""
    if not shutil.which("cosmic-ray"):
        raise SystemExit("cosmic-ray is not on the PATH: CONTRIBUTING.md says how it is installed")
    if subprocess.run(["git", "diff", "--quiet", "HEAD"], check=False).returncode:
        raise SystemExit("files of this checkout are changed: run this in a clean clone")
    known = tomllib.loads(TABLE.read_text())["tests"]
    chosen = {file: tests or known.get(file.as_posix(), "") for file in files}
    for file, arguments in chosen.items():
        if not arguments:
            raise SystemExit(f"no tests for {file} in {TABLE}: name some with --tests")
    sys.dont_write_bytecode = True  # a mutation may have the length and the second of the one before
    for name in LIBRARIES:
        importlib.import_module(name)
    passed = [mutate(file, shlex.split(arguments), sampled, seed, timeout_s) for file, arguments in chosen.items()]
    raise SystemExit(not all(passed))


if __name__ == "__main__":
    typer.run(main)
