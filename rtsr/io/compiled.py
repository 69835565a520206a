"""numba's cache of compiled functions, where one file compiles what another holds."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def drop_stale(file: str, *others: str) -> None:
    """Remove what is cached of the functions in `file` where one of the other files is newer; call it before them.

    numba compares the time of a function's own file alone; constants and functions of other files are compiled in. What
    cannot be removed lies where numba, which asks to write, does not look.
    """
    newest = max(Path(other).stat().st_mtime for other in others)
    for index in (Path(file).parent / "__pycache__").glob(f"{Path(file).stem}.*.nbi"):
        if index.stat().st_mtime <= newest:
            with suppress(OSError):
                index.unlink()
