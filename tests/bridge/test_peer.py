"""One peer connection with a real aiortc program on the other end, in one process."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from rtsr.bridge.codec import OPUS
from rtsr.bridge.gathering import Gathering
from rtsr.bridge.limits import MOST_CANDIDATES, MOVED_S, AddressPolicy
from rtsr.bridge.offers import without_candidates
from rtsr.bridge.peer import MOST_NAMES, OutTrack, Peer
from rtsr.bridge.rtp import parse
from rtsr.errors import InvalidSetting

LIMIT_S = 90.0


@asynccontextmanager
async def offered() -> AsyncIterator[tuple[Peer, RTCPeerConnection]]:
    """A peer, and a client whose offer it has not seen."""
    client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    client.addTransceiver("audio", "recvonly")
    await client.setLocalDescription(await client.createOffer())
    peer = Peer(OPUS, None, OutTrack(48_000, 20), lambda why: None, AddressPolicy(loopback=True), Gathering())
    try:
        yield peer, client
    finally:
        await peer.close()
        await client.close()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Peer, RTCPeerConnection]]:
    """A peer that a client has called."""
    async with offered() as (peer, client):
        answer = await peer.answer(client.localDescription.sdp)
        await client.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await peer.connected.wait()
        yield peer, client


def ice(peer: Peer):
    return peer._audio.receiver.transport.transport._connection


def test_a_request_to_send_packets_again_hundreds_of_times_is_not_answered():
    async def run() -> None:
        async with asyncio.timeout(LIMIT_S), connected() as (peer, client):
            sender, transport = peer._audio.sender, peer._audio.sender.transport
            history = sender._RTCRtpSender__rtp_history
            while len(history) < 3:
                peer._audio.sender.track.put(b"\x78" + bytes(60), 960 * len(history))
                await asyncio.sleep(0.02)
            sent: list[bytes] = []
            send, transport._send_rtp = transport._send_rtp, lambda data: (sent.append(data), send(data))[1]
            number = next(iter(history.values())).sequence_number
            handled = asyncio.Event()
            handle = transport._handle_rtcp_data

            async def note(data: bytes) -> None:
                await handle(data)
                if data[1] == 205:
                    handled.set()

            transport._handle_rtcp_data = note
            entries = struct.pack("!HH", number, 0) * 300
            nack = struct.pack("!BBHII", 0x81, 205, 2 + 300, 1, sender._ssrc) + entries
            await client.getTransceivers()[0].receiver.transport._send_rtp(nack)
            await handled.wait()
            assert not [data for data in sent if parse(data)]
            assert peer.refused == 0

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
            peer._audio.sender.track.put(b"\x78" + bytes(60), 0)
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
