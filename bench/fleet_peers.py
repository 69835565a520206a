"""Callers of `bench.fleet`: aiortc makes their calls, one thread speaks for all; they call again as the page does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

import aiohttp
import numpy as np

from bench.packets import LATE_S, Listener, Mute, encoded
from rtsr.bridge.codec import CODECS, OPUS
from rtsr.bridge.rtp import write
from rtsr.daemon.priority import ask_for_real_time
from tests.live.bridge.peers import PACKET_S, Client, Peer
from tests.live.fleet.caller import AGAIN_S, ANSWER_S, SILENT_S, WATCH_S

VOICED = 82  # bytes of a packet with a voice, at the least: silence takes a few, and SRTP adds 22
STEP = round(PACKET_S * CODECS[OPUS].clock)


class Voices:
    """The thread that speaks for every caller: a packet of each in 20 ms, spread evenly."""

    def __init__(self) -> None:
        self.late_s: list[tuple[float, float]] = []  # when a round was due, and by how much its last packet was late
        self._payloads = encoded(OPUS)
        self._legs: dict[Peer, tuple[Any, ...]] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="packets", daemon=True)
        self._thread.start()

    def add(self, peer: Peer) -> None:
        """Let a connected peer speak."""
        transceiver = peer.connection.getTransceivers()[0]
        rtp, pair = transceiver.sender.transport, transceiver.sender.transport.transport._connection._nominated[1]
        port = pair.protocol.transport.get_extra_info("socket")._sock
        kind = transceiver._codecs[0].payloadType
        self._legs = {**self._legs, peer: (rtp, port, pair.remote_addr, kind, transceiver.sender._ssrc)}

    def drop(self, peer: Peer) -> None:
        """Let it be silent."""
        self._legs = {one: leg for one, leg in self._legs.items() if one is not peer}

    def sent_late(self, since_s: float) -> int:
        """How many rounds were late by more than a bridge waits for, from a time on."""
        return sum(late_s > LATE_S for due_s, late_s in self.late_s if due_s >= since_s)

    def stop(self) -> None:
        """Send nothing more."""
        assert self._thread.is_alive(), "the thread that speaks has failed"
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        ask_for_real_time()
        began, number = time.monotonic(), 0
        while not self._ending.is_set():
            legs = list(self._legs.values())
            for place, (rtp, port, target, kind, source) in enumerate(legs):
                due_s = began + (number + place / len(legs)) * PACKET_S
                time.sleep(max(0.0, due_s - time.monotonic()))
                payload = self._payloads[number % len(self._payloads)]
                packet = write(kind, number % 65536, number * STEP, source, payload)
                with contextlib.suppress(OSError):  # of a caller that calls again at this moment
                    port.sendto(rtp._tx_srtp.protect(packet), target)
            number += 1
            due_s = began + number * PACKET_S
            self.late_s.append((due_s, max(0.0, time.monotonic() - due_s)))
            time.sleep(max(0.0, due_s - time.monotonic()))


class Caller:
    """One person in a room, who calls again where nothing comes any more."""

    def __init__(self, client: Client, room: str, voices: Voices) -> None:
        self.client, self.room, self.calls = client, room, 0
        self.peer: Peer | None = None
        self.listener: Listener | None = None
        self.heard_last_s = 0.0  # over the connection before
        self._voices = voices
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Call, and watch over the call."""
        await self._call()
        self._watching = asyncio.ensure_future(self._watch())

    async def _call(self) -> None:
        old = self.peer
        wishes = {"replaces": old.location.rpartition("/")[2]} if old else {}
        new = await asyncio.wait_for(self.client.call(self.room, Mute(), OPUS, **wishes), ANSWER_S)
        self.heard_last_s = self.listener.arrived[-1] if self.listener and self.listener.arrived else 0.0
        self.listener = Listener(new)
        self._voices.add(new)
        self.peer = new
        self.calls += 1
        if old:
            await self._leave(old)

    async def _leave(self, peer: Peer) -> None:
        self._voices.drop(peer)
        self.client.peers.remove(peer)
        await peer.close()

    async def _watch(self) -> None:
        since_s = time.time()
        while True:
            await asyncio.sleep(WATCH_S)
            assert self.peer
            assert self.listener
            last_s = max(since_s, self.listener.arrived[-1] if self.listener.arrived else 0.0)
            ended = self.peer.connection.connectionState in ("closed", "failed")
            if ended or time.time() - last_s > SILENT_S:
                try:
                    await self._call()
                except (OSError, AssertionError, TimeoutError, aiohttp.ClientError):
                    await asyncio.sleep(AGAIN_S)
                since_s = time.time()

    def heard_again_s(self) -> float:
        """How long after its last packet over the connection before the present one brought a voice first, or NaN."""
        assert self.listener
        voiced = np.array(self.listener.arrived)[np.array(self.listener.sizes) >= VOICED]
        return float(voiced[0] - self.heard_last_s) if len(voiced) else float("nan")

    def skipped(self, since_s: float) -> int:
        """How many packets of the bridge are missing between those that came from a time on."""
        assert self.listener
        inside = np.array(self.listener.arrived) > since_s
        steps = np.diff(np.array(self.listener.stamps)[inside]) % (1 << 32)
        return int((steps // STEP - 1).clip(0).sum())

    async def close(self) -> None:
        """Hang up."""
        if self._watching:
            self._watching.cancel()
        if self.peer:
            async with self.client.http.delete(self.peer.location):
                pass
            await self._leave(self.peer)
