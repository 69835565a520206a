"""Whether the machine itself stalled: two processes for each processor that only sleep and look at the clock.

A virtual machine may be stopped for 10 ms by what it runs on, and a kernel may be deep in something else for as long.
No sound is whole then, whoever carries it. The first monitor has the highest priority there is: what it missed, no
program could do. The second has the niceness of a sound server's main thread and of PortAudio's threads, which pass
every block on: where it had to wait for longer than a block lasts, other work kept these threads from a processor.
Neither asks anything of rtsr or of a sound server.

A stall excuses little: only a counter that grew (`Losses`), only where a stall was on just before or while it grew, and
only `QUOTA` times in a run of the tests. What is wrong with a sound, a level or a reply is never excused.
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
from dataclasses import dataclass

NAP_S = 0.0005
STALL_S = 0.0025  # what PipeWire gives its clients at a time; later, and it goes on without them
CROWDED_S = 0.005  # for the second monitor: the worker alone, which is above it, computes for less than 1 ms at a time
REACH_S = 0.1  # after a stall's end a loss may still be its own: that long, what is buffered lasts
NICENESS = -11  # as in rtsr/daemon/priority.py; importing it would make a monitor larger
QUOTA = 3  # attempts that are excused in a run of the tests; a fault that is there half the time needs more
MOST = 100_000

Stalls = list[tuple[float, float]]  # when each began and how long it lasted, on the monotonic clock, in seconds


@dataclass(frozen=True, slots=True)
class Loss:
    """A counter that grew between two looks at it, in seconds of the monotonic clock."""

    what: str
    count: int
    since_s: float
    until_s: float


class Losses(AssertionError):
    """Counters grew that are to stand still; nothing else is known to be wrong."""

    def __init__(self, losses: list[Loss], about: str = "") -> None:
        super().__init__(f"{losses} {about}")
        self.losses = losses


def monitor(processor: int, threshold_s: float) -> None:
    """From the first line on stdin to the second, watch; then print when the processor stalled, and for how long.

    A line each, in seconds of the monotonic clock, for what is longer than the threshold; the first MOST of them.
    With a threshold of STALL_S this is the first monitor, else the second.
    """
    os.sched_setaffinity(0, {processor})
    with contextlib.suppress(PermissionError):
        if threshold_s == STALL_S:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
        else:
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    gc.disable()
    print("there", flush=True)
    sys.stdin.readline()
    seen: Stalls = []
    before = time.monotonic()
    while not select.select([sys.stdin], [], [], NAP_S)[0]:
        now = time.monotonic()
        if now - before > threshold_s and len(seen) < MOST:
            seen.append((before, now - before))
        before = now
    for began, lasted in seen:
        print(began, lasted)


@contextlib.contextmanager
def monitored() -> Iterator[Stalls]:
    """Give a list that holds, once the block has ended, when the machine stalled and for how long, in order of time."""
    command, pipe = [sys.executable, __file__], subprocess.PIPE
    watching = [
        subprocess.Popen([*command, str(processor), str(threshold_s)], stdin=pipe, stdout=pipe, text=True)
        for processor in os.sched_getaffinity(0)
        for threshold_s in (STALL_S, CROWDED_S)
    ]
    for one in watching:
        assert one.stdout.readline() == "there\n"
    for one in watching:  # all at once: the start of the next would be seen by those before it
        one.stdin.write("watch\n")
        one.stdin.flush()
    found: Stalls = []
    try:
        yield found
    finally:
        printed = "".join(one.communicate("enough")[0] for one in watching)
        pairs = (line.split() for line in printed.splitlines())
        found += sorted((float(began), float(lasted)) for began, lasted in pairs)


def explains(stalls: Stalls, loss: Loss) -> bool:
    """Whether the machine stalled while a counter grew, or just before."""
    return any(began <= loss.until_s and began + lasted + REACH_S >= loss.since_s for began, lasted in stalls)


class Excuses:
    """Makes attempts, excuses those whose losses the machine's stalls explain, and counts them against a quota."""

    def __init__(
        self, quota: int = QUOTA, monitoring: Callable[[], contextlib.AbstractContextManager[Stalls]] = monitored
    ) -> None:
        self.quota, self.monitoring = quota, monitoring
        self.excused: list[str] = []  # a line each

    def attempt(self, make: Callable[[], None]) -> None:
        """Make an attempt, and again after each that is excused; raises what else it raises, or that was too much."""
        while True:
            try:
                with self.monitoring() as stalls:
                    make()
                return
            except Losses as error:
                unexplained = [loss for loss in error.losses if not explains(stalls, loss)]
                if unexplained:
                    raise AssertionError(f"the machine did not stall when this was lost: {unexplained}") from error
                if len(self.excused) >= self.quota:
                    raise AssertionError(f"more than {self.quota} losses were excused already") from error
                longest_ms = 1000 * max(lasted for _, lasted in stalls)
                self.excused.append(f"the machine stalled for up to {longest_ms:.1f} ms: {error.losses}")
                print(f"excused {len(self.excused)} of {self.quota}:", self.excused[-1])


if __name__ == "__main__":
    monitor(int(sys.argv[1]), float(sys.argv[2]))
