"""Peers that stand for other machines, and so take as little of this one as they can.

aiortc makes their calls. Their packets are encoded and encrypted before, and sent in their time by one thread; what the
bridge sends is noted, not decrypted.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack

from rtsr.bench.signal import voice
from rtsr.bridge.codec import CODECS, make_encoder
from rtsr.bridge.limits import LONGEST
from rtsr.bridge.rtp import write
from tests.live.bridge.peers import PACKET_S, RATE, Client, Peer

GAP_S = 0.06  # between two packets: three times what is due
LATE_S = 0.01  # of a packet that the peers send: half of what a bridge on an even line waits for
TIMESTAMP = 35  # SO_TIMESTAMPNS of Linux


class Mute(MediaStreamTrack):
    """A voice that aiortc waits for in vain: what is sent in its place is encrypted here."""

    kind = "audio"

    async def recv(self) -> Any:
        """Never return."""
        await asyncio.Event().wait()


def encoded(codec: str) -> list[bytes]:
    """Ten seconds of a voice."""
    sound, encoder = voice(10, RATE).astype(np.float32), make_encoder(codec, 20)
    blocks = sound[: len(sound) // 960 * 960].reshape(-1, 960)
    return [packet for packet in map(encoder.encode, blocks) if packet]


class PacketSender:
    """The thread that sends the packets of every leg, spread evenly over the duration of a packet."""

    def __init__(self, seconds: float) -> None:
        self.count = round(seconds / PACKET_S)  # packets of a leg, and then it is silent
        self.late_s: list[tuple[float, float]] = []  # when a packet was due, and by how much it was later
        self._legs: list[tuple[socket.socket, Any, list[bytes]]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="packets", daemon=True)

    def add(self, peer: Peer, codec: str, payloads: list[bytes]) -> None:
        """Let a connected peer speak."""
        transceiver = peer.connection.getTransceivers()[0]
        rtp, source = transceiver.sender.transport, transceiver.sender._ssrc
        kind, step = transceiver._codecs[0].payloadType, round(PACKET_S * CODECS[codec].clock)
        packets = [
            rtp._tx_srtp.protect(write(kind, n, n * step, source, payloads[n % len(payloads)]))
            for n in range(1, self.count + 1)
        ]
        pair = rtp.transport._connection._nominated[1]
        self._legs.append((pair.protocol.transport.get_extra_info("socket")._sock, pair.remote_addr, packets))

    def start(self) -> None:
        """Begin, with all legs that were added."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        began, apart_s = time.monotonic(), PACKET_S / len(self._legs)
        for number in range(self.count):
            for place, (port, target, packets) in enumerate(self._legs):
                due_s = began + number * PACKET_S + place * apart_s
                time.sleep(max(0.0, due_s - time.monotonic()))
                if self._ending.is_set():
                    return
                self.late_s.append((due_s, time.monotonic() - due_s))
                port.sendto(packets[number], target)


def take_rtp(peer: Peer, note: Callable[[bytes, float], None]) -> None:
    """Let `note` have a peer's RTP packets, encrypted, with the kernel's time of each; aioice gets the rest."""
    loop = asyncio.get_running_loop()

    def take(protocol: Any) -> None:
        taken = protocol.transport.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, TIMESTAMP, 1)

        def read() -> None:
            try:
                data, ancillary, _, source = protocol.transport._sock.recvmsg(LONGEST, 64)
            except OSError:
                return
            if not (128 <= data[0] <= 191 and not 192 <= data[1] <= 223):  # anything but RTP (RFC 5761)
                protocol.datagram_received(data, source)
            elif ancillary:
                seconds, nanoseconds = struct.unpack("@ll", ancillary[0][2])
                note(data, seconds + 1e-9 * nanoseconds)

        loop._remove_reader(taken.fileno())
        loop._add_reader(taken.fileno(), read)

    for protocol in peer.connection.getReceivers()[0].transport.transport._connection._protocols:
        take(protocol)


class Listener:
    """Notes when the kernel got packets, which over the loopback is when the bridge sent them.

    What the peers' process is late to read is not the bridge's lateness, and not hidden in it either.
    """

    def __init__(self, peer: Peer) -> None:
        self.arrived: list[float] = []  # time.time
        self.stamps: list[int] = []  # RTP's
        self.sizes: list[int] = []  # bytes
        self.read_s: list[float] = []  # how much later the peers' process saw it
        take_rtp(peer, self._note)

    def _note(self, data: bytes, sent_s: float) -> None:
        self.arrived.append(sent_s)
        self.stamps.append(int.from_bytes(data[4:8]))
        self.sizes.append(len(data))
        self.read_s.append(time.time() - sent_s)

    def gaps(self, since_s: float, until_s: float) -> int:
        """How often, from one time to another, the bridge sent nothing for too long or left sound out."""
        arrived, stamps = np.array([since_s, *self.arrived, until_s]), np.array(self.stamps)
        inside = (arrived >= since_s) & (arrived <= until_s)
        steps = np.diff(stamps[inside[1:-1]]) % (1 << 32)
        return int((np.diff(arrived[inside]) > GAP_S).sum() + (steps > np.median(steps)).sum())


async def call(
    client: Client, rooms: list[str], codecs: list[str], seconds: float
) -> tuple[PacketSender, list[Listener]]:
    """Let a peer of each codec join the room beside it; returns what sends for them, started, and what they hear."""
    payloads, sender, listeners = {codec: encoded(codec) for codec in codecs}, PacketSender(seconds), []
    for room, codec in zip(rooms, codecs, strict=True):
        peer = await client.call(room, Mute(), codec)
        listeners.append(Listener(peer))
        sender.add(peer, codec, payloads[codec])
    sender.start()
    return sender, listeners
