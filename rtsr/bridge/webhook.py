"""Reports of calls, handed to a URL as JSON. The event loop's."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

import aiohttp

from .log import log_event

MOST_WAITING = 256  # reports; the oldest goes where there is no room
LONGEST_S = 10.0  # for one request
TRIES = 3
PAUSE_S = 2.0  # before the second try; twice as long before the third


class Webhook:
    """Posts one report after the other; what cannot be delivered is counted in `failed` and logged."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.delivered = self.failed = 0
        self._waiting: deque[dict[str, Any]] = deque()
        self._work: asyncio.Task[None] | None = None

    def put(self, report: dict[str, Any]) -> None:
        """Queue a report; never waits."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.failed += 1
        self._waiting.append(report)
        if self._work is None or self._work.done():
            self._work = asyncio.ensure_future(self._deliver())

    async def _deliver(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LONGEST_S)) as client:
            while self._waiting:
                report = self._waiting.popleft()
                if await self._post(client, report):
                    self.delivered += 1
                else:
                    self.failed += 1
                    log_event("report not delivered", call=report.get("call"))

    async def _post(self, client: aiohttp.ClientSession, report: dict[str, Any]) -> bool:
        for number in range(TRIES):
            if number:
                await asyncio.sleep(PAUSE_S * number)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with client.post(self.url, json=report, allow_redirects=False) as reply:
                    if reply.status < 300:
                        return True
                    if reply.status < 500:  # another try would be refused as well
                        return False
        return False

    async def close(self, limit_s: float) -> None:
        """Deliver what waits, within a limit."""
        if self._work is not None:
            _, late = await asyncio.wait({self._work}, timeout=limit_s)
            for task in late:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
