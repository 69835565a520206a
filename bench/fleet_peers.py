"""Callers of `bench.fleet`: aiortc makes their calls, one thread speaks for all; they call again as the page does."""

from __future__ import annotations

import contextlib
import threading
import time
from math import inf
from typing import Any

import numpy as np

from bench.packets import LATE_S, Listener, Mute, encoded
from rtsr.bridge.codec import CODECS, OPUS
from rtsr.bridge.rtp import write
from rtsr.daemon.priority import ask_for_real_time
from tests.live.bridge.peers import PACKET_S, Client, Peer
from tests.live.fleet.caller import Caller

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


class LightCaller(Caller):
    """A caller for whom the one thread speaks, and whose packets are noted and not decoded."""

    def __init__(self, client: Client, room: str, voices: Voices) -> None:
        super().__init__(client, room, Mute, OPUS)
        self.listener: Listener | None = None
        self.heard_last_s = 0.0  # over the connection before
        self._voices = voices

    def _joined(self, peer: Peer) -> None:
        self.heard_last_s = self.listener.arrived[-1] if self.listener and self.listener.arrived else 0.0
        self.listener = Listener(peer)
        self._voices.add(peer)

    async def _leave(self, peer: Peer) -> None:
        self._voices.drop(peer)
        await super()._leave(peer)

    def _silent_s(self, peer: Peer) -> float:
        assert self.listener
        return time.time() - self.listener.arrived[-1] if self.listener.arrived else inf

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
