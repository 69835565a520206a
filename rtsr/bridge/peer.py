"""One WebRTC peer: an offer answered, candidates taken, the connection watched and restarted.

aiortc negotiates, connects and agrees on keys; the media are `DtlsMedia`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver, RTCSessionDescription
from aiortc.rtcicetransport import candidate_to_aioice
from aiortc.sdp import SessionDescription, candidate_from_sdp

from ..errors import InvalidSetting, PoolFull
from .dtls_media import DtlsMedia
from .gathering import Gathering
from .limits import MOST_CANDIDATES, AddressPolicy, ConnectionLimits
from .offers import without_candidates
from .restart import Credentials, Restart

MOST_NAMES = 8  # candidates that are names (mDNS): each is looked up on the bridge's network


class Peer:
    """One peer connection, made from an offer: of one that speaks, listens, or both. The event loop's."""

    def __init__(
        self,
        codec: str,
        direction: str,
        packet_ms: int,
        ended: Callable[[str], None],
        policy: AddressPolicy,
        gathering: Gathering,
    ) -> None:
        """`direction` is ours, as SDP has it. `ended` is called with the reason."""
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connected = asyncio.Event()
        self._ended, self._policy, self._gathering = ended, policy, gathering
        self._limits: dict[Any, ConnectionLimits] = {}  # by aioice connection
        self._candidates = self._names = 0
        self._restart: Restart | None = None  # the last one
        self._audio = self.connection.addTransceiver("audio", direction)
        self._prefer(self._audio, codec)
        self.media = DtlsMedia(self._audio, packet_ms)
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
                    self._limits[ice] = ConnectionLimits(ice, self._policy, self.media.take)
                    self._gathering.attach(ice, relay=transceiver is self._audio)
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
        self._limits[one.connection] = limits = ConnectionLimits(one.connection, self._policy, self.media.take)
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
        if self.media.session and self.connection.connectionState != "closed":
            self.media.session.leave()
        if self._restart:
            await self._restart.close()
        await self.connection.close()
