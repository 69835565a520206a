"""The open streams of a pool, and what its last tick gave for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..dsp.windows import FloatArray
from .slots import Slots


@dataclass(slots=True)
class OpenStream:
    """An open stream: its slot, and what it was set to."""

    slots: Slots
    slot: int
    cutoff: float | str
    gain_db: float
    bypass: bool


class Outputs:
    """The hops of the last tick by handle; a stream that stalled is not in it. Valid until the next tick."""

    def __init__(self, streams: dict[int, OpenStream]) -> None:
        self._streams = streams

    def __contains__(self, handle: int) -> bool:
        stream = self._streams.get(handle)
        return stream is not None and stream.slots.moved(stream.slot)

    def __getitem__(self, handle: int) -> FloatArray:
        """Return a stream's hop (hop_out,), float32; raises KeyError where it stalled or is not open."""
        stream = self._moved(handle)
        return stream.slots.hop_of(stream.slot)

    def plain(self, handle: int) -> FloatArray:
        """Return that hop without the generated band, as `bypass` would give it, beside the other; raises KeyError.

        Made with every hop; on a device it is fetched when asked for.
        """
        stream = self._moved(handle)
        return stream.slots.plain_hop_of(stream.slot)

    def _moved(self, handle: int) -> OpenStream:
        if handle not in self:
            raise KeyError(handle)
        return self._streams[handle]

    def __iter__(self) -> Iterator[int]:
        return (handle for handle in self._streams if handle in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
