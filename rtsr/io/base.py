"""What a session reads from and writes to: files first, devices and network tracks later, all the same."""

from __future__ import annotations

from typing import Protocol

from ..dsp.windows import FloatArray


class Source(Protocol):
    """Where mono samples come from. Used by one thread."""

    rate: int
    live: bool  # True: samples are lost when they are not read in time; False: the source waits

    @property
    def ended(self) -> bool:
        """Whether no sample will ever come again."""

    def read(self, out: FloatArray) -> int:
        """Write what is there to `out`, at most len(out) samples, and return how many; 0 is no error."""


class Sink(Protocol):
    """Where mono samples go. Used by one thread."""

    rate: int

    def write(self, block: FloatArray) -> int:
        """Take as many samples as there is room for and return how many."""
