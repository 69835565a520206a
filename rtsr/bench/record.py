"""Stored results: JSON lines with the commit, the machine and the versions they were measured with."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from ..errors import InvalidSetting

PACKAGES = ("numpy", "numba", "onnxruntime", "onnxruntime-gpu", "torch", "triton")
LEAST_NOISE = 0.2  # of a figure: what a quiet machine varies by from one run to the next
KEPT = 10  # of the newest stored rows are compared with

Row = dict[str, Any]


def commit() -> str:
    """Return the checked-out commit that this package is of, + where the tree differs, or "unknown"."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """Return the kind of machine: the processor's name, the cores this process may use, and the GPU if there is one."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cpu = f"{names[0] if names else platform.processor() or platform.machine()}, {cores()} cores"
    return ", ".join([cpu, *gpus()])


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """Return the names of the NVIDIA cards whose driver answers."""
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return found.stdout.split("\n")[:-1] if found.returncode == 0 else []


def about() -> Row:
    """Return what every stored row says of how it came to be."""
    installed = {p: importlib.metadata.version(p) for p in PACKAGES if _installed(p)}
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "python": platform.python_version(),
        "versions": installed,
        "command": command(sys.argv),
    }


def command(argv: list[str]) -> str:
    """Return what was called, without the folders of the machine that it was called on."""
    program = Path(argv[0])
    name = f"python -m bench.{program.stem}" if program.parent.name == "bench" else "rtsr"
    return f"{name} {shlex.join(Path(a).name if a.startswith('/') else a for a in argv[1:])}".strip()


def _installed(distribution: str) -> bool:
    try:
        return bool(importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return False


def begun(what: str, model: str, backend: str, *conditions: str, **watch: float) -> Row:
    """Return how a row of a model on a backend begins: its key, what is watched, and whose it is."""
    return {"key": ", ".join((what, model, backend, *conditions)), "watch": watch, "model": model, "backend": backend}


def store(folder: Path, name: str, rows: Iterable[Row]) -> Path:
    """Append rows to FOLDER/NAME.jsonl and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path, common = folder / f"{name}.jsonl", about()
    with path.open("a") as file:
        for row in rows:
            file.write(json.dumps({**common, **row}) + "\n")
    return path


def stored(folder: Path, name: str) -> list[Row]:
    """Return the rows of FOLDER/NAME.jsonl that were measured on this kind of machine, oldest first.

    Raises `InvalidSetting` where a line is no JSON.
    """
    path = folder / f"{name}.jsonl"
    if not path.exists():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    except ValueError as error:
        raise InvalidSetting(f"expected a row of JSON a line, got {path}: {error}") from error
    here = machine()
    return [row for row in rows if row["machine"] == here]


def regressions(rows: Iterable[Row], before: Iterable[Row]) -> tuple[list[str], int]:
    """Compare what rows `watch` with stored rows of the same `key`; returns the losses in words, and how many compared.

    A watched figure is better the smaller it is. It has to beat the stored median by more than noise to count as
    lost: a fifth, or three times the spread of the stored ones (median absolute deviation) if that is more.
    """
    before, lost, compared = list(before), [], 0
    for row in rows:
        for name, value in row["watch"].items():
            known = [old["watch"][name] for old in before if old["key"] == row["key"] and name in old["watch"]][-KEPT:]
            if not known:
                continue
            compared += 1
            usual = median(known)
            spread = median(abs(k - usual) for k in known)
            most = usual + max(LEAST_NOISE * usual, 3 * spread)
            if value > most:
                lost.append(f"{row['key']}: {name} was {usual:.4g}, at most {most:.4g} with noise, and is {value:.4g}")
    return lost, compared
