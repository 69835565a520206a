"""Whether the machine itself stood still: witnesses that nothing of rtsr can hold up, one for each processor.

A virtual machine may be stopped for 10 ms by what it runs on, and a kernel may be deep in something else for as long.
No sound is whole then, whoever carries it. A witness has the highest priority there is, does nothing but sleep half a
millisecond and look at the clock, and asks nothing of rtsr or of a sound server: what it missed, no program could do.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

NAP_S = 0.0005
STILL_S = 0.004  # longer than that is no matter of scheduling, and half of what `rtsr live` bears
TRIES = 5


def _witness(processor: int, told: Connection) -> None:
    """Tell, once asked, of the longest time that this processor stood still, in seconds."""
    os.sched_setaffinity(0, {processor})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
    gc.disable()
    told.send(None)
    longest, before = 0.0, time.monotonic()
    while not told.poll():
        time.sleep(NAP_S)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    told.send(longest)


@contextlib.contextmanager
def witnessed(seen: list[float]) -> Iterator[None]:
    """Append to `seen` how long the machine stood still at a time, at most, in seconds."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for processor in os.sched_getaffinity(0):
        ours, theirs = spawn.Pipe()
        processes.append(spawn.Process(target=_witness, args=(processor, theirs)))
        processes[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    try:
        yield
    finally:
        for pipe in pipes:
            pipe.send(None)
        seen.append(max(pipe.recv() for pipe in pipes))
        for process in processes:
            process.join()


def undisturbed(attempt: Callable[[], None]) -> None:
    """Let an attempt pass; one that failed while the machine stood still does not count and is made again.

    Any other failure is one, at once.
    """
    stood_still: list[float] = []
    for _ in range(TRIES):
        try:
            with witnessed(stood_still):
                attempt()
            return
        except AssertionError as error:
            if stood_still[-1] < STILL_S:
                raise
            print(f"the machine stood still for {1000 * stood_still[-1]:.1f} ms; again, as: {error}")
            last = error
    raise AssertionError(f"the machine stood still in each of {TRIES} attempts") from last
