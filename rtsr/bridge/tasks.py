"""Coroutines that nobody waits for at once: kept until they have ended, and what they raise is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("rtsr.bridge")


class Tasks:
    """Those of one owner; `about` names them in the log. Used by the event loop."""

    def __init__(self, about: str) -> None:
        self._about = about
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let a coroutine run."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception():
            log.error("a task of %s failed", self._about, exc_info=task.exception())

    async def finish(self, limit_s: float | None = None) -> None:
        """Wait for all, those that others start too; after `limit_s` seconds, cancel what still runs."""
        try:
            async with asyncio.timeout(limit_s):
                while self._running:
                    await asyncio.wait(self._running)
        except TimeoutError:
            late = tuple(self._running)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
