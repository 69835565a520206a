"""Coroutines that nobody waits for at once: waited for at the end, within a limit, and logged where they fail."""

from __future__ import annotations

import asyncio

import pytest

from rtsr.bridge.tasks import Tasks

pytestmark = pytest.mark.realtime


def test_what_others_start_is_waited_for_too():
    done: list[str] = []

    async def run() -> None:
        tasks = Tasks("a test")

        async def second() -> None:
            await asyncio.sleep(0)
            done.append("second")

        async def first() -> None:
            await asyncio.sleep(0)
            tasks.start(second())
            done.append("first")

        tasks.start(first())
        await tasks.finish()

    asyncio.run(asyncio.wait_for(run(), 10))
    assert done == ["first", "second"]


def test_after_the_limit_what_runs_is_cancelled():
    async def run() -> bool:
        tasks, cancelled = Tasks("a test"), asyncio.Event()

        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        tasks.start(forever())
        await tasks.finish(0.05)
        return cancelled.is_set()

    assert asyncio.run(asyncio.wait_for(run(), 10))


def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture):
    async def run() -> None:
        tasks = Tasks("a test")

        async def fail() -> None:
            raise ZeroDivisionError

        tasks.start(fail())
        await tasks.finish()

    asyncio.run(run())
    assert "a task of a test failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
