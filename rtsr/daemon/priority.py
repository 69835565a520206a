"""Real-time scheduling: requested directly where that is allowed, else through rtkit, else not at all.

Only the worker requests it for good. PortAudio's threads may spin on a sound server's; these must not have priority.
Where a host runs its callbacks in real time, as JACK does, the worker gets just their priority. With less, the blocks
with which a device catches up would all be requested before the worker runs; with more, it would delay them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

PRIORITY = 10
NICENESS = -11  # what PulseAudio gives itself
AUTOGROUP = Path("/proc/self/autogroup")
BUDGET_US = 200_000  # of uninterrupted running, which rtkit demands


def be_less_nice() -> None:
    """Raise the whole process above others where that is allowed: who holds the interpreter lock must not wait.

    Where Linux groups processes by session (autogroup), niceness counts within a session alone and the session has its
    own, which is raised too where this process leads one. To be called before threads are started: on Linux, they
    inherit it.
    """
    with contextlib.suppress(PermissionError, AttributeError):  # AttributeError: not on this system
        os.nice(NICENESS)
    with contextlib.suppress(OSError, AttributeError):  # no such grouping here, or not allowed
        if os.getsid(0) == os.getpid():
            AUTOGROUP.write_text(str(NICENESS))


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Run a little Python in real time, just under the worker, where that is allowed.

    A thread that holds the interpreter lock while it waits for a processor delays the worker too. Nothing that computes
    for long or starts threads belongs in it: sound servers have less priority.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY - 1))
    except (AttributeError, PermissionError):  # AttributeError: not on this system
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def ask_for_real_time(thread: int = 0) -> str:
    """Give a thread, 0 for the calling one, real-time priority where that is allowed; returns one line on the result.

    It is as high as the highest among the process's threads, and at least `PRIORITY`.
    """
    if not hasattr(os, "sched_setscheduler"):
        return "real-time scheduling: not on this system"
    priority = max([PRIORITY, *_priorities()])
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        return f"real-time scheduling: SCHED_FIFO {priority}"
    except PermissionError:
        return _ask_rtkit(thread or threading.get_native_id(), priority)


def _priorities() -> Iterator[int]:
    """The real-time priority of each thread of this process, 0 where it has none."""
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            yield os.sched_getparam(int(task.name)).sched_priority


def _ask_rtkit(thread: int, priority: int) -> str:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_RTTIME)
    if most != resource.RLIM_INFINITY and most < BUDGET_US:
        return f"real-time scheduling: refused, and not asked for where rttime in limits.conf is {most} us"
    resource.setrlimit(resource.RLIMIT_RTTIME, (BUDGET_US, BUDGET_US))
    request = [
        *("dbus-send", "--system", "--print-reply", "--reply-timeout=500", "--dest=org.freedesktop.RealtimeKit1"),
        *("/org/freedesktop/RealtimeKit1", "org.freedesktop.RealtimeKit1.MakeThreadRealtimeWithPID"),
        *(f"uint64:{os.getpid()}", f"uint64:{thread}", f"uint32:{priority}"),
    ]
    try:
        done = subprocess.run(request, capture_output=True, text=True, timeout=1, check=False)
        said = done.stderr.strip().splitlines()[:1]
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"real-time scheduling: refused, and rtkit cannot be asked ({error})"
    if done.returncode == 0:
        return f"real-time scheduling: SCHED_RR {priority} by rtkit"
    return f"real-time scheduling: refused, also by rtkit ({' '.join(said)}); allow rtprio in limits.conf"
