"""The RTP and RTCP of a WebRTC peer: the session of any RTP leg, encrypted with the keys that aiortc's DTLS agreed on.

aiortc's own senders and receivers never start: they would take three tasks, a thread and most of the transport's time.
Everything is the event loop's.
"""

from __future__ import annotations

import time
from typing import Any

from aiortc import RTCRtpTransceiver
from pylibsrtp import Session

from .events import Event
from .leg import Leg
from .rtcp import parse_report
from .rtp import PayloadTypes, is_report, noise_type, parse
from .rtp_session import RtpSession
from .srtp import Decryption

LATE_PACKETS = 2.5  # since the last packet, before the next one counts as an underrun
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
ONE_BYTE_HEADERS = b"\xbe\xde"  # RFC 8285, 4.2


async def _stay_idle(_: object) -> None:
    """Stand in for `RTCRtpSender.send` and `RTCRtpReceiver.receive`."""


def header_extension(transceiver: RTCRtpTransceiver) -> bytes:
    """Return what each packet's header is extended by: which part of the SDP it belongs to (RFC 8843), if agreed on."""
    number = next((one.id for one in transceiver._headerExtensions if one.uri == MID), None)
    name = (transceiver.mid or "").encode()
    if number is None or not 1 <= len(name) <= 16 or not 1 <= number <= 14:
        return b""
    element = bytes([number << 4 | len(name) - 1]) + name
    words = -(-len(element) // 4)
    return ONE_BYTE_HEADERS + words.to_bytes(2) + element.ljust(4 * words, b"\0")


class DtlsMedia:
    """The packets of one peer.

    What cannot be decrypted is ignored, and so is what comes before the keys are there.
    """

    def __init__(self, transceiver: RTCRtpTransceiver, packet_ms: int) -> None:
        self.session: RtpSession | None = None
        self.sent = 0
        self.underruns = 0  # times that the next packet was a packet and a half late
        self.dropped = 0  # packets that had no address to go to
        self._transceiver = transceiver
        self._longest_s, self._last_s = LATE_PACKETS * packet_ms / 1000, 0.0
        self._decrypt: Decryption | None = None
        transceiver.sender.send = transceiver.receiver.receive = _stay_idle  # type: ignore

    def begin(self, leg: Leg) -> RtpSession:
        """Make the session of a leg, once an offer has been answered. The leg hears nothing where that says so."""
        kind, source = self._transceiver._codecs[0].payloadType, self._transceiver.sender._ssrc
        assert kind is not None
        types = PayloadTypes(leg.codec, kind, None, noise_type(leg.codec))
        self.session = RtpSession(leg, types, source, self.send, self.send_report, _no_events)
        self.session.extension = header_extension(self._transceiver)
        if self._transceiver.currentDirection not in ("sendrecv", "sendonly"):
            leg.deliver = None
        return self.session

    @property
    def _transport(self) -> Any:
        """aiortc's DTLS transport, which is another once parts of the SDP share one (BUNDLE)."""
        return self._transceiver.receiver.transport

    def take(self, data: bytes) -> None:
        """Take an encrypted packet."""
        if self._decrypt is None:
            keys: Session | None = self._transport._rx_srtp
            if keys is None:
                return
            self._decrypt = Decryption(keys)
        report = is_report(data)
        plain = self._decrypt(data, report=report)
        if plain is None or self.session is None:
            return
        if report:
            if read_report := parse_report(plain):
                self.session.take_report(read_report)
            return
        read = parse(plain)
        types = self.session.types
        if read is not None and read.kind in (types.audio, types.noise):
            self.session.take(read, time.monotonic())

    def send(self, data: bytes) -> bool:
        """Encrypt and send RTP; returns whether there was an address to send to."""
        now_s = time.monotonic()
        self.underruns += 0 < self._last_s < now_s - self._longest_s
        self._last_s = now_s
        keys: Session | None = self._transport._tx_srtp
        if keys is None or not self._send(keys.protect(data)):
            self.dropped += 1
            return False
        self.sent += 1
        return True

    def send_report(self, data: bytes) -> None:
        """Encrypt and send RTCP."""
        keys: Session | None = self._transport._tx_srtp
        if keys is not None:
            self._send(keys.protect_rtcp(data))

    def _send(self, data: bytes) -> bool:
        pair = self._transport.transport._connection._nominated.get(1)
        if pair is None:
            return False
        pair.protocol.transport.sendto(data, pair.remote_addr)
        return True


def _no_events(leg: Leg, stamp: int, event: Event) -> None:
    """Stand in for who passes on telephone events: a WebRTC peer has none."""
