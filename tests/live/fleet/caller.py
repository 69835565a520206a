"""A caller that calls again as the page does, and so outlives its connection, its bridge and the bridge's machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf

import aiohttp
from aiortc import MediaStreamTrack

from tests.live.bridge.peers import Client, Peer

WATCH_S = 0.1
SILENT_S, AGAIN_S, ANSWER_S = 0.8, 0.4, 5.0  # as rtsr/bridge/page/call.js has them
LOUD = 0.05


class Caller:
    """One person in a room. `heard_s` holds when a voice was heard, in time.monotonic's seconds."""

    def __init__(
        self, client: Client, room: str, voice_of: Callable[[], MediaStreamTrack], codec: str | None = None
    ) -> None:
        self.client, self.room, self.voice_of, self.codec = client, room, voice_of, codec
        self.peer: Peer | None = None
        self.calls = 0
        self.heard_s: list[float] = []
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Call, and watch over the call."""
        await self._call()
        self._watching = asyncio.ensure_future(self._watch())

    async def _call(self) -> None:
        old = self.peer
        wishes = {"replaces": old.location.rpartition("/")[2]} if old else {}
        calling = self.client.call(self.room, self.voice_of(), self.codec, **wishes)
        new = await asyncio.wait_for(calling, ANSWER_S)
        self._joined(new)
        self.peer = new
        self.calls += 1
        if old:
            await self._leave(old)

    def _joined(self, peer: Peer) -> None:
        """Note a new connection, before it takes the place of the old one."""

    async def _leave(self, peer: Peer) -> None:
        """Close a connection."""
        self.client.peers.remove(peer)
        await peer.close()

    async def _watch(self) -> None:
        since_s = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            assert self.peer
            ended = self.peer.connection.connectionState in ("closed", "failed")
            if ended or min(time.monotonic() - since_s, self._silent_s(self.peer)) > SILENT_S:
                try:
                    await self._call()
                except (OSError, AssertionError, TimeoutError, aiohttp.ClientError):
                    await asyncio.sleep(AGAIN_S)
                since_s = time.monotonic()

    def _silent_s(self, peer: Peer) -> float:
        """For how long the present connection has brought nothing. Notes when a voice was heard, and keeps no sound."""
        for block, arrived_s in zip(peer.blocks, peer.arrivals, strict=False):
            if abs(block).max() > LOUD:
                self.heard_s.append(arrived_s)
        del peer.blocks[:], peer.arrivals[:-1]
        return time.monotonic() - peer.arrivals[-1] if peer.arrivals else inf

    async def close(self) -> None:
        """Hang up."""
        if self._watching:
            self._watching.cancel()
        if self.peer:
            async with self.client.http.delete(self.peer.location):
                pass
            await self._leave(self.peer)


async def idle(client: Client, voices: int) -> None:
    """Wait until every worker is there and nobody calls any more."""
    while True:
        async with client.http.get("/fleet") as reply:
            said = await reply.json()
        if (said["calls"], said["voices"]) == (0, voices):
            break
        await asyncio.sleep(0.05)


async def home(client: Client, room: str) -> str:
    """Return the worker of a room."""
    async with client.http.post(f"/fleet/rooms/{room}") as reply:
        return (await reply.json())["worker"]
