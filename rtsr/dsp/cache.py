"""Where numba keeps what it compiles, on a machine that lets it write neither beside the code nor in a home folder."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from numba import njit

from ..errors import InvalidSetting

VARIABLE = "NUMBA_CACHE_DIR"


def _probe() -> None: ...


def place_cache() -> None:
    """Give numba a temporary folder where it has no other, for this process and its children; before any `njit`.

    Raises `InvalidSetting` where no folder can be written at all.
    """
    try:
        njit(cache=True)(_probe)
        return
    except RuntimeError:  # numba's "no locator available"
        pass
    try:
        folder = tempfile.mkdtemp(prefix="rtsr-numba-")
    except OSError as error:
        raise InvalidSetting(f"expected a folder that numba can write, got none ({error}): set {VARIABLE}") from error
    from numba.core import config

    os.environ[VARIABLE] = folder
    config.reload_config()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
