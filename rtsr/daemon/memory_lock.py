"""Memory that is locked: a page that was swapped out during silence would delay the hop that needs it again."""

from __future__ import annotations

import ctypes
import os
import sys

MCL_CURRENT, MCL_ONFAULT = 1, 4  # of mlockall(2): what is mapped now, each page from when it is first used


def lock_memory() -> str:
    """Ask that no page that this process has mapped and used is taken away; returns one line on how it went.

    What is mapped later is not meant: where memory may be locked within a limit alone, that would be refused.
    """
    if not sys.platform.startswith("linux"):
        return "may be paged out, as everywhere but on Linux"
    if ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_ONFAULT):
        return f"may be paged out ({os.strerror(ctypes.get_errno())}); allow memlock in limits.conf"
    return "locked"
