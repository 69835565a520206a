"""Failures that are survived: counted by where they happened, and logged once for each place. Any thread's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

# where; each is a label of one metric
PARTS = ("network", "pool", "voice", "encoder", "mix", "send", "sip", "recording")
log = logging.getLogger("rtsr.bridge")


class Faults:
    """How often each part failed. Only the first failure of a part is logged, with its traceback."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(PARTS, 0)

    def note(self, part: str, why: str, error: BaseException) -> None:
        """Count an exception."""
        self.counts[part] += 1
        if self.counts[part] == 1:
            log.error("%s; more of it is only counted, as part=%s", why, part, exc_info=error)

    @contextmanager
    def survived(self, part: str, why: str) -> Iterator[None]:
        """Go on after what is inside, whatever it raises."""
        try:
            yield
        except Exception as error:
            self.note(part, why, error)
