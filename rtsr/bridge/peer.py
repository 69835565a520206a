"""One WebRTC peer: an offer answered, its packets tapped before anyone decodes them, ours sent as they are.

aiortc negotiates, encrypts and reports; its jitter buffer and its codecs are not used.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcicetransport import candidate_to_aioice
from aiortc.rtp import RtpPacket
from aiortc.sdp import SessionDescription, candidate_from_sdp

from ..errors import InvalidSetting, PoolFull
from .gathering import Gathering
from .jitter import Packet
from .limits import MOST_CANDIDATES, AddressPolicy, ConnectionLimits
from .offers import without_candidates
from .restart import Credentials, Restart
from .rtcp import LONGEST_ROUND_TRIP_S, without_feedback

ROUND_TRIP = "_RTCRtpSender__rtt"  # aiortc's, in seconds
JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"  # aiortc's, whose place ours takes
QUEUE = 4  # packets that wait for the event loop; older ones are dropped
MOST_NAMES = 8  # candidates that are names (mDNS): each is looked up on the bridge's network
MOST_SOURCES = 8  # that one peer's packets may name

Put = Callable[[Packet], None]


class OutTrack(MediaStreamTrack):
    """Packets that are encoded already, as a track that aiortc sends from. The event loop's."""

    kind = "audio"

    def __init__(self, rate: int, packet_ms: int) -> None:
        super().__init__()
        self._base, self._longest_s = Fraction(1, rate), 2.5 * packet_ms / 1000
        self._packets: deque[tuple[bytes, int]] = deque()
        self._there = asyncio.Event()
        self._last_s = 0.0
        self.dropped = 0  # packets that were not sent in time
        self.underruns = 0  # times that the next packet was a packet and a half late
        self.sent = 0

    def put(self, packet: bytes, stamp: int) -> None:
        """Queue a packet; the oldest goes where there is no room."""
        if len(self._packets) >= QUEUE:
            self._packets.popleft()
            self.dropped += 1
        self._packets.append((packet, stamp))
        self._there.set()

    async def recv(self) -> Any:
        """Wait for the next packet; raises `MediaStreamError` at the end."""
        while not self._packets:
            if self.readyState != "live":
                raise MediaStreamError
            self._there.clear()
            await self._there.wait()
        now_s = time.monotonic()
        self.underruns += 0 < self._last_s < now_s - self._longest_s
        self._last_s = now_s
        self.sent += 1
        data, stamp = self._packets.popleft()
        packet = av.Packet(data)
        packet.pts, packet.time_base = stamp, self._base
        return packet

    def stop(self) -> None:
        """End the track and the task that waits for it."""
        super().stop()
        self._there.set()


class Tap:
    """Stands where aiortc's receiver has its jitter buffer, and hands every packet on at once."""

    def __init__(self, put: Put, hostile: Callable[[], None]) -> None:
        self._put, self._hostile = put, hostile
        self._sources: set[int] = set()

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        """Take a packet that was decrypted; no frame ever comes out here. One that keeps changing its name ends."""
        self._sources.add(packet.ssrc)
        if len(self._sources) > MOST_SOURCES:
            self._hostile()
        else:
            self._put(Packet(packet.sequence_number, packet.timestamp, packet.payload, time.monotonic()))
        return False, None


def ignore_feedback(transport: Any) -> None:
    """Let an aiortc transport read no requests to send packets again (RFC 4585): ours agree on none for audio.

    It would answer each as often as it names a packet, thousands of times, and do nothing else meanwhile; a millisecond
    goes into reading one alone.
    """
    take = transport._handle_rtcp_data

    async def handle(data: bytes) -> None:
        if rest := without_feedback(data):
            await take(rest)

    transport._handle_rtcp_data = handle


