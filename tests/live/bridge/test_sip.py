"""SIP calls into rooms: sipp as telephones, over UDP, TCP and TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rtsr.bridge.rtp import write
from rtsr.dsp.resample import Resampler
from tests.live.bridge import linphone
from tests.live.bridge.baresip import Telephone
from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.live.bridge.sip_lines import SECRET, SILENCE, Lines, gone, voice_file
from tests.live.bridge.sipp import call, has, pause, play, receive, run, sdp, send
from tests.live.servers import wait_for

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_a_telephone_calls_and_is_heard_enhanced(lines: Lines, tmp_path: Path, codec: str):
    room, voice = f"call-{codec.lower()}", demo_voice()
    recording = voice_file(tmp_path, {"PCMU": "mu", "PCMA": "a"}[codec])
    speaking = [play(recording, codec), pause(len(voice) // 8 + 300)]

    async def test() -> tuple[np.ndarray, list[dict]]:
        async with Client(lines.bridge.url) as client:
            peer = await client.call(room, VoiceTrack(SILENCE))
            calling = asyncio.ensure_future(
                run(tmp_path, call(*speaking, codecs=codec), lines.port("open"), service=room)
            )
            await asyncio.sleep(2)
            during = await client.room(room)
            code, text = await calling
            assert code == 0, text
            await gone(client, room)
            return peer.heard, during

    heard, during = asyncio.run(test())
    (leg,) = [one for one in during if one["kind"] == "sip"]
    assert (leg["name"], leg["speaker"]["codec"]) == ("Desk", codec.lower())
    assert leg["speaker"]["received"] > 50
    sent = as_g711(voice, codec.lower())
    found = compare(heard, at_48k(sent, 8_000), enhanced(sent, 8_000))
    print(codec, found)
    assert found.pieces >= 3
    assert found.lsd < 0.75 * found.lsd_plain


def one(folder: Path, steps: list[str], target: int | None, *more: str, service: str = "desk") -> None:
    code, text = asyncio.run(run(folder, steps, target, *more, service=service))
    assert code == 0, text


def test_the_codec_is_the_first_of_the_offer(lines: Lines, tmp_path: Path):
    steps = call(pause(100), codecs="G722 PCMU")
    steps[2] = receive(200, action=has("m=audio [0-9]+ RTP/AVP 9"))
    one(tmp_path, steps, lines.port("open"))


def test_calls_over_tcp(lines: Lines, tmp_path: Path):
    one(tmp_path, call(pause(300)), lines.port("open"), "-t", "t1")


def test_linphone_and_a_peer_hear_each_other_enhanced(lines: Lines, tmp_path: Path):
    voice, uri = demo_voice(), f"sip:linphone@127.0.0.1:{lines.port('open')}"

    async def test() -> tuple[np.ndarray, np.ndarray, int, str]:
        async with Client(lines.bridge.url) as client:
            peer = await client.call("linphone", VoiceTrack(at_48k(voice, 8_000), loop=True))
            heard, rate, said = await linphone.call(tmp_path, np.tile(voice, 2), uri)
            await gone(client, "linphone")
            return peer.heard, heard, rate, said

    by_the_peer, by_linphone, rate, said = asyncio.run(test())
    print(said)
    assert "ended (No error)" in said
    twice = np.tile(voice, 2)
    for heard in (by_the_peer, at_48k(by_linphone, rate)):
        found = compare(heard, at_48k(twice, 8_000), enhanced(twice, 8_000))
        print(found)
        assert found.pieces >= 3
        assert found.lsd < 0.75 * found.lsd_plain


@pytest.mark.parametrize("codec", ["pcmu", "g722/16000/1"])
def test_baresip_calls_over_tls_with_srtp_and_a_password(lines: Lines, tmp_path: Path, codec: str):
    voice, room, port = demo_voice(), f"baresip-{codec[:4]}", lines.port("encrypted")
    account = f"<sip:alice@127.0.0.1;transport=tls>;regint=0;audio_codecs={codec};mediaenc=srtp"
    account += f";auth_user=alice;auth_pass={SECRET}"
    rate = 8_000 if codec == "pcmu" else 16_000
    spoken = voice if codec == "pcmu" else Resampler(8_000, rate, 160).process(voice)
    telephone = Telephone(tmp_path / "phone", spoken, rate, account)

    async def test() -> tuple[np.ndarray, list[dict]]:
        async with Client(lines.bridge.url) as client:
            peer = await client.call(room, VoiceTrack(at_48k(voice, 8_000)))
            to = f"sip:{room}@127.0.0.1:{port};transport=tls"
            calling = asyncio.ensure_future(telephone.run(len(voice) / 8_000 + 3, to))
            await asyncio.sleep(2.5)
            during = await client.room(room)
            await calling
            await gone(client, room)
            return peer.heard, during

    heard, during = asyncio.run(test())
    print(telephone.log)
    (leg,) = [one for one in during if one["kind"] == "sip"]
    assert leg["speaker"]["codec"] == codec[:4]
    assert leg["speaker"]["received"] > 30
    sent = as_g711(voice, codec) if codec == "pcmu" else voice
    found = compare(heard, at_48k(sent, 8_000), enhanced(sent, 8_000))
    print(found)
    assert found.pieces >= 3


def test_numbers_lead_to_rooms(lines: Lines, tmp_path: Path):
    async def test() -> None:
        async with Client(lines.bridge.url) as client:
            calling = asyncio.ensure_future(run(tmp_path, call(pause(1_500)), lines.port("open"), service="0049"))
            await asyncio.sleep(1)
            assert len(await client.room("abroad-49")) == 1
            code, text = await calling
            assert code == 0, text

    asyncio.run(test())


def refused(status: int, body: str = "", more: str = "") -> list[str]:
    return [send("INVITE", 1, body, more), receive(100, optional=True), receive(status), send("ACK", 1, ack=True)]


@pytest.mark.parametrize(
    ("status", "service", "body", "more"),
    [
        (404, "NOBODY", sdp(), ""),
        (488, "desk", sdp().replace("RTP/AVP 0", "RTP/AVP 18").replace("0 PCMU", "18 G729"), ""),
        (488, "desk", sdp().replace("[media_ip]", "224.0.0.1"), ""),
        (420, "desk", sdp(), "Require: teleport\n"),
        (422, "desk", sdp(), "Supported: timer\nSession-Expires: 30\n"),
    ],
)
def test_what_cannot_be_is_refused(lines: Lines, tmp_path: Path, status: int, service: str, body: str, more: str):
    one(tmp_path, refused(status, body, more), lines.port("open"), service=service)


def test_digest_lets_in_who_knows_the_password(lines: Lines, tmp_path: Path):
    steps = [
        *refused(401, sdp())[:2],
        receive(401, auth=True),
        send("ACK", 1, ack=True),
        send("INVITE", 2, sdp(), "[authentication]\n"),
        *(receive(200), send("ACK", 2), pause(200), send("BYE", 3), receive(200)),
    ]
    one(tmp_path / "right", steps, lines.port("locked"), "-au", "alice", "-ap", SECRET)
    wrong = [*steps[:5], receive(401), send("ACK", 2, ack=True)]
    one(tmp_path / "wrong", wrong, lines.port("locked"), "-au", "alice", "-ap", "battery staple")


def test_hold_stops_the_audio_and_does_not_end_the_call(lines: Lines, tmp_path: Path):
    """Held for longer than silence may last, and taken up again."""
    desk = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    desk.bind(("127.0.0.1", 0))
    desk.setblocking(False)
    media = str(desk.getsockname()[1])
    hold, resume = send("INVITE", 2, sdp(direction="inactive", media=media)), send("INVITE", 3, sdp(media=media))
    steps = call(
        *(pause(1_500), hold, receive(200, action=has("a=inactive")), send("ACK", 2), pause(5_000)),
        *(resume, receive(200, action=has("a=sendrecv")), send("ACK", 3), pause(1_500)),
    )
    steps[0] = send("INVITE", 1, sdp(media=media))
    arrivals: list[float] = []

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        while True:
            data, place = await loop.sock_recvfrom(desk, 2_048)
            if data[1] & 0x7F == 0:
                arrivals.append(loop.time())
                if len(arrivals) < 50:
                    desk.sendto(write(0, len(arrivals), len(arrivals) * 160, 7, b"\xff" * 160), place)

    async def test() -> None:
        async with Client(lines.bridge.url) as client:
            await client.call("hold", VoiceTrack(SILENCE))
            listening = asyncio.ensure_future(listen())
            code, text = await run(tmp_path, steps, lines.port("open"), service="hold")
            assert code == 0, text
            await gone(client, "hold")
            listening.cancel()

    asyncio.run(test())
    desk.close()
    gaps = np.diff(arrivals)
    print(len(arrivals), sorted(gaps)[-3:])
    assert 4.5 < gaps.max() < 6
    assert np.sum(gaps > 1) == 1
    assert len(arrivals) > 80


def test_twenty_at_once_and_ten_in_sequence_leave_nothing(start_bridge: Callable[..., Bridge], tmp_path: Path):
    """Signalling alone: the network is not computed, as a busy machine rightly refuses calls that it cannot carry."""
    line = '[[bridge.sip]]\nname = "many"\nlisten = "127.0.0.1:0"'
    bridge = start_bridge(settings=f'peers = 32\nbackend = "null"\n{line}', calls=32)
    port = Lines(bridge).port("many")
    one(tmp_path / "warm", call(pause(50)), port)
    descriptors, threads = bridge.descriptors(), bridge.threads()
    one(tmp_path / "together", call(pause(3_000)), port, "-m", "20", "-r", "40", "-l", "20")
    one(tmp_path / "sequence", call(pause(50)), port, "-m", "10", "-r", "10", "-l", "1")

    async def test() -> None:
        async with Client(bridge.url) as client:
            await gone(client, "desk")

    asyncio.run(test())
    # A connection of this client; the sockets of a call are closed soon after it has left its room.
    wait_for(lambda: bridge.descriptors() <= descriptors + 1, 3, "closed sockets")
    assert bridge.threads() == threads
