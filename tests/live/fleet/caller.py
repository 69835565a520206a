"""A caller that calls again as the page does, and so outlives its connection, its bridge and the bridge's machine."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from tests.live.bridge.peers import Client, Peer

WATCH_S = 0.1
SILENT_S, AGAIN_S, ANSWER_S = 0.8, 0.4, 5.0  # as rtsr/bridge/page/call.js has them
LOUD = 0.05


class Caller:
    """One person in a room. `heard_s` holds when a voice was heard, in time.monotonic's seconds."""

    def __init__(self, client: Client, room: str, voice_of: object) -> None:
        self.client, self.room, self.voice_of = client, room, voice_of
        self.peer: Peer | None = None
        self.calls = 0
        self.heard_s: list[float] = []
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Call, and watch over the call."""
        await self._call()
        self._watching = asyncio.ensure_future(self._watch())

    async def _call(self) -> None:
        wishes = {"replaces": self.peer.location.rpartition("/")[2]} if self.peer else {}
        new = await asyncio.wait_for(self.client.call(self.room, self.voice_of(), **wishes), ANSWER_S)
        if self.peer:
            await self.peer.close()
            self.client.peers.remove(self.peer)
        self.peer = new
        self.calls += 1

    async def _watch(self) -> None:
        since_s = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            peer = self.peer
            self._note(peer)
            last_s = max(since_s, peer.arrivals[-1] if peer.arrivals else 0.0)
            ended = peer.connection.connectionState in ("closed", "failed")
            if ended or time.monotonic() - last_s > SILENT_S:
                try:
                    await self._call()
                except (OSError, AssertionError, TimeoutError, aiohttp.ClientError):
                    await asyncio.sleep(AGAIN_S)
                since_s = time.monotonic()

    def _note(self, peer: Peer) -> None:
        """Note when a voice was heard, and keep no sound."""
        for block, arrived_s in zip(peer.blocks, peer.arrivals, strict=False):
            if abs(block).max() > LOUD:
                self.heard_s.append(arrived_s)
        del peer.blocks[:], peer.arrivals[:-1]

    async def close(self) -> None:
        """Hang up."""
        if self._watching:
            self._watching.cancel()
        if self.peer:
            async with self.client.http.delete(self.peer.location):
                pass
            await self.peer.close()
