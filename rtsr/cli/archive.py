"""`rtsr enhance --ray`: its options, its progress, and what it says at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..enhance import EnhanceSettings
from ..errors import MissingDependency
from . import errors, fail, printable

if TYPE_CHECKING:
    from ..archive.manifest import Entry, Manifest

MOST_SHOWN = 20  # failures; the manifest has all


@dataclass(frozen=True)
class RayOptions:
    """Whether Ray does the work, and which cluster."""

    ray: Annotated[
        bool, typer.Option("--ray", help="Folders and URLs (s3://...) through Ray Data; goes on where it was ended.")
    ] = False
    ray_address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="Ray cluster to join with --ray; one on this machine if not given."),
    ] = None


def enhance_by_ray(
    source: str, target: str, names: tuple[str, str], settings: EnhanceSettings, address: str | None, *, force: bool
) -> None:
    """Enhance a folder by Ray Data with the model and backend of `names`; exits with 1 where files failed."""
    try:
        from ..archive.manifest import NAME
        from ..archive.run import absolute, enhance_archive, failures, seconds_done
        from ..archive.worker import Archive
    except ImportError as error:
        raise MissingDependency(error.name or "ray", "archive", "rtsr enhance --ray") from error
    archive = Archive(absolute(source), absolute(target), *names, settings)
    began_s, shown = time.monotonic(), 0
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("starting Ray", total=None)
        finished = made = 0

        def done(entry: Entry, manifest: Manifest) -> None:
            nonlocal finished, made, shown
            finished += 1
            if finished == 1:
                progress.update(task, total=sum(e.source_bytes for e in manifest.entries.values()))
                before = [e for e in manifest.of("done", "refused") if e.file != entry.file]
                made = sum(e.status == "done" for e in before)
                progress.advance(task, sum(e.source_bytes for e in before))
            made += entry.status == "done"
            progress.update(task, description=f"{made}/{len(manifest.entries)} files")
            progress.advance(task, entry.source_bytes)
            if entry.error and shown < MOST_SHOWN:
                shown += 1
                fail(entry.error if entry.file in entry.error else f"{entry.file}: {entry.error}")

        def waits(why: str) -> None:
            errors.print(printable(why), markup=False, highlight=False, soft_wrap=True)

        manifest, worked = enhance_archive(archive, address, force=force, done=done, waits=waits)
    took_s, failed, seconds = time.monotonic() - began_s, failures(manifest), seconds_done(worked)
    made = sum(entry.status == "done" for entry in worked)
    before = len(manifest.of("done")) - made
    typer.echo(
        f"{made} files enhanced ({seconds / 3600:.2f} h in {took_s:.0f} s, {seconds / took_s:.0f} times real time), "
        f"{before} were done before, {len(failed)} failed; {printable(target.rstrip('/'))}/{NAME} lists all"
    )
    for entry in [entry for entry in failed if entry.status == "refused"][: MOST_SHOWN - shown]:
        fail(f"{entry.file}: {entry.error}")
    if failed:
        fail(f"{len(failed)} of {len(manifest.entries)} files failed")
        raise typer.Exit(1)
