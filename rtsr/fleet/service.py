"""A fleet as a command runs it: Ray, the gateway on it, and the end of both."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

import ray
from ray import serve

from ..bridge.config import BridgeSettings
from ..bridge.config import make_settings as make_bridge_settings
from ..bridge.listener import bind
from ..bridge.log import log_event, to_stderr
from ..bridge.sip.paths import Paths
from ..bridge.sip.settings import read_tables
from ..ray_cluster import join
from .config import check_bridge, make_settings
from .gateway import deploy
from .measure import measure_together
from .nodes import NAMESPACE, VOICES, end_all

END_S = 20.0
__all__ = ["VOICES", "make_bridge_settings", "measured", "run"]  # what the command line uses
SYSTEM = {"worker_niceness": 0}  # Ray's own default of 15 would make the clocks of bridges late


def run(config: Path | None, given: dict[str, Any], bridge_given: dict[str, Any]) -> None:
    """Run a fleet until SIGTERM or SIGINT; the main thread's."""
    settings, bridge = make_settings(config, given), make_bridge_settings(config, bridge_given)
    check_bridge(bridge)
    to_stderr()
    ending = threading.Event()
    log_event("preparing", workers=settings.workers, voices=settings.voices or "measured")
    if settings.address is None:
        asyncio.run(check_free(bridge))  # before Ray is started, which takes seconds
        start_here(settings.voices or measured(bridge, settings.workers))
    else:
        join(settings.address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        log_event("listening", url=deploy(settings, bridge))
        while not ending.wait(1.0):
            pass
    finally:
        log_event("stopping")
        end = threading.Thread(target=_end, daemon=True)
        end.start()
        end.join(END_S)
        if end.is_alive():  # Ray waits for a part of it that got the same signal
            log_event("stopped", why="Ray did not end in time")
            os._exit(1)
        log_event("stopped")


async def check_free(bridge: BridgeSettings) -> None:
    """Raise `InvalidSetting` where the gateway could not listen."""
    for one in bind(bridge.listen):
        one.close()
    for table in read_tables(bridge.sip):
        paths = Paths(table.transport, lambda *_: None, lambda _: False)
        await paths.open(table.listen)
        await paths.close()


def _end() -> None:
    serve.shutdown()
    end_all()
    ray.shutdown()


def start_here(voices: int) -> None:
    """Start a Ray cluster of this machine alone; Ray's own ports ask for its token."""
    join(
        None,
        namespace=NAMESPACE,
        resources={VOICES: voices},
        include_dashboard=False,
        _system_config=SYSTEM,
        log_to_driver=True,
        logging_level=logging.ERROR,
    )


def measured(bridge: BridgeSettings, workers: int) -> int:
    """Return how many calls this machine carries with so many bridges at once; takes seconds."""
    if bridge.calls is not None:
        return workers * bridge.calls
    return workers * min(measure_together(bridge, workers))
