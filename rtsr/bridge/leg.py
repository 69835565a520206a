"""One end of a call in the media thread: its incoming stream, its outgoing packets, and their counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..dsp.level import level_db, peak
from ..dsp.resample import Resampler
from ..dsp.windows import FloatArray
from .codec import CODECS, make_decoder
from .events import Event, EventLog
from .jitter import Packet
from .playout import Playout
from .recorded_track import RecordedTrack

INBOX = 64  # packets between two ticks; more are refused
NARROWING_MS = 4  # delay, and so quality, of the filter of `narrow_hz`
METER_DECAY = 0.9  # of a level meter, per hop

DeliverEvent = Callable[[object, Event], None]  # takes what names an event, and a packet of it; on the event loop
Deliver = Callable[[bytes, int], None]  # takes a packet and its time stamp in samples; on the event loop


class Speaker:
    """A leg's incoming stream: packets, hops at the codec's rate, a row of the pool.

    `put` is the transport's thread's, everything else the media thread's; counters are read by anyone.
    """

    def __init__(self, codec: str, frames_per_s: int, *, narrow_hz: int | None = None, least_s: float) -> None:
        self.codec = codec
        scale = CODECS[codec].samples_per_tick
        self.playout = Playout(make_decoder(codec), frames_per_s, least_s, samples_per_tick=scale)
        self.inbox: deque[Packet] = deque()
        self.overruns = 0  # packets that found the inbox full
        self.bypass = False
        self.row: int | None = None
        self.level_in = self.level_out = 0.0
        self.hops = 0  # that were heard: pauses before the first packet and after the last do not count
        self.cutoff_hz: float | None = None  # where the received band ends, as detected
        self.enhanced_s = 0.0  # for which a band was generated
        self.rate = narrow_hz or self.playout.rate
        delay = NARROWING_MS * self.rate // 1000
        self._narrow = Resampler(self.playout.rate, self.rate, delay) if self.rate != self.playout.rate else None

    def put(self, packet: Packet) -> None:
        """Take a packet from the network; never blocks, and never keeps more than `INBOX`."""
        if len(self.inbox) >= INBOX:
            self.overruns += 1
            return
        self.inbox.append(packet)

    def read(self, now_s: float) -> FloatArray:
        """Return the next hop at `rate`."""
        while self.inbox:
            self.playout.put(self.inbox.popleft())
        hop = self.playout.read(now_s)
        self.hops += not self.playout.waiting
        if self._narrow:
            hop = self._narrow.process(hop)
        self.level_in = max(METER_DECAY * self.level_in, peak(hop))
        return hop

    def note_cutoff(self, cutoff_hz: float, most_hz: float, seconds: float) -> None:
        """Note where the received band ends; up to `most_hz` the network adds something."""
        self.cutoff_hz = cutoff_hz
        if cutoff_hz <= most_hz and not self.bypass and not self.playout.waiting:
            self.enhanced_s += seconds

    def stats(self) -> dict[str, Any]:
        """Return the state and counters of this stream, for the page and for metrics."""
        counts, playout = self.playout.counts, self.playout
        return {
            "codec": self.codec,
            "rate_hz": self.rate,
            "bypass": self.bypass,
            "level_in_db": level_db(self.level_in),
            "level_out_db": level_db(self.level_out),
            "cutoff_hz": None if self.cutoff_hz is None else round(self.cutoff_hz),
            "delay_ms": round(1000 * playout.delay_s, 1),
            "target_ms": round(1000 * playout.target_s, 1),
            "jitter_ms": round(1000 * playout.buffer.spread_s, 1),
            "received": counts.received,
            "lost": counts.lost,
            "recovered": counts.recovered,
            "late": counts.late,
            "refused": counts.refused + self.overruns,
            "restarts": counts.restarts,
            "underruns": counts.underruns,
            "concealed_hops": counts.concealed_hops,
            "dropped_hops": counts.dropped_hops,
            "inserted_hops": counts.inserted_hops,
        }


@dataclass(eq=False)
class Leg:
    """One end of a call in a room. It speaks if it has a `speaker`, and listens if it has a `deliver`."""

    call: str
    room: str
    speaker: Speaker | None = None
    deliver: Deliver | None = None
    codec: str = ""  # of what it hears
    hears_itself: bool = False  # and no other, whatever other legs are in the room
    name: str = ""
    plain: frozenset[str] = frozenset()  # calls that it hears without their generated band; the event loop's
    deliver_event: DeliverEvent | None = None  # of a leg that takes telephone events
    events: EventLog = field(default_factory=EventLog)  # that came from it; the event loop's
    recording: RecordedTrack | None = None  # of what it says; set by the event loop
    joined: bool = field(default=False, init=False)  # set by the media thread
    failed: bool = field(default=False, init=False)  # set by the media thread, which cannot carry it: it is to be ended