class Peer:
    """One peer connection, made from an offer. Everything is the event loop's; `put` is called there too."""

    def __init__(
        self,
        codec: str,
        put: Put | None,
        out: OutTrack | None,
        ended: Callable[[str], None],
        policy: AddressPolicy,
        gathering: Gathering,
    ) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connected = asyncio.Event()
        self._ended, self._policy, self._gathering = ended, policy, gathering
        self._limits: dict[Any, ConnectionLimits] = {}  # by aioice connection
        self._candidates = self._names = 0
        self._restart: Restart | None = None  # the last one
        direction = {(True, True): "sendrecv", (True, False): "recvonly", (False, True): "sendonly"}
        transceiver = self.connection.addTransceiver(out or "audio", direction[put is not None, out is not None])
        self._prefer(transceiver, codec)
        self._audio = transceiver
        if put is not None:
            setattr(transceiver.receiver, JITTER_BUFFER, Tap(put, lambda: ended("too many sources")))
        self.connection.on("connectionstatechange", self._changed)

    @staticmethod
    def _prefer(transceiver: RTCRtpTransceiver, codec: str) -> None:
        """Let the answer name this codec alone."""
        known = RTCRtpReceiver.getCapabilities("audio")
        assert known is not None
        transceiver.setCodecPreferences([c for c in known.codecs if c.mimeType.lower() == f"audio/{codec}"])

    def _changed(self) -> None:
        state = self.connection.connectionState
        if state == "connected":
            self.connected.set()
        elif state in ("failed", "closed"):
            self._ended(f"connection {state}")

    async def answer(self, sdp: str) -> str:
        """Take an offer and return the answer; raises `InvalidSetting`, and `PoolFull` without a port."""
        try:
            offered = SessionDescription.parse(sdp).media
            bare = RTCSessionDescription(sdp=without_candidates(sdp), type="offer")
            await self.connection.setRemoteDescription(bare)
            for transceiver in self.connection.getTransceivers():
                ice = transceiver.receiver.transport.transport._connection
                if ice not in self._limits:
                    self._limits[ice] = ConnectionLimits(ice, self._policy)
                    self._gathering.attach(ice, relay=transceiver is self._audio)
                    ignore_feedback(transceiver.receiver.transport)
                if transceiver is not self._audio:
                    transceiver.direction = "inactive"
            await asyncio.gather(
                *(self._add(one, media.rtp.muxId) for media in offered for one in media.ice_candidates)
            )
            if any(media.ice_candidates_complete for media in offered):
                await self.connection.addIceCandidate(None)
            mine = await self.connection.createAnswer()
            if "a=setup:actpass" in sdp:  # as a DTLS client aiortc takes no RSA certificate, which GStreamer has
                mine.sdp = mine.sdp.replace("a=setup:active", "a=setup:passive")
            await self.connection.setLocalDescription(mine)
            for limits in self._limits.values():
                limits.watch()
        except PoolFull:
            raise
        except Exception as error:  # an offer may be wrong in as many ways as aiortc has lines
            raise InvalidSetting(f"expected an offer that can be answered: {type(error).__name__}: {error}") from error
        return str(self.connection.localDescription.sdp)

    @property
    def refused(self) -> int:
        """How many datagrams, candidates and checks were not taken."""
        return sum(limits.refused for limits in self._limits.values())

    def floods(self) -> bool:
        """Whether the peer has sent too much without a pause (`ConnectionLimits.floods`); asked for every second."""
        return any(limits.floods() for limits in self._limits.values())

    @property
    def round_trip_ms(self) -> float | None:
        """As the peer's reports tell it; None before, and where they cannot be true."""
        found = getattr(self._audio.sender, ROUND_TRIP)
        return 1000 * found if found is not None and 0 <= found < LONGEST_ROUND_TRIP_S else None

    @property
    def remote_fragment(self) -> str:
        """The name that the peer's ICE goes by."""
        if self._restart:
            return self._restart.theirs.fragment
        media = SessionDescription.parse(self.connection.remoteDescription.sdp).media
        return next((m.ice.usernameFragment for m in media if m.ice and m.ice.usernameFragment), "")

    async def add_candidate(self, line: str, mid: str | None) -> None:
        """Add a candidate that was found later; one where checks may not be sent to is left out (`AddressPolicy`).

        Raises `InvalidSetting` for what is none, and for one more than a call may have.
        """
        if self._candidates >= MOST_CANDIDATES:
            raise InvalidSetting(f"expected at most {MOST_CANDIDATES} candidates in a call")
        try:
            candidate = candidate_from_sdp(line.removeprefix("a=").removeprefix("candidate:"))
            await self._add(candidate, mid or self._audio.mid)
        except Exception as error:
            raise InvalidSetting(f"expected an ICE candidate, got {line[:80]!r} ({type(error).__name__})") from error

    async def _add(self, candidate: Any, mid: str | None) -> None:
        self._candidates += 1
        if candidate.ip.endswith(".local"):
            self._names += 1
            if self._names > MOST_NAMES:
                return
        candidate.sdpMid = mid
        if self._restart and self._restart.lasts:
            await self._restart.connection.add_remote_candidate(candidate_to_aioice(candidate))
        else:
            await self.connection.addIceCandidate(candidate)

    async def restart(self, fragment: str) -> Restart:
        """Begin an ICE restart with the peer's SDP fragment; its `finish` has to be run then.

        One that is not over is given up: the peer's network has changed again. Raises `InvalidSetting`, and `PoolFull`
        without a port.
        """
        if not self.connected.is_set() or (self._restart and self._restart.begins):
            raise InvalidSetting("expected one ICE restart at a time, of a peer that is connected")
        one = Restart(self._audio.receiver.transport.transport, Credentials.read(fragment), self._audio.mid or "0")
        old, self._restart = self._restart, one
        if old:
            await old.close()
        self._limits = {ice: limits for ice, limits in self._limits.items() if not ice._closed}
        self._gathering.attach(one.connection, relay=True)
        self._limits[one.connection] = limits = ConnectionLimits(one.connection, self._policy)
        self._candidates = self._names = 0
        try:
            await one.begin()
        except BaseException:
            self._restart = None  # the peer may ask for the same again
            raise
        limits.watch()
        return one

    async def close(self) -> None:
        """Hang up."""
        self.connection.remove_all_listeners("connectionstatechange")
        self.connected.set()  # who waits for that need not wait any longer
        if self._restart:
            await self._restart.close()
        await self.connection.close()
