"""One peer connection with a real aiortc program on the other end, in one process."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtpPacket

from rtsr.bridge.codec import OPUS
from rtsr.bridge.gathering import Gathering
from rtsr.bridge.leg import Leg
from rtsr.bridge.limits import MOST_CANDIDATES, MOVED_S, AddressPolicy
from rtsr.bridge.offers import without_candidates
from rtsr.bridge.peer import MOST_NAMES, Peer
from rtsr.bridge.rtp import write
from rtsr.bridge.srtp import MOST_SOURCES
from rtsr.errors import InvalidSetting

pytestmark = pytest.mark.realtime

LIMIT_S = 90.0


@asynccontextmanager
async def offered(
    ended: Callable[[str], None] = lambda why: None,
) -> AsyncIterator[tuple[Peer, RTCPeerConnection]]:
    """A peer, and a client whose offer it has not seen."""
    client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    client.addTransceiver("audio", "recvonly")
    await client.setLocalDescription(await client.createOffer())
    peer = Peer(OPUS, "sendonly", 20, ended, AddressPolicy(loopback=True), Gathering())
    try:
        yield peer, client
    finally:
        await peer.close()
        await client.close()


@asynccontextmanager
async def connected(
    ended: Callable[[str], None] = lambda why: None,
) -> AsyncIterator[tuple[Peer, RTCPeerConnection]]:
    """A peer that a client has called, with its leg."""
    async with offered(ended) as (peer, client):
        answer = await peer.answer(client.localDescription.sdp)
        peer.leg = Leg("call", "room", None, None, OPUS)
        peer.media.begin(peer.leg)
        await client.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await peer.connected.wait()
        while client.connectionState != "connected":
            await asyncio.sleep(0.01)
        yield peer, client


def ice(peer: Peer):
    return peer._audio.receiver.transport.transport._connection


def test_requests_to_send_packets_again_are_not_answered():
    async def run() -> None:
        async with asyncio.timeout(LIMIT_S), connected() as (peer, client):
            sent, pair = list[bytes](), ice(peer)._nominated[1]
            send = pair.protocol.transport.sendto
            pair.protocol.transport.sendto = lambda data, place: (sent.append(data), send(data, place))[1]
            for number in range(3):
                peer.leg.deliver(bytes(60), 960 * number)
            assert len(sent) == 3
            handled, take = asyncio.Event(), peer.media.session.take_report
            peer.media.session.take_report = lambda report: (take(report), handled.set())
            source = peer._audio.sender._ssrc
            receiver = struct.pack("!BBHI", 0x80, 201, 1, 1)
            nack = struct.pack("!BBHII", 0x81, 205, 2 + 300, 1, source) + struct.pack("!HH", 1, 0xFFFF) * 300
            await client.getTransceivers()[0].receiver.transport._send_rtp(receiver + nack)
            await handled.wait()
            assert len([data for data in sent if 128 <= data[0] <= 191]) == 3
            assert peer.refused == 0

    asyncio.run(run())


def test_packets_reach_an_aiortc_program_and_its_reports_come_back():
    """Its own receiver and statistics: the packets are RTP as it knows it, and our reports tell it what it missed."""

    async def run() -> None:
        heard: list[RtpPacket] = []

        async with asyncio.timeout(LIMIT_S), connected() as (peer, client):
            transport = client.getTransceivers()[0].receiver.transport
            handle = transport._rtp_router.route_rtp
            transport._rtp_router.route_rtp = lambda packet: (heard.append(packet), handle(packet))[1]
            for number in range(5):
                peer.leg.deliver(bytes([0x78, number]), 960 * number)
            while len(heard) < 5:
                await asyncio.sleep(0.01)
            assert [packet.payload[1] for packet in heard] == list(range(5))
            assert {packet.extensions.mid for packet in heard} == {client.getTransceivers()[0].mid}
            assert {(after.timestamp - before.timestamp) % 2**32 for before, after in pairwise(heard)} == {960}
            reports = peer.media.session.reports
            while reports.round_trip_ms is None:  # a report there, its echo back: aiortc sends one a second
                peer.media.session._report_s = 0
                peer.media.session.report()
                await asyncio.sleep(0.1)
            assert 0 <= reports.round_trip_ms < 1_000
            assert (peer.media.sent, peer.media.dropped) == (5, 0)

    asyncio.run(run())


def test_a_peer_that_keeps_changing_its_source_is_remembered_by_the_last_of_them():
    async def run() -> None:
        async with asyncio.timeout(LIMIT_S), connected() as (peer, client):
            transport = client.getTransceivers()[0].receiver.transport
            kind = peer.media.session.types.audio
            for source in range(100):  # half of them of a kind that was not agreed on
                await transport._send_rtp(write(kind if source % 2 else 77, 1, 1, source, b"\x78"))
            while peer.media.session._peer != 99:
                await asyncio.sleep(0.01)
            assert list(peer.media._decrypt._sources) == list(range(100 - MOST_SOURCES, 100))

    asyncio.run(run())


def test_what_no_key_fits_is_ignored():
    async def run() -> None:
        async with asyncio.timeout(LIMIT_S), connected() as (peer, _):
            for data in (b"\x80\x60" + bytes(60), b"\x81\xc9" + bytes(60), b"\x80", bytes([0x80]) * 2_000):
                peer.media.take(data)
            assert peer.media.session._peer is None

    asyncio.run(run())


def test_a_peer_whose_address_changes_is_heard_and_answered_there():
    """As behind a router that gives it another port: its checks come from there, and nothing from the old one."""

    async def run() -> None:
        async with asyncio.timeout(LIMIT_S), connected() as (peer, client):
            theirs, ours = client.getTransceivers()[0].receiver.transport.transport._connection, ice(peer)
            pair = theirs._nominated[1]
            stun, old = pair.protocol, pair.protocol.transport
            asyncio.get_running_loop()._remove_reader(old.get_extra_info("socket").fileno())
            host = old.get_extra_info("sockname")[0]
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: stun, (host, 0))
            new = stun.transport.get_extra_info("sockname")[:2]

            async def check() -> None:
                request = theirs.build_request(pair, nominate=False)
                await stun.request(request, pair.remote_addr, integrity_key=theirs.remote_password.encode())

            await check()
            assert ours._nominated[1].remote_addr != new, "the old address has been heard a moment ago"
            for limits in peer._limits.values():
                limits._heard_s -= MOVED_S
            await check()
            while ours._nominated[1].remote_addr != new:
                await asyncio.sleep(0.01)
            old.close()

    asyncio.run(run())


def test_candidates_of_many_fragments_are_bounded():
    async def run() -> None:
        async with offered() as (peer, client):
            await peer.answer(client.localDescription.sdp)
            with pytest.raises(InvalidSetting, match="at most"):  # noqa: PT012
                for number in range(200):
                    await peer.add_candidate(f"candidate:1 1 udp 99 192.168.77.7 {2_000 + number} typ host", "0")
            assert len(ice(peer).remote_candidates) <= MOST_CANDIDATES
            assert number <= MOST_CANDIDATES

    asyncio.run(run())


def test_candidates_of_an_offer_are_looked_at_as_well():
    async def run() -> None:
        async with offered() as (peer, client):
            known = len(client.getTransceivers()[0].receiver.transport.transport.iceGatherer.getLocalCandidates())
            more = [
                f"a=candidate:{n} 1 udp 99 {host} 5000 typ host" for n, host in enumerate(("224.0.0.1", "169.254.1.1"))
            ]
            sdp = client.localDescription.sdp.replace(
                "a=end-of-candidates", "\r\n".join([*more, "a=end-of-candidates"])
            )
            await peer.answer(sdp)
            assert len(ice(peer).remote_candidates) == known
            assert peer.refused == 2

    asyncio.run(run())


def test_names_of_candidates_are_not_asked_for_without_end(monkeypatch):
    asked: list[str] = []

    async def run() -> None:
        async with offered() as (peer, client):
            await peer.answer(client.localDescription.sdp)

            async def add(candidate) -> None:
                asked.append(candidate.ip)

            monkeypatch.setattr(peer.connection, "addIceCandidate", add)
            for number in range(MOST_NAMES + 20):
                await peer.add_candidate(f"candidate:1 1 udp 99 {number}.local 5000 typ host", "0")

    asyncio.run(run())
    assert len(asked) == MOST_NAMES


def test_an_offer_without_its_candidates_is_otherwise_the_same():
    sdp = "v=0\r\nm=audio 9 UDP 0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=mid:0\r\na=end-of-candidates\r\n"
    assert without_candidates(sdp) == "v=0\r\nm=audio 9 UDP 0\r\na=mid:0\r\n"


def test_a_restart_that_comes_to_nothing_changes_nothing():
    """The peer never answers on the new connection: the old one is used on, and another restart may be asked for."""
    fragment = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=mid:0\r\n"

    async def run() -> None:
        heard = asyncio.Event()

        async def arrive(data: bytes, arrival_time_ms: int) -> None:
            heard.set()

        async with asyncio.timeout(LIMIT_S), connected() as (peer, client):
            with pytest.raises(InvalidSetting, match="ice-pwd"):
                await peer.restart("a=ice-ufrag:abcd\r\n")
            before = ice(peer)
            first = await peer.restart(fragment)
            assert "a=ice-ufrag:" in first.fragment
            assert "a=candidate:" in first.fragment
            assert before.local_username not in first.fragment
            finishing = asyncio.ensure_future(first.finish(LIMIT_S))
            await asyncio.sleep(0)
            with pytest.raises(InvalidSetting, match="ice-pwd"):
                await peer.restart("a=ice-ufrag:abcd\r\n")
            both = await asyncio.gather(peer.restart(fragment), peer.restart(fragment), return_exceptions=True)
            assert "one ICE restart at a time" in str(both[1])
            assert not await finishing, "the second takes its place at once"
            assert not await both[0].finish(0.2)
            assert ice(peer) is before
            client.getTransceivers()[0].receiver.transport._handle_rtp_data = arrive
            peer.leg.deliver(b"\x78" + bytes(60), 0)
            await heard.wait()
            await peer.restart(fragment)

    asyncio.run(run())


def test_a_restart_before_the_connection_is_refused():
    async def run() -> None:
        async with offered() as (peer, client):
            await peer.answer(client.localDescription.sdp)
            with pytest.raises(InvalidSetting, match="that is connected"):
                await peer.restart("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n")

    asyncio.run(run())
