"""What a new process costs before its first hop, and how much memory it takes; measured from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

from ..errors import BackendFailed
from .record import Row, begun
from .signal import voice

RATE_IN = 8_000

STREAM = r"""
import json, re, sys, time
marks = [time.perf_counter()]
import numpy as np
from rtsr import Stream, load
marks.append(time.perf_counter())
stream = Stream(load(sys.argv[1], sys.argv[2]), 8000)
marks.append(time.perf_counter())
stream.process(np.full(stream.hop, 0.1, np.float32))
marks.append(time.perf_counter())
for _ in range(200):
    stream.process(np.full(stream.hop, 0.1, np.float32))
status = open("/proc/self/status").read()
names = ("import_s", "open_s", "first_hop_s")
print(json.dumps({
    **{n: b - a for n, a, b in zip(names, marks, marks[1:])},
    "resident_mb": int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024,
    "torch_loaded": "torch" in sys.modules,
}))
"""

ENHANCE = r"""
import json, re, sys
from rtsr.cli import main
model, source, target = sys.argv[1:]
sys.argv = ["rtsr", "enhance", source, target, "--model", model]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
status = open("/proc/self/status").read()  # getrusage would count what the parent held before the exec
resident = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
print(json.dumps({"resident_mb": resident, "torch_loaded": "torch" in sys.modules}))
"""


def stream(model: str, backend: str) -> Row:
    """Open a model in a new process; returns the seconds of import, opening and the first hop, and the peak memory."""
    found = _child(STREAM, model, backend)
    whole = found["import_s"] + found["open_s"] + found["first_hop_s"]
    return {**begun("start", Path(model).stem, backend, start_s=whole), **found}


def enhance(model: str, seconds: float = 10.0) -> Row:
    """Enhance a file of `seconds` with `rtsr enhance` in a new process; returns its peak resident memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.wav", Path(folder) / "out.wav"
        soundfile.write(source, voice(seconds, RATE_IN), RATE_IN)
        found = _child(ENHANCE, model, str(source), str(target))
    return {
        "key": f"memory, {Path(model).stem}, rtsr enhance",
        "watch": {"resident_mb": found["resident_mb"]},
        "model": Path(model).stem,
        "seconds": seconds,
        **found,
    }


def _child(code: str, *arguments: str) -> Row:
    """Run code in a new interpreter and return the JSON of its last line."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendFailed(f"a new process with {', '.join(arguments)} failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])
