"""What one peer may send us, and where it may make us send: datagrams, ICE candidates and checks, all bounded.

aioice takes datagrams from any address, every candidate that is signalled, and one more for every port that a check
comes from; each candidate is sent checks. `ConnectionLimits` wraps its connection. Everything is the event loop's.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .rtp import REPORTS

SHORTEST, LONGEST = 13, 2_048  # of a datagram that is no STUN: a DTLS record's header, more than a path carries
MOST_WAITING = 256  # datagrams
MOST_CANDIDATES = 64  # of a peer, signalled or found by checks
MEDIA = range(128, 192)  # the first byte of SRTP and SRTCP (RFC 7983)
MEDIA_PER_S, MEDIA_BURST = 500, 250  # datagrams; Opus has at most 400 packets a second
REPORTS_PER_S, REPORTS_BURST = 10, 20  # RTCP, which takes longer to read; a voice has one or two a second
CHECKS_PER_S, CHECKS_BURST = 50, 200  # STUN from known addresses: one every 20 ms, as ICE begins (RFC 8445, 14)
OTHERS_PER_S, OTHERS_BURST = 10, 50  # STUN from all others
FLOOD_PER_S, FLOOD_SWEEPS = 100, 4  # datagrams of the peer's beyond these limits, and for how many seconds in a row
MOVED_S = 2.0  # without a datagram from the peer's address, and its next check may come from a new one
LEAST_PORT, WEB_PORTS = 1_024, (80, 443)  # as browsers have it: services answer below, and TURN on those of the web

Clock = Callable[[], float]
TakeMedia = Callable[[bytes], None]


class TokenBucket:
    """So many a second, and at most `burst` at once."""

    def __init__(self, per_s: float, burst: float, clock: Clock) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left, self._at_s = burst, clock()

    def take(self) -> bool:
        """Whether there is one more token, which is then gone."""
        now_s = self._clock()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Where a peer may make us send ICE checks to."""

    loopback: bool = False  # this machine
    private: bool = True  # addresses that are not of the public internet

    def admits(self, host: str, port: int) -> bool:
        """Whether checks may be sent to an address and port; a zone is for link-local addresses, which may not be."""
        try:
            given = ipaddress.ip_address(host)
        except ValueError:
            return False
        if "%" in host:
            return False
        address = getattr(given, "ipv4_mapped", None) or given
        if port < LEAST_PORT and not (port in WEB_PORTS and address.is_global):
            return False
        if address.is_loopback:
            return self.loopback
        if address.is_multicast or address.is_unspecified or address.is_link_local or address.is_reserved:
            return False
        return self.private or address.is_global


class ConnectionLimits:
    """Wraps an aioice connection; `refused` counts the datagrams, candidates and checks that were not taken.

    A peer whose address changes, as behind a router that gives it another port, is answered where its next authentic
    check comes from, as if that check nominated its pair of addresses (RFC 8445, 7.3.1.5).
    """

    def __init__(
        self, connection: Any, policy: AddressPolicy, take_media: TakeMedia, clock: Clock = time.monotonic
    ) -> None:
        """`take_media` gets SRTP and SRTCP, in place of aioice."""
        self.refused = 0
        self._excess = self._sweeps = 0
        self._clock, self._heard_s, self._swept_s = clock, clock(), clock()
        self._connection, self._policy, self._take_media = connection, policy, take_media
        self._media = TokenBucket(MEDIA_PER_S, MEDIA_BURST, clock)
        self._reports = TokenBucket(REPORTS_PER_S, REPORTS_BURST, clock)
        self._checks = TokenBucket(CHECKS_PER_S, CHECKS_BURST, clock)
        self._others = TokenBucket(OTHERS_PER_S, OTHERS_BURST, clock)
        self._add, connection._add_remote_candidate = connection._add_remote_candidate, self._add_candidate
        self._check, connection.check_incoming = connection.check_incoming, self._check_incoming

    def watch(self) -> None:
        """Wrap the connection's sockets, once it has them and before the peer knows them."""
        for protocol in self._connection._protocols:
            protocol.datagram_received = partial(self._datagram, protocol.datagram_received)

    def floods(self) -> bool:
        """Whether the peer, and not somebody else, has sent too much for some seconds; to be asked every second."""
        passed_s, self._swept_s = self._clock() - self._swept_s, self._clock()
        too_much = self._excess > FLOOD_PER_S * passed_s
        self._excess, self._sweeps = 0, self._sweeps + 1 if too_much else 0
        return self._sweeps > FLOOD_SWEEPS

    def _datagram(self, take: Callable[[bytes, Any], None], data: bytes, place: Any) -> None:
        if not self._passes(data, place):
            self.refused += 1
        elif data[0] in MEDIA:
            self._take_media(data)
        else:
            take(data, place)

    def _passes(self, data: bytes, place: Any) -> bool:
        """Whether a datagram may be STUN, DTLS or SRTP (RFC 7983), from where it may be, and not one too many.

        aiortc ends a call over an empty one, and what comes before it reads piles up without a bound.
        """
        if not data or len(data) > LONGEST:
            return False
        if place[:2] == self._nominated:
            self._heard_s, known = self._clock(), True
        else:
            known = self._knows(place)
        if data[0] < 4:
            return self._spend(self._checks) if known else self._others.take()
        is_srtp = data[0] in MEDIA
        if not known or len(data) < SHORTEST or not (is_srtp or 20 <= data[0] <= 63):
            return False
        if not is_srtp and self._connection._queue.qsize() >= MOST_WAITING:
            return False
        is_report = is_srtp and data[1] in REPORTS
        return self._spend(self._reports if is_report else self._media)

    def _spend(self, bucket: TokenBucket) -> bool:
        """Take one of the peer's own tokens."""
        passes = bucket.take()
        self._excess += not passes
        return passes

    @property
    def _nominated(self) -> tuple[str, int] | None:
        """Where the peer is sent to, once that is settled."""
        pair = self._connection._nominated.get(1)
        return pair.remote_addr if pair else None

    def _knows(self, place: Any) -> bool:
        """Whether an address is a candidate of the peer's, or has sent a check that was authentic."""
        at = place[:2]
        signalled = any((one._network_host, one.port) == at for one in self._connection._remote_candidates)
        return signalled or any(early[1] == at for early in self._connection._early_checks)

    def _may_add(self, host: str, port: int) -> bool:
        return len(self._connection._remote_candidates) < MOST_CANDIDATES and self._policy.admits(host, port)

    def _add_candidate(self, candidate: Any, host: str) -> None:
        """Let the connection have a signalled candidate, after its name has been looked up."""
        usable = candidate.component == 1 and candidate.transport.lower() == "udp"
        if usable and self._may_add(host, candidate.port):
            self._add(candidate, host)
        else:
            self.refused += 1

    def _check_incoming(self, message: Any, place: Any, protocol: Any) -> None:
        """Let the connection have an authentic check; one from a new place makes that a candidate."""
        signalled = any((one._network_host, one.port) == place for one in self._connection._remote_candidates)
        if signalled or ("PRIORITY" in message.attributes and self._may_add(*place)):
            if self._nominated not in (None, place[:2]) and self._clock() - self._heard_s > MOVED_S:
                message.attributes["USE-CANDIDATE"] = None
            self._check(message, place, protocol)
        else:
            self.refused += 1
