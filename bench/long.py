"""`python -m bench.long`: a recording of ten hours through `rtsr enhance` and rtsr-cli: how long, and how much memory.

The recording is a minute of voice and silence, most of which lies on no disk; the output, stereo at 48 kHz, has more
than 4 GiB and does. Stores one row for each program: how long it took, and the most memory that it had at a time, in
its first ten seconds and in all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

from rtsr.bench.record import store
from rtsr.bench.signal import voice
from rtsr.net.weights import Weights

HERE = Path(__file__).resolve().parent
RESULTS, CLI = HERE / "results", HERE.parent / "build" / "native" / "rtsr-cli"
RATE, CHANNELS, VOICE_S = 8_000, 2, 60
LOOK_S = 0.5


def write_recording(path: Path, hours: float) -> int:
    """Write the recording and return how many samples a channel has."""
    frames = round(hours * 3600 * RATE)
    spoken = np.repeat(voice(VOICE_S, RATE)[:frames, None], CHANNELS, axis=1)
    with soundfile.SoundFile(path, "w", RATE, CHANNELS, "PCM_16", format="RF64") as written:
        written.write(spoken)
    width, known = 2 * CHANNELS, len(spoken)
    with path.open("r+b") as file:
        head = bytearray(file.read(200))
        at = head.index(b"ds64") + 8
        content = path.stat().st_size - 8 + (frames - known) * width
        for place, value in ((0, content), (8, frames * width), (16, frames)):
            head[at + place : at + place + 8] = value.to_bytes(8, "little")
        at = head.index(b"data") + 4
        head[at : at + 4] = b"\xff\xff\xff\xff"
        file.seek(0)
        file.write(head)
        file.truncate(at + 4 + frames * width)
    return frames


def measure(command: list[str], hours: float) -> dict[str, Any]:
    """Run a command; returns its time, and its most resident memory in its first ten seconds and in all."""
    began, first_mb, most_mb = time.monotonic(), None, 0.0
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while running.poll() is None:
        text = Path(f"/proc/{running.pid}/status").read_text()
        if "VmHWM" in text:
            most_mb = int(text.split("VmHWM:")[1].split()[0]) / 1024
        if first_mb is None and time.monotonic() - began > 10:
            first_mb = most_mb
        time.sleep(LOOK_S)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {running.returncode}")
    return {"hours": hours, "wall_s": time.monotonic() - began, "after_10_s_mb": first_mb, "most_mb": most_mb}


def main(
    hours: Annotated[float, typer.Option(help="How long the recording is.")] = 10.0,
    rate: Annotated[int, typer.Option(help="Rate of the output in Hz.")] = 48_000,
    model: str = "voice-16k-small",
    save: Annotated[bool, typer.Option(help="Append the rows to bench/results/long.jsonl.")] = True,
) -> None:
    """Run both programs, print their rows and store them."""
    manifest = str(Weights.find(model).path)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.wav", Path(folder) / "out.wav"
        frames = write_recording(source, hours)
        words = ["--rate", str(rate), "--cutoff", "3400", str(source), str(target)]
        commands = {
            "rtsr enhance": [sys.executable, "-m", "rtsr", "enhance", "--model", model, *words],
            "rtsr-cli": [str(CLI), "--model", manifest, *words],
        }
        for name, command in commands.items():
            row = {"program": name, "model": model, **measure(command, hours)}
            made = soundfile.info(target)
            row |= {"output": made.format, "output_gib": target.stat().st_size / 2**30}
            print(row, flush=True)
            if made.frames != frames * rate // RATE:
                raise SystemExit(f"expected {frames * rate // RATE} samples, got {made.frames}")
            target.unlink()
            if save:
                store(RESULTS, "long", [row])


if __name__ == "__main__":
    typer.run(main)
