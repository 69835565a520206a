"""The manifest of an archive: which files there are, which are done, and which failed and why.

It lies beside the outputs and is written before the first of them. So an output that is there is known to be this
archive's own, whenever a run was killed: it was planned while no output of its name existed, and outputs appear whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import InvalidSetting

NAME = "rtsr-manifest.jsonl"
FORMAT = 1
PLANNED, DONE, FAILED, REFUSED = "planned", "done", "failed", "refused"


@dataclass(slots=True)
class Entry:
    """A file: its name in both folders, what became of it, and then its output or the error.

    `refused`: an output of this name was there before, and is not this archive's.
    """

    file: str
    status: str = PLANNED
    source_bytes: int = 0
    output_bytes: int = 0
    seconds: float = 0.0
    sha256: str = ""
    error: str = ""


@dataclass(slots=True)
class Manifest:
    """The settings of an archive, and an entry for each file, by name."""

    settings: dict[str, Any]
    entries: dict[str, Entry] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return it as lines of JSON: the settings, then a file a line."""
        head = {"rtsr_manifest": FORMAT, "settings": self.settings}
        lines = [head, *(asdict(self.entries[name]) for name in sorted(self.entries))]
        return "".join(json.dumps(line) + "\n" for line in lines).encode()

    @classmethod
    def decode(cls, content: bytes, where: str) -> Manifest:
        """Read one; raises `InvalidSetting` for what is none."""
        try:
            head, *lines = [json.loads(line) for line in content.splitlines()]
            if head["rtsr_manifest"] != FORMAT:
                raise ValueError(f"format {head['rtsr_manifest']}")
            entries = [Entry(**line) for line in lines]
            return cls(dict(head["settings"]), {entry.file: entry for entry in entries})
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidSetting(f"{where} is no manifest ({error}): remove it, or pass --force") from None

    def plan(self, sources: dict[str, int], outputs: dict[str, int]) -> list[Entry]:
        """Take in which sources and outputs there are (name and bytes); returns what is to be done, largest first."""
        for name, size in sources.items():
            entry = self.entries.get(name)
            if entry is None:
                self.entries[name] = entry = Entry(name, REFUSED if name in outputs else PLANNED)
                entry.error = "the output exists: choose another folder or pass --force" if name in outputs else ""
            elif entry.status == FAILED or (entry.status in (DONE, REFUSED) and name not in outputs):
                entry = self.entries[name] = Entry(name)
            entry.source_bytes = size
        for name, entry in list(self.entries.items()):
            if entry.status != DONE and name not in sources:
                del self.entries[name]
        return sorted(self.of(PLANNED), key=lambda entry: (-entry.source_bytes, entry.file))

    def of(self, *statuses: str) -> list[Entry]:
        """Return the entries of a status, in the order of their names."""
        return [self.entries[name] for name in sorted(self.entries) if self.entries[name].status in statuses]


def open_manifest(content: bytes | None, settings: dict[str, Any], where: str) -> Manifest:
    """Return the manifest of an archive that goes on, or a new one; raises `InvalidSetting` for other settings."""
    if content is None:
        return Manifest(settings)
    known = Manifest.decode(content, where)
    for name, value in settings.items():
        if known.settings.get(name) != value:
            raise InvalidSetting(
                f"{where} was begun with {name} {known.settings.get(name)}, got {value}: "
                "choose another folder, or pass --force to do all again"
            )
    return known
