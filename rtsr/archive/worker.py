"""One file of an archive: fetched, enhanced by the code of every other file, published under its name."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import soundfile

from ..backend import Backend, load
from ..enhance import EnhanceSettings, enhance_file
from .lease import check
from .manifest import DONE, FAILED, Entry
from .store import Store


@dataclass(frozen=True, slots=True)
class Archive:
    """What every worker has to know: paths or URLs of two folders, the model, the backend's name and the settings.

    `lease`: the name of the run's lease on the target, if it has one; without it nothing is published.
    """

    source: str
    target: str
    model: str
    backend: str
    settings: EnhanceSettings
    lease: str = ""


class Worker:
    """A model and two stores, opened once in a process of their own; Ray Data calls it with one file after another."""

    def __init__(self, archive: Archive) -> None:
        self.settings, self.lease = archive.settings, archive.lease
        self.model: Backend = load(archive.model, archive.backend)
        self.source, self.target = Store(archive.source), Store(archive.target)

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """Do the file of an entry and return the entry, both as JSON: a name may be no text that Arrow can hold."""
        entry = Entry(**json.loads(row["entry"]))
        with tempfile.TemporaryDirectory(prefix="rtsr-") as folder:
            inside = Path(folder)
            try:
                self._enhance(entry, inside)
            except Exception as error:  # whatever one file does, it is listed, and the others go on
                entry.status, entry.error = FAILED, self._words(error, inside)
        return {"entry": json.dumps({name: getattr(entry, name) for name in Entry.__slots__})}

    def _enhance(self, entry: Entry, folder: Path) -> None:
        """Make the output, unless a worker that was killed has published it, and describe it."""
        received, made = folder / "in", folder / "out"
        received.mkdir()
        made.mkdir()
        if self.target.exists(entry.file):
            output = self.target.fetch(entry.file, made)
        else:
            source = self.source.fetch(entry.file, received)
            output = self.target.place(entry.file, made)
            enhance_file(source, output, self.model, self.settings)
            check(self.target, self.lease)
            self.target.publish(output, entry.file)
        with output.open("rb") as file:
            entry.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        entry.output_bytes, entry.seconds = output.stat().st_size, soundfile.info(output).duration
        entry.status, entry.error = DONE, ""

    def _words(self, error: Exception, folder: Path) -> str:
        """Return an error in words, with the folders that a user knows."""
        text = str(error).replace(f"{folder}/in", self.source.url).replace(f"{folder}/out", self.target.url)
        return text or type(error).__name__
