"""An archive from beginning to end: what is to be done is planned, Ray Data has it done, the manifest says what was."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import InvalidAudio, InvalidSetting, MissingDependency
from ..io.file import FORMATS
from ..net.weights import Weights
from ..ray_cluster import join
from .lease import held
from .manifest import DONE, FAILED, NAME, REFUSED, Entry, Manifest, open_manifest
from .store import Store
from .worker import Archive, Worker

WRITE_EVERY_S = 10.0
MOST_BLOCKS = 2_000  # of Ray Data; a larger archive has several files in each
OBJECT_STORE_BYTES = 100 << 20  # names pass through it, and no sound
TRIES = 2  # more, of a file at which a worker's process ended


def enhance_archive(
    archive: Archive,
    address: str | None,
    *,
    force: bool,
    done: Callable[[Entry, Manifest], None],
    waits: Callable[[str], None],
) -> tuple[Manifest, list[Entry]]:
    """Enhance all that is not done; returns the manifest and what this run had to do.

    `address`: of a Ray cluster, or None for one on this machine that ends with the run. `done` hears of each file,
    `waits` of why nothing happens yet. The manifest is written before the first file, every `WRITE_EVERY_S`, and at the
    end however it comes, unless another run has taken over. Raises `InvalidAudio`, `InvalidSetting`,
    `MissingDependency`, and `AlreadyRunning` where another run writes to the same folder; a file that fails is an entry
    and no error.
    """
    source, target = Store(archive.source), Store(archive.target)
    if f"{target.root}/".startswith(f"{source.root}/") and source.scheme == target.scheme:
        raise InvalidSetting(f"expected a folder outside {source.url} to write to, got {target.url}")
    sources = source.audio()
    if not sources:
        raise InvalidAudio(f"{source.url}: no such folder, or it holds no audio ({', '.join(FORMATS)})")
    with held(target, waits) as lease:
        manifest, todo = _plan(archive, target, sources, force)

        def write() -> float:
            lease.check()
            target.write(manifest.encode(), NAME)
            return time.monotonic()

        written_s = write()
        try:
            if todo:
                with cluster(address) as cores:
                    for entry in _results(replace(archive, lease=lease.name), todo, cores):
                        manifest.entries[entry.file] = entry
                        done(entry, manifest)
                        if time.monotonic() - written_s > WRITE_EVERY_S:
                            written_s = write()
        finally:
            write()
    return manifest, [manifest.entries[entry.file] for entry in todo]


def _plan(archive: Archive, target: Store, sources: dict[str, int], force: bool) -> tuple[Manifest, list[Entry]]:
    """Return the manifest and what is to be done, after what is in the way was removed where that was asked for."""
    weights = Weights.find(archive.model).manifest["files"]["safetensors"]["sha256"]
    settings = {"source": archive.source, "model": archive.model, "weights": weights}
    settings |= {name: str(value) for name, value in asdict(archive.settings).items()}
    target.sweep()
    outputs = target.sizes()
    if force:  # before the manifest is written: whenever this ends, what is there is no output of the new settings
        for name in [name for name in sources if name in outputs]:
            target.remove(name)
            del outputs[name]
    content = None if force else target.read(NAME)
    manifest = open_manifest(content, settings, f"{target.url.rstrip('/')}/{NAME}")
    return manifest, manifest.plan(sources, outputs)


@contextmanager
def cluster(address: str | None) -> Iterator[int]:
    """Join a Ray cluster, or start one on this machine and end it afterwards; yields how many cores it has.

    Neither usage statistics nor a dashboard. Raises `MissingDependency`, and `InvalidSetting` where no cluster answers.
    """
    os.environ.setdefault("RAY_worker_niceness", "0")  # of a cluster that starts here; Ray's own choice is 15
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        join(address, log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
        import ray.data
    except ImportError as error:
        raise MissingDependency(error.name or "ray", "archive", "rtsr enhance --ray") from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # a file that failed is in the manifest
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


def _results(archive: Archive, todo: list[Entry], cores: int) -> Iterator[Entry]:
    """Yield each entry when it is done or has failed; inside `cluster`. Needs `ray.data`."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    workers = min(cores, len(todo))
    rows = [{"entry": json.dumps(asdict(entry))} for entry in todo]
    results = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS)).map(
        Worker,  # type: ignore[arg-type]  # a class that is called
        fn_constructor_args=(archive,),
        compute=ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=1,
        ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": TRIES},
    )
    left = {entry.file: entry for entry in todo}
    for batch in results.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        for line in batch["entry"]:
            entry = Entry(**json.loads(line))
            if left.pop(entry.file, None):
                yield entry
    for entry in left.values():
        entry.status, entry.error = FAILED, "the process of its worker ended: is its memory enough? Run again to retry"
        yield entry


def failures(manifest: Manifest) -> list[Entry]:
    """Return what failed, and what was refused because its output was there before."""
    return manifest.of(FAILED, REFUSED)


def seconds_done(entries: list[Entry]) -> float:
    """Return how long the recordings are that are done."""
    return sum(entry.seconds for entry in entries if entry.status == DONE)


def absolute(folder: str) -> str:
    """Return a path that means the same to every process; a URL as it is."""
    return folder if "://" in folder else str(Path(folder).absolute())
