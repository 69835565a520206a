"""An ICE restart (RFC 8445, 2.4): DTLS, its keys and the media go on over another ICE connection.

aiortc has none. aioice makes the new connection; once that has a pair, it takes the place of the old one in aiortc's
transport. The event loop's.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from aioice import Connection

from ..errors import InvalidSetting

WORD = r"([A-Za-z0-9+/]{%d,256})\s*$"  # RFC 8839, 5.4


@dataclass(frozen=True, slots=True)
class Credentials:
    """The ICE user fragment and password of a peer."""

    fragment: str
    password: str

    @classmethod
    def read(cls, text: str) -> Credentials:
        """Read those of an SDP fragment (RFC 8840, 9); raises `InvalidSetting`."""
        fragment = re.search(r"^a=ice-ufrag:" + WORD % 4, text, re.MULTILINE)
        password = re.search(r"^a=ice-pwd:" + WORD % 22, text, re.MULTILINE)
        if fragment is None or password is None:
            raise InvalidSetting("expected a=ice-ufrag and a=ice-pwd in the fragment of an ICE restart")
        return cls(fragment[1], password[1])


class Restart:
    """One restart of aiortc's RTCIceTransport; candidates of the peer are added to `connection` while it `lasts`."""

    def __init__(self, transport: Any, theirs: Credentials, mid: str) -> None:
        self.theirs, self.lasts, self.begins = theirs, True, True
        self._mid = mid
        self._transport = transport
        self.connection = Connection(ice_controlling=transport._connection.ice_controlling)
        self.connection.remote_username, self.connection.remote_password = theirs.fragment, theirs.password

    async def begin(self) -> None:
        """Gather candidates; raises what that raises, and then it is over."""
        try:
            await self.connection.gather_candidates()
        except BaseException:
            await self.close()
            raise
        finally:
            self.begins = False

    @property
    def fragment(self) -> str:
        """Return the SDP fragment that answers the peer's: credentials and candidates."""
        lines = [
            f"a=ice-ufrag:{self.connection.local_username}",
            f"a=ice-pwd:{self.connection.local_password}",
            "m=audio 9 UDP/TLS/RTP/SAVPF 0",
            f"a=mid:{self._mid}",
            *(f"a=candidate:{one.to_sdp()}" for one in self.connection.local_candidates),
            "a=end-of-candidates",
        ]
        return "\r\n".join([*lines, ""])

    async def finish(self, limit_s: float) -> bool:
        """Connect, and let the transport go on over the new connection; the old one is used until then, and closed.

        Returns False where there is no connection in time; then nothing has changed.
        """
        new, old = self.connection, self._transport._connection
        new._queue = old._queue  # DTLS waits for a datagram of the old connection: it is to get those of either
        try:
            async with asyncio.timeout(limit_s):
                await new.connect()
        except (ConnectionError, TimeoutError):
            await self.close()
            return False
        if not self.lasts:  # it was given up at that moment
            return False
        self.lasts = False
        old._queue = asyncio.Queue()  # a connection that is closed says so in its queue
        new._event_waiter, old._event_waiter = old._event_waiter, None  # the transport waits for the new one's end
        self._transport._connection = self._transport.iceGatherer._connection = new
        self._transport._recv, self._transport._send = new.recv, new.send
        await old.close()
        return True

    async def close(self) -> None:
        """Give it up; one that is over is no error."""
        if self.lasts:
            self.lasts = False
            self.connection._queue = asyncio.Queue()
            await self.connection.close()
