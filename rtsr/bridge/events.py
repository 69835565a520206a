"""Telephone events: keys that were pressed, as packets (RFC 4733) and as a list for the API. The event loop's."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

EVENT = struct.Struct("!BBH")  # section 2.3
KEYS = "0123456789*#ABCD"  # events 0 to 15
FLASH = 16
ENDS = 0x80
LONGEST = (1 << 16) - 1  # ticks
MOST_KEPT = 32
VOLUME = 10  # -dBm0, of events that come without one


class Event(NamedTuple):
    """One packet's view of an event."""

    code: int
    ends: bool
    volume: int  # -dBm0
    duration: int  # ticks of the stream's clock, so far

    @property
    def name(self) -> str:
        """The key, "flash", or the number of an event that has no key."""
        return KEYS[self.code] if self.code < len(KEYS) else "flash" if self.code == FLASH else str(self.code)

    def at_clock(self, from_hz: int, to_hz: int) -> Event:
        """Return the same event in ticks of another clock."""
        return self._replace(duration=min(self.duration * to_hz // from_hz, LONGEST))


def parse_event(payload: bytes) -> Event | None:
    """Return the event of a packet; None for what is none."""
    if len(payload) < EVENT.size:
        return None
    code, more, duration = EVENT.unpack_from(payload)
    return Event(code, bool(more & ENDS), more & 0x3F, duration)


def write_event(event: Event) -> bytes:
    """Return the payload of a packet."""
    return EVENT.pack(event.code, event.volume & 0x3F | (ENDS if event.ends else 0), event.duration)


@dataclass(slots=True)
class Pressed:
    """An event of a call."""

    stamp: int  # the same in all packets of an event
    event: Event
    at_s: float  # since the call began


class EventLog:
    """The last events of a call, at most `MOST_KEPT`."""

    def __init__(self, clock_hz: int = 8_000) -> None:
        self.clock_hz, self.count = clock_hz, 0
        self._kept: deque[Pressed] = deque(maxlen=MOST_KEPT)

    def hear(self, stamp: int, event: Event, at_s: float) -> None:
        """Note a packet; those of one event, which bear one time stamp, are one entry."""
        for known in self._kept:
            if known.stamp == stamp:
                if event.code == known.event.code and event.duration >= known.event.duration:
                    known.event = event
                return
        self.count += 1
        self._kept.append(Pressed(stamp, event, at_s))

    def stats(self) -> list[dict[str, Any]]:
        """Return the events for the API, the oldest first."""
        return [
            {
                "event": one.event.name,
                "at_s": round(one.at_s, 2),
                "duration_ms": round(1000 * one.event.duration / self.clock_hz),
            }
            for one in self._kept
        ]
