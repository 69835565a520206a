"""aiortc programs on the other end: they speak a recording, record what they hear, and know nothing of rtsr."""

from __future__ import annotations

import asyncio
import fractions
import time
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

RATE = 48_000
PACKET_S = 0.02


class VoiceTrack(MediaStreamTrack):
    """Speaks samples in [-1, 1] at a rate, in time, and then silence."""

    kind = "audio"

    def __init__(self, samples: np.ndarray, rate: int = RATE, loop: bool = False) -> None:
        super().__init__()
        self.samples, self.rate, self.loop = samples, rate, loop
        self.given, self.began = 0, 0.0
        self.count = round(rate * PACKET_S)

    async def recv(self) -> av.AudioFrame:
        if not self.began:
            self.began = time.monotonic()
        wait = self.began + self.given / self.rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        if self.readyState != "live":
            raise MediaStreamError
        at = self.given % len(self.samples) if self.loop else self.given
        block = np.zeros(self.count, np.float32)
        part = self.samples[at : at + self.count]
        block[: len(part)] = part
        frame = av.AudioFrame(format="s16", layout="mono", samples=self.count)
        frame.planes[0].update((np.clip(block, -1, 1) * 32767).astype(np.int16).tobytes())
        frame.sample_rate, frame.pts = self.rate, self.given
        frame.time_base = fractions.Fraction(1, self.rate)
        self.given += self.count
        return frame


class Peer:
    """One peer connection of a client. `heard` holds what came, mono at `heard_rate`."""

    def __init__(self, voice: MediaStreamTrack | None, listens: bool = True, codec: str | None = None) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.voice = voice
        self.blocks: list[np.ndarray] = []
        self.arrivals: list[float] = []
        self.heard_rate = RATE
        self.connected_s: float | None = None
        self.location = ""
        self.etag = ""
        self.reading: asyncio.Task[None] | None = None
        direction = {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}
        transceiver = self.connection.addTransceiver(voice or "audio", direction[voice is not None, listens])
        if codec:
            known = RTCRtpSender.getCapabilities("audio").codecs
            transceiver.setCodecPreferences([c for c in known if c.mimeType.lower() == f"audio/{codec}"])
        self.connection.on("track", self._listen)

    def _listen(self, track: MediaStreamTrack) -> None:
        self.reading = asyncio.ensure_future(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            channels = len(frame.layout.channels)
            samples = frame.to_ndarray().reshape(-1, channels).mean(1) / 32768
            self.heard_rate = frame.sample_rate
            self.blocks.append(samples.astype(np.float32))
            self.arrivals.append(time.monotonic())

    @property
    def heard(self) -> np.ndarray:
        return np.concatenate(self.blocks) if self.blocks else np.zeros(0, np.float32)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """Take the answer and wait until connected."""
        began, done = time.monotonic(), asyncio.Event()
        self.connection.on(
            "connectionstatechange", lambda: done.set() if self.connection.connectionState == "connected" else None
        )
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.wait_for(done.wait(), 10)
        self.connected_s = time.monotonic() - began

    async def close(self) -> None:
        await self.connection.close()


class Client:
    """Speaks HTTP with a bridge on behalf of peers."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.peers: list[Peer] = []

    async def __aenter__(self) -> Client:
        self.http = aiohttp.ClientSession(self.url, headers=self.headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(peer.close() for peer in self.peers))
        await self.http.close()

    async def call(self, room: str, voice: MediaStreamTrack | None, codec: str | None = None, **wishes: Any) -> Peer:
        """Join a room for a two-way call."""
        peer = Peer(voice, codec=codec)
        self.peers.append(peer)
        body = {"sdp": await peer.offer(), "type": "offer", **wishes}
        async with self.http.post(f"/rooms/{room}/offer", json=body) as reply:
            answer = await reply.json()
            assert reply.status == 201, answer
        peer.location = reply.headers["Location"]
        await peer.accept(answer["sdp"])
        return peer

    async def offer(self) -> str:
        """An offer of a peer that is never answered."""
        self.peers.append(Peer(VoiceTrack(np.zeros(960, np.float32))))
        return await self.peers[-1].offer()

    async def session(self, kind: str, room: str, voice: MediaStreamTrack | None = None) -> Peer:
        """Publish by WHIP or play by WHEP."""
        peer = Peer(voice, listens=kind == "whep")
        self.peers.append(peer)
        headers = {"Content-Type": "application/sdp"}
        async with self.http.post(f"/{kind}/{room}", data=await peer.offer(), headers=headers) as reply:
            answer = await reply.text()
            assert reply.status == 201, answer
        peer.location, peer.etag = reply.headers["Location"], reply.headers["ETag"]
        await peer.accept(answer)
        return peer

    async def room(self, room: str) -> list[dict[str, Any]]:
        """Return the calls of a room."""
        async with self.http.get(f"/rooms/{room}") as reply:
            return (await reply.json())["calls"]

    async def text(self, path: str) -> tuple[int, str]:
        async with self.http.get(path) as reply:
            return reply.status, await reply.text()

    async def metrics(self) -> dict[str, float]:
        """Return the metrics without labels by name."""
        _, text = await self.text("/metrics")
        pairs = (line.split() for line in text.splitlines() if not line.startswith("#") and "{" not in line)
        return {name: float(value) for name, value in pairs}
