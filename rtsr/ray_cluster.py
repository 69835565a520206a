"""A Ray cluster that is joined, or started on this machine alone."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from .errors import InvalidSetting

CONNECT_S, AGAIN_S = 10.0, 0.2  # that a cluster may take to start


def join(address: str | None, **options: Any) -> None:
    """Join the cluster at HOST:PORT or `auto`, or start one on this machine alone; `options` are those of `ray.init`.

    No usage statistics are sent where the environment does not ask for them. Raises `ImportError` without Ray, and
    `InvalidSetting` where no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        if address and address != "auto":
            _check(address)
        ray.init(address=address or "local", **options)  # "local" and not None: that joins whichever was last started
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidSetting(
            f"expected the address of a Ray cluster that runs (ray start --head begins one), got {address}: {error}"
        ) from error


def _check(address: str) -> None:
    """Raise `OSError` or `ValueError` where nothing listens; Ray tries for a minute and then ends the process."""
    host, _, port = address.rpartition(":")
    ends_s = time.monotonic() + CONNECT_S
    while True:
        try:
            return socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        except ConnectionRefusedError:
            if time.monotonic() > ends_s:
                raise
        time.sleep(AGAIN_S)
