"""`python -m bench.archive`: an archive by `rtsr enhance --ray`, beside plain processes, and killed in the middle.

The archive is speech at 8 kHz: from the folder shared/speech beside the checkout where there is one, otherwise the
bundled recording. First as many plain `rtsr enhance` processes as there are cores, each with its share of the files;
then the same by Ray; then by Ray once more, killed with SIGKILL when `--kill-at` of the files are done, and started
again. All times are of whole commands, with their start. Stores one row. With --check it ends with 1 where Ray has less
than 0.85 of the processes' throughput, or an output differs or was made twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

from bench.bars import finish
from rtsr.archive.manifest import NAME
from rtsr.bench.record import cores

ROOT = Path(__file__).resolve().parents[1]
SPEECH, PROMPT = ROOT.parent / "shared" / "speech" / "test", ROOT / "rtsr" / "data" / "demo" / "prompt-16k.flac"
RATE, FILE_S = 8_000, 120  # of each recording
LEAST_OF_PROCESSES = 0.85


def write_archive(folder: Path, hours: float) -> float:
    """Write recordings of so long in all, in two folders; returns their seconds."""
    found = sorted(SPEECH.rglob("*.flac")) or [PROMPT]
    spoken = np.concatenate([half(path) for path in found])
    files = max(2 * cores(), round(hours * 3600 / FILE_S))
    length = round(hours * 3600 / files * RATE)
    for number in range(files):
        path = folder / f"{number % 2}" / f"{number:04}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        at = np.arange(number * length, (number + 1) * length) % len(spoken)
        soundfile.write(path, spoken[at], RATE)
    return files * length / RATE


def half(path: Path) -> np.ndarray:
    """Return a recording at 8 kHz, by a filter of its mean over two samples: what it sounds like does not matter."""
    samples, rate = soundfile.read(path, dtype="float32")
    step = rate // RATE
    whole = len(samples) // step * step
    return samples[:whole].reshape(-1, step).mean(1)


def enhance(source: Path, target: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the command."""
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-m", "rtsr", "enhance", str(source), str(target), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet)


def end_well(running: list[subprocess.Popen[bytes]]) -> None:
    """Wait for commands; ends the benchmark where one failed."""
    if codes := [code for one in running if (code := one.wait())]:
        raise SystemExit(f"rtsr enhance ended with {codes}")


def by_processes(source: Path, target: Path, folder: Path, words: list[str]) -> float:
    """Have each core's process do its share; returns the seconds that passed."""
    shares = [folder / f"share{number}" for number in range(cores())]
    for number, path in enumerate(sorted(source.rglob("*.wav"))):
        place = shares[number % len(shares)] / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, place)
    began_s = time.monotonic()
    end_well([enhance(share, target, *words) for share in shares])
    return time.monotonic() - began_s


def killed_and_again(source: Path, target: Path, words: list[str], kill_at: float) -> tuple[int, int]:
    """Kill a run by Ray when a part of the files is done, and start it again; returns how many were, and made twice."""
    running, files = enhance(source, target, "--ray", *words), len(list(source.rglob("*.wav")))
    while len(list(target.rglob("*.wav"))) < kill_at * files:
        if running.poll() is not None:
            raise SystemExit("the run by Ray ended before it was to be killed")
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    times = {path: path.stat().st_mtime_ns for path in target.rglob("*.wav")}
    end_well([enhance(source, target, "--ray", *words)])
    return len(times), sum(path.stat().st_mtime_ns != then for path, then in times.items())


def differing(one: Path, other: Path) -> int:
    """Count the files that are in one folder alone, or not the same in both; a manifest does not count."""
    names = {p.relative_to(folder) for folder in (one, other) for p in folder.rglob("*") if p.is_file()}
    names -= {Path(NAME)}
    both = [name for name in names if (one / name).is_file() and (other / name).is_file()]
    return len(names) - sum((one / name).read_bytes() == (other / name).read_bytes() for name in both)


def main(
    hours: Annotated[float, typer.Option(help="How long the archive is.")] = 2.0,
    kill_at: Annotated[
        float, typer.Option(help="The part of the files after which a run is killed; 0: none is.")
    ] = 0.4,
    model: str = "voice-16k",
    backend: str = "auto",
    check: Annotated[bool, typer.Option("--check", help="End with 1 where a figure is over its bar.")] = False,
    save: Annotated[bool, typer.Option(help="Append the row to bench/results/archive.jsonl.")] = True,
) -> None:
    """Measure, print and store."""
    words = ["--model", model, "--backend", backend]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "calls"
        seconds = write_archive(source, hours)
        row: dict[str, Any] = {"hours": seconds / 3600, "model": model, "backend": backend, "workers": cores()}
        row["processes_s"] = by_processes(source, folder / "plain", folder, words)
        began_s = time.monotonic()
        end_well([enhance(source, folder / "ray", "--ray", *words)])
        row["ray_s"] = time.monotonic() - began_s
        row["of_processes"] = round(row["processes_s"] / row["ray_s"], 3)
        row["differing"] = differing(folder / "plain", folder / "ray")
        if kill_at:
            shutil.rmtree(folder / "ray")
            row["when_killed"], row["made_twice"] = killed_and_again(source, folder / "again", words, kill_at)
            row["differing"] += differing(folder / "plain", folder / "again")
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    failed = [f"{key} is {row[key]}, expected 0" for key in ("differing", "made_twice") if row.get(key)]
    if not row["of_processes"] >= LEAST_OF_PROCESSES:
        failed.append(f"of_processes is {row['of_processes']:g}, at least {LEAST_OF_PROCESSES:g}")
    finish("archive", [row], failed, check, save)


if __name__ == "__main__":
    typer.run(main)
