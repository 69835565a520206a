"""Asking for real-time scheduling, politely: directly where that is allowed, else through rtkit, else not at all.

Only the worker asks for good. PortAudio's threads may spin on a sound server's, and what spins must not have priority.
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
    own; so this is to be called in a process that leads one.
    """
    with contextlib.suppress(PermissionError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):  # no such grouping here, or not allowed
        AUTOGROUP.write_text(str(NICENESS))


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Run a little Python in real time, just under the worker, where that is allowed.

    Whoever holds the interpreter lock and has to wait for a processor lets the worker wait too. Nothing that computes
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


def ask_for_real_time() -> str:
    """Give the calling thread real-time priority if anybody may; returns one line that says how it went."""
    if not hasattr(os, "sched_setscheduler"):
        return "real-time scheduling: not on this system"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
        return f"real-time scheduling: SCHED_FIFO {PRIORITY}"
    except PermissionError:
        return _ask_rtkit()


def _ask_rtkit() -> str:
    import resource

    resource.setrlimit(resource.RLIMIT_RTTIME, (BUDGET_US, BUDGET_US))
    request = [
        *("dbus-send", "--system", "--print-reply", "--reply-timeout=500", "--dest=org.freedesktop.RealtimeKit1"),
        *("/org/freedesktop/RealtimeKit1", "org.freedesktop.RealtimeKit1.MakeThreadRealtimeWithPID"),
        *(f"uint64:{os.getpid()}", f"uint64:{threading.get_native_id()}", f"uint32:{PRIORITY}"),
    ]
    try:
        done = subprocess.run(request, capture_output=True, text=True, timeout=1, check=False)
        said = done.stderr.strip().splitlines()[:1]
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"real-time scheduling: refused, and rtkit cannot be asked ({error})"
    if done.returncode == 0:
        return f"real-time scheduling: SCHED_RR {PRIORITY} by rtkit"
    return f"real-time scheduling: refused, also by rtkit ({' '.join(said)}); allow rtprio in limits.conf"
