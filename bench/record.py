"""Stored results: JSON lines with the commit, the machine and the versions they were measured with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "numba", "onnxruntime")


def commit() -> str:
    """Return the checked-out commit, with a + where the tree differs from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
        cwd=RESULTS,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def cpu() -> str:
    """Return the processor's name and the number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def store(name: str, rows: list[dict[str, object]]) -> None:
    """Append rows to results/NAME.jsonl."""
    about = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": cpu(),
        "python": platform.python_version(),
        "versions": {p: version(p) for p in PACKAGES},
        "command": "python -m bench " + " ".join(sys.argv[1:]),
    }
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        for row in rows:
            file.write(json.dumps({**about, **row}) + "\n")
