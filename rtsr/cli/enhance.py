"""`rtsr enhance`: a file, a folder, or raw samples on a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..backend import Backend, load
from ..dsp.windows import FloatArray
from ..enhance import Aligned, EnhanceSettings, enhance_blocks, enhance_file
from ..errors import InvalidSetting, RtsrError
from . import BackendName, CutoffText, Model, app, errors, fail, parse_cutoff, printable
from .archive import RayOptions, enhance_by_ray
from .options import grouped

PIPE = "-"
PIPE_BLOCK_MS = 10
FULL_SCALE = 32768


@dataclass(frozen=True)
class OutputOptions:
    """What the output is to be."""

    rate: Annotated[int | None, typer.Option(help="Rate of the output in Hz; the model's if not given.")] = None
    cutoff: CutoffText = "auto"
    gain: Annotated[float, typer.Option(help="Level of the generated band in dB; -inf leaves it out.")] = 0.0


@dataclass(frozen=True)
class PcmOptions:
    """What raw PCM on stdin is."""

    input_rate: Annotated[int, typer.Option(help="Rate of raw PCM on stdin in Hz.")] = 8000
    channels: Annotated[int, typer.Option(min=1, max=32, help="Channels of raw PCM on stdin.")] = 1


@app.command()
@grouped
def enhance(
    source: Annotated[str, typer.Argument(metavar="IN", help="A file, a folder, - for raw PCM, or with --ray a URL.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="As IN.")],
    output: OutputOptions,
    pcm: PcmOptions,
    ray: RayOptions,
    model: Model = "voice-16k",
    backend: BackendName = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite what exists.")] = False,
) -> None:
    """Restore the missing band of recordings; the output is time-aligned with the input and as long.

    Raw PCM is signed 16 bit, little endian, interleaved.

    Examples:

        rtsr enhance call.wav call-wide.wav

        rtsr enhance calls/ wide/ --cutoff 3400

        rtsr enhance s3://bucket/calls s3://bucket/wide --ray

        arecord -t raw -f S16_LE -r 8000 | rtsr enhance - - | aplay -t raw -f S16_LE -r 16000
    """
    if Path(model).is_dir():
        from ..runs import is_baseline

        if is_baseline(Path(model)):
            _enhance_offline(model, Path(source), Path(target), force)
            return
    opened = load(model, backend)
    settings = EnhanceSettings(output.rate, parse_cutoff(output.cutoff), output.gain)
    Aligned(opened, opened.spec.rate, 1, settings)  # a wrong setting is one error, not one for every file
    if ray.ray:
        enhance_by_ray(source, target, (model, backend), settings, ray.ray_address, force=force)
        return
    if "://" in source + target:
        raise InvalidSetting(f"expected paths, got {source} and {target}: URLs need --ray")
    if PIPE in (source, target):
        if (source, target) != (PIPE, PIPE):
            raise InvalidSetting(f"expected - for both IN and OUT or for neither, got {source} and {target}")
        _pipe(sys.stdin.buffer, sys.stdout.buffer, opened, pcm, settings)
        return
    jobs = _jobs(Path(source), Path(target))
    failed = _enhance_all(jobs, opened, settings, force)
    if failed and len(jobs) > 1:
        fail(f"{failed} of {len(jobs)} files failed")
    if failed:
        raise typer.Exit(1)


def _enhance_offline(run: str, source: Path, target: Path, force: bool) -> None:
    """Let a published network that `rtsr train --model` trained restore files, each as a whole."""
    from ..eval.opening import open_baseline
    from ..io.file import open_to_read, open_to_write

    network = open_baseline(run)
    for path, out in _jobs(source, target):
        with open_to_read(path) as opened:
            if opened.samplerate * network.factor != network.rate:
                raise InvalidSetting(
                    f"{path}: {network.name} makes {network.rate} Hz of {network.rate / network.factor:.0f} Hz alone, "
                    f"got {opened.samplerate} Hz"
                )
            channels = opened.read(dtype="float32", always_2d=True).T
            wide = np.stack([network.restore_signal(channel) for channel in channels], axis=1)
            with open_to_write(out, network.rate, len(channels), opened.subtype, len(wide), force=force) as written:
                written.write(wide)


def _jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Return what to read and what to write; a folder keeps its shape."""
    from ..io.file import find_audio

    if not source.is_dir():
        return [(source, target / source.name if target.is_dir() else target)]
    if target.is_file():
        raise InvalidSetting(f"{source} is a folder, so expected a folder to write to, got the file {target}")
    return [(path, target / path.relative_to(source)) for path in find_audio(source)]


def _enhance_all(jobs: list[tuple[Path, Path]], model: Backend, settings: EnhanceSettings, force: bool) -> int:
    """Enhance file after file; a bad one is reported and the rest goes on. Returns how many failed."""
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        for number, (source, target) in enumerate(jobs, 1):
            task = progress.add_task(f"{number}/{len(jobs)} {escape(printable(source.name))}")
            try:
                enhance_file(
                    source,
                    target,
                    model,
                    settings,
                    force=force,
                    progress=lambda done, total, task=task: progress.update(task, completed=done, total=total),  # type: ignore[misc]
                )
            except RtsrError as error:  # of a setting only the file's own rate is left to be wrong
                fail(f"{source}: {error}" if isinstance(error, InvalidSetting) else str(error))
                failed += 1
                progress.remove_task(task)
                continue
            if len(jobs) > 1:
                progress.remove_task(task)
    return failed


def _pipe(stdin: BinaryIO, stdout: BinaryIO, model: Backend, pcm: PcmOptions, settings: EnhanceSettings) -> None:
    """Move raw PCM through the stream as it comes; ends quietly when the reader goes away."""
    rate, channels = pcm.input_rate, pcm.channels
    try:
        for block in enhance_blocks(_raw_blocks(stdin, rate, channels), model, rate, channels, settings):
            stdout.write(np.clip(block * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())
            stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()  # the interpreter would complain of the closed pipe once more on its way out


def _raw_blocks(stdin: BinaryIO, rate: int, channels: int) -> Iterator[FloatArray]:
    """Yield blocks (samples, channels); a last, torn sample is dropped."""
    width = 2 * channels
    wanted = max(1, rate * PIPE_BLOCK_MS // 1000) * width
    while raw := stdin.read(wanted):
        whole = raw[: len(raw) // width * width]
        yield np.frombuffer(whole, "<i2").reshape(-1, channels).astype(np.float32) / np.float32(FULL_SCALE)
