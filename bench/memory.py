"""How much memory `rtsr enhance` takes, measured from outside, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

from .hop import RATE_IN, voice

CHILD = r"""
import re, sys
from rtsr.cli import main
sys.argv[0] = "rtsr"
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
status = open("/proc/self/status").read()  # getrusage would count what the parent held before the exec
print(re.search(r"VmHWM:\s+(\d+) kB", status)[1], "torch" in sys.modules)
"""


def measure(model: str, seconds: float = 30.0) -> dict[str, object]:
    """Enhance a file of `seconds` in a new process; returns its peak resident memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.wav", Path(folder) / "out.wav"
        soundfile.write(source, voice(seconds, RATE_IN), RATE_IN)
        command = [sys.executable, "-c", CHILD, "enhance", str(source), str(target), "--model", model]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    peak_kb, torch_loaded = printed.split()[-2:]
    return {
        "model": model,
        "seconds": seconds,
        "resident_mb": int(peak_kb) / 1024,
        "torch_loaded": torch_loaded == "True",
    }
