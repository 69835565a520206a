"""The folder of a training run: its checkpoint, in one file or more, and its record."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InvalidSetting

if TYPE_CHECKING:
    import torch

CHECKPOINT = "checkpoint.pt"
PARTS = "parts"  # in a checkpoint: names of what is in files of their own, and these
RECORD = "run.json"


def write_checkpoint(folder: Path, about: dict[str, Any], parts: dict[str, Any]) -> None:
    """Write what a run is, its parts in files of their own; `about` has its step. Needs torch.

    Each gets its name when it is whole, the file that names the others last: a crash leaves the last checkpoint.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    names = {part: f"{Path(CHECKPOINT).stem}-{about['step']}-{part}.pt" for part in parts}
    files = {name: parts[part] for part, name in names.items()} | {CHECKPOINT: {**about, PARTS: names}}
    for name, content in files.items():
        temporary = folder / f"{name}.new"
        torch.save(content, temporary)
        temporary.rename(folder / name)
    for old in folder.glob(f"{Path(CHECKPOINT).stem}-*.pt"):
        if old.name not in names.values():
            old.unlink()


def read_checkpoint(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return what a run saved last; raises `InvalidSetting` where there is none, or it is broken. Needs torch."""
    import torch

    path = folder / CHECKPOINT
    if not path.is_file():
        raise InvalidSetting(f"expected a folder of a training run with {CHECKPOINT}, got {folder}")
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        for part, name in state.get(PARTS, {}).items():
            state[part] = torch.load(folder / Path(name).name, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise InvalidSetting(f"{path} is broken ({reason}): remove it, or train with --fresh") from error
    return state


def is_baseline(folder: Path) -> bool:
    """Whether this is the folder of a published network's training run."""
    return (folder / RECORD).is_file() and "baseline" in read_record(folder)


def read_record(folder: Path) -> dict[str, Any]:
    """Return what a run wrote about itself; raises `InvalidSetting` where there is nothing, or it is broken."""
    path = folder / RECORD
    if not path.is_file():
        raise InvalidSetting(f"expected a folder of a training run with {RECORD}, got {folder}")
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise InvalidSetting(f"{path} is no record of a training run: {error}") from error
    if not isinstance(record, dict):
        raise InvalidSetting(f"{path} is no record of a training run: expected an object, got {type(record).__name__}")
    return record
