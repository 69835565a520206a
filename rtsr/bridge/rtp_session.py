"""The RTP of one call: its packets to the speaker, the room's to the peer, events, and the reports on both.

Everything is the event loop's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from .codec import CODECS
from .events import Event, EventLog, parse_event, write_event
from .jitter import Packet
from .leg import Leg
from .limits import TokenBucket
from .rtcp import Reception, Report, Reports
from .rtp import PayloadTypes, Read, write

EVENTS_PER_S, EVENTS_BURST = 100, 100  # packets, of which an event sends one every 20 to 50 ms
EVENT_PAUSE_S = 0.2  # without a packet of an event, and another source's event may begin
REPORT_S = 5.0  # on average between two reports (RFC 3550, section 6.2)
FIRST_REPORT_S = 0.5

Send = Callable[[bytes], bool]
SendReport = Callable[[bytes], None]
PassOn = Callable[[Leg, int, Event], None]  # from whom, the event's time stamp, and a packet of it


class RtpSession:
    """The state of one call's RTP. `send` returns whether there is a peer to send to; `send_report` sends RTCP."""

    def __init__(
        self,
        leg: Leg,
        types: PayloadTypes,
        source: int,
        send: Send,
        send_report: SendReport,
        pass_on: PassOn,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.leg, self.types = leg, types
        self._send, self._send_report, self._pass_on, self._clock = send, send_report, pass_on, clock
        self._clock_hz = CODECS[types.codec].clock
        self.reports = Reports(source, Reception(self._clock_hz), clock)
        self._source, self._number, self._origin = source, secrets.randbits(16), secrets.randbits(32)
        self._began_s = clock()
        self._report_s = self._began_s + FIRST_REPORT_S  # when the next one is due
        self.extension = b""  # of each audio packet's header
        self._peer: int | None = None
        self._bucket = TokenBucket(EVENTS_PER_S, EVENTS_BURST, clock)
        self._event: tuple[object, int, float] | None = None  # that we send: of whom, our stamp, and its last packet
        leg.deliver = self.deliver
        leg.deliver_event = None if types.events is None else self.deliver_event
        leg.events = EventLog(self._clock_hz)

    def take(self, read: Read, now_s: float) -> None:
        """Take a packet of the peer's."""
        audio = read.kind == self.types.audio and bool(read.payload)
        if read.source != self._peer:  # the first one, or a telephone that has changed its source
            self._peer, self.reports.reception = read.source, Reception(self._clock_hz)
        self.reports.reception.hear(read.number, read.stamp, now_s, audio=audio)
        if read.kind == self.types.events:
            self._take_event(read, now_s)
        noise = read.payload if read.kind == self.types.noise else b""
        if self.leg.speaker:
            payload = read.payload if audio else b""
            self.leg.speaker.put(Packet(read.number, read.stamp, payload, now_s, noise))

    def _take_event(self, read: Read, now_s: float) -> None:
        event = parse_event(read.payload)
        if event is None or not self._bucket.take():
            return
        self.leg.events.hear(read.stamp, event, now_s - self._began_s)
        self._pass_on(self.leg, read.stamp, event)

    def take_report(self, report: Report) -> None:
        """Take an RTCP packet of the peer's."""
        self.reports.take(report)

    def deliver(self, payload: bytes, stamp: int) -> None:
        """Send the room's audio; `stamp` counts ticks of the codec's RTP clock."""
        stamp = (self._origin + stamp) % (1 << 32)
        packet = write(self.types.audio, self._number, stamp, self._source, payload, extension=self.extension)
        if self._send(packet):
            self._number += 1
            self.reports.note_sent(stamp, payload)

    def deliver_event(self, key: object, event: Event) -> None:
        """Send a packet of an event; the packets of one event have one `key`. Of two at once only one is sent."""
        now_s = self._clock()
        begins = self._event is None or self._event[0] != key
        if begins and self._event is not None and now_s - self._event[2] < EVENT_PAUSE_S:
            return
        assert self.types.events is not None
        stamp = self.reports.sent_stamp if begins or self._event is None else self._event[1]
        payload = write_event(event)
        self._event = (key, stamp, now_s)
        self._send(write(self.types.events, self._number, stamp, self._source, payload, marked=begins))
        self._number += 1

    def report(self) -> None:
        """Send a report if one is due, and there is anything to report; called every second."""
        now_s = self._clock()
        if now_s >= self._report_s and self._has_news:
            self._send_report(self.reports.write(self._peer))
            self._report_s = now_s + REPORT_S * (0.5 + secrets.randbelow(1_000) / 1_000)

    def leave(self) -> None:
        """Say that we leave (BYE)."""
        if self._has_news:
            self._send_report(self.reports.write(self._peer, leaves=True))

    @property
    def _has_news(self) -> bool:
        return self._peer is not None or self.reports.sent > 0

    def stats(self) -> dict[str, Any]:
        """Return what a page or a metric shows of the path, in plain numbers."""
        return self.reports.stats()
