"""Which stream that reaches an RTP port is the caller: two packets in sequence, and no other stream during its call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .config import Network, contains
from .jitter import NUMBERS

MOST_CANDIDATES = 64  # streams of which one packet has come
CHANGE_S = 0.5  # without a packet of the caller, and it may go on as another source or from another address


class RtpSource(NamedTuple):
    """Where packets come from and the source (SSRC) that they name."""

    host: str
    port: int
    source: int


@dataclass
class Latch:
    """The caller of a port, and since when it has not been heard; used by the event loop.

    A stream becomes the caller by two packets in sequence (RFC 3550, A.1). It stays the caller until it is forgotten.
    Only another source of the same address, or the same source from another one, may go on in its place: a telephone
    that changes its source (SSRC), or whose address changes. Who does not hear the caller does not know its source.
    """

    allowed: tuple[Network, ...] = ()  # none: any
    silent_s: float = 8.0
    caller: RtpSource | None = field(default=None, init=False)
    heard_s: float = field(default=0.0, init=False)
    _candidates: dict[RtpSource, int] = field(default_factory=dict, init=False)  # and the number that is expected
    _refused: dict[RtpSource, float] = field(default_factory=dict, init=False)  # and when it was last heard

    def admits(self, host: str) -> bool:
        """Whether packets of a host may come in."""
        return not self.allowed or contains(self.allowed, host)

    def hear(self, stream: RtpSource, number: int, now_s: float, *, sound: bool) -> bool:
        """Note a packet, and return whether it is the caller's. Only packets with sound make a stream the caller."""
        if stream == self.caller:
            self.heard_s = now_s
            return True
        if not self._may_call(stream, now_s) or not sound:
            return False
        expected = self._candidates.pop(stream, None)
        if number != expected:
            self._candidates[stream] = (number + 1) % NUMBERS
            if len(self._candidates) > MOST_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
            return False
        self.caller, self.heard_s = stream, now_s
        self._candidates.clear()
        return True

    def _may_call(self, stream: RtpSource, now_s: float) -> bool:
        if not self.admits(stream.host):
            return False
        if stream in self._refused:
            before_s, self._refused[stream] = self._refused[stream], now_s
            if now_s - before_s < self.silent_s:
                return False
            del self._refused[stream]
        if self.caller is None:
            return True
        goes_on = self.caller[:2] == stream[:2] or self.caller.source == stream.source
        return goes_on and now_s - self.heard_s > CHANGE_S

    def hear_report(self, host: str, source: int, now_s: float) -> bool:
        """Note an RTCP packet, and return whether it is the caller's; its port may be another than the sound's."""
        if self.caller is None or (self.caller.host, self.caller.source) != (host, source):
            return False
        self.heard_s = now_s
        return True

    def is_silent(self, now_s: float) -> bool:
        """Whether the caller has not been heard for `silent_s`."""
        return self.caller is not None and now_s - self.heard_s > self.silent_s

    def forget(self) -> None:
        """Let the next stream be the caller, the same one again included."""
        self.caller = None
        self._candidates.clear()

    def refuse(self, now_s: float) -> None:
        """Forget the caller, and do not take its stream again until that has been silent for `silent_s`."""
        if self.caller:
            self._refused[self.caller] = now_s
            if len(self._refused) > MOST_CANDIDATES:
                del self._refused[next(iter(self._refused))]
        self.forget()
