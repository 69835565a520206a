"""Whether the machine itself stood still: witnesses that nothing of rtsr can hold up, one for each processor.

A virtual machine may be stopped for 10 ms by what it runs on, and a kernel may be deep in something else for as long.
No sound is whole then, whoever carries it. A witness has the highest priority there is, does nothing but sleep half a
millisecond and look at the clock, and asks nothing of rtsr or of a sound server: what it missed, no program could do.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

NAP_S = 0.0005
STILL_S = 0.0025  # what PipeWire gives its clients at a time; later, and it goes on without them
TRIES = 8
MOST = 100_000


def witness(processor: int) -> None:
    """From the first line on stdin to the second, watch; then print when the processor stood still, and for how long.

    A line each, in seconds of the monotonic clock, for what is longer than STILL_S; the first MOST of them.
    """
    os.sched_setaffinity(0, {processor})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
    gc.disable()
    print("there", flush=True)
    sys.stdin.readline()
    seen: list[tuple[float, float]] = []
    before = time.monotonic()
    while not select.select([sys.stdin], [], [], NAP_S)[0]:
        now = time.monotonic()
        if now - before > STILL_S and len(seen) < MOST:
            seen.append((before, now - before))
        before = now
    for began, lasted in seen:
        print(began, lasted)


@contextlib.contextmanager
def witnessed(seen: list[list[tuple[float, float]]]) -> Iterator[None]:
    """Append to `seen` when the machine stood still, and for how long, in order of time, one for each processor."""
    command, pipe = [sys.executable, __file__], subprocess.PIPE
    watching = [
        subprocess.Popen([*command, str(processor)], stdin=pipe, stdout=pipe, text=True)
        for processor in os.sched_getaffinity(0)
    ]
    for one in watching:
        assert one.stdout.readline() == "there\n"
    for one in watching:  # all at once: the start of the next would be seen by those before it
        one.stdin.write("watch\n")
        one.stdin.flush()
    try:
        yield
    finally:
        printed = "".join(one.communicate("enough")[0] for one in watching)
        found = [line.split() for line in printed.splitlines()]
        seen.append(sorted((float(began), float(lasted)) for began, lasted in found))


def undisturbed(attempt: Callable[[], None]) -> None:
    """Let an attempt pass; one that failed while the machine stood still does not count and is made again.

    Any other failure is one, at once.
    """
    stood_still: list[list[tuple[float, float]]] = []
    for _ in range(TRIES):
        try:
            with witnessed(stood_still):
                attempt()
            return
        except AssertionError as error:
            if not stood_still[-1]:
                raise
            longest_ms = 1000 * max(lasted for _, lasted in stood_still[-1])
            print(f"the machine stood still for {longest_ms:.1f} ms; again, as: {error}")
            last = error
    raise AssertionError(f"the machine stood still in each of {TRIES} attempts") from last


if __name__ == "__main__":
    witness(int(sys.argv[1]))
