"""One call of a bridge: its leg, and what is known of it while it lasts. The event loop's."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .leg import Leg, Speaker
from .peer import Peer
from .rtp_session import RtpSession


class Sent(Protocol):
    """Counts what became of the packets to a peer."""

    sent: int
    underruns: int
    dropped: int


@dataclass(slots=True)
class History:
    """Means and maxima over a call, from a sample a second."""

    samples: int = 0
    delay_ms: float = 0.0  # sum
    most_delay_ms: float = 0.0
    jitter_ms: float = 0.0  # sum
    most_jitter_ms: float = 0.0

    def sample(self, speaker: Speaker) -> None:
        """Note the state of a stream that is being heard."""
        if speaker.playout.waiting:
            return
        delay_ms, jitter_ms = 1000 * speaker.playout.delay_s, 1000 * speaker.playout.buffer.spread_s
        self.samples += 1
        self.delay_ms += delay_ms
        self.jitter_ms += jitter_ms
        self.most_delay_ms = max(self.most_delay_ms, delay_ms)
        self.most_jitter_ms = max(self.most_jitter_ms, jitter_ms)


def new_tag() -> str:
    """Return an entity tag of a session (RFC 9110, 8.8.3)."""
    return f'"{secrets.token_urlsafe(6)}"'


@dataclass(eq=False)
class Call:
    """One peer, or one plain RTP stream, in a room."""

    id: str
    kind: str  # call, whip, whep, rtp, sip or stream
    leg: Leg
    close: Callable[[], Any]  # a coroutine function that hangs up
    out: Sent | None = None
    peer: Peer | None = None
    rtp: RtpSession | None = None
    client: str = ""  # what its peer calls itself; told to nobody
    history: History = field(default_factory=History)
    etag: str = field(default_factory=new_tag)  # of its ICE session
    began_s: float = field(default_factory=time.monotonic)
    heard_s: float = field(default_factory=time.monotonic)  # when its packets were last seen to grow
    heard: int = 0

    @property
    def round_trip_ms(self) -> float | None:
        """Between the bridge and the peer; None where it was not measured."""
        return self.rtp.reports.round_trip_ms if self.rtp else None

    def stats(self) -> dict[str, Any]:
        """Return what a page or a metric shows of this call."""
        out = self.out
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.leg.name,
            "seconds": round(time.monotonic() - self.began_s, 1),
            "echo": self.leg.hears_itself,
            "refused": self.peer.refused if self.peer else 0,
            "plain": sorted(self.leg.plain),
            "events": self.leg.events.stats(),
            "recording": self.leg.recording.stats() if self.leg.recording else None,
            "rtp": self.rtp.stats() if self.rtp else None,
            "speaker": self.leg.speaker.stats() if self.leg.speaker else None,
            "listener": {"sent": out.sent, "underruns": out.underruns, "dropped": out.dropped} if out else None,
        }


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a caller asks for."""

    kind: str = "call"
    speaks: bool = True
    listens: bool = True
    narrow_hz: int | None = None  # the incoming stream is resampled to this rate first
    echo: bool = False  # it hears itself
    name: str = ""
    replaces: str = ""  # the call that this one continues, where its connection was lost
    client: str = ""  # by which it calls itself: a call of the same in the room is replaced too

    @property
    def direction(self) -> str:
        """The bridge's side of the call, as SDP has it."""
        return "recvonly" if not self.listens else "sendrecv" if self.speaks else "sendonly"
