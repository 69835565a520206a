"""The plain RTP leg: sipp's telephone call, and packets that are none."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rtsr.bridge.codec import make_decoder, make_encoder
from rtsr.bridge.rtp import HEADER, parse
from rtsr.speech.g711 import encode
from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.speech import missing

pytestmark = pytest.mark.alone


def packets(sound: np.ndarray, codec: str) -> list[bytes]:
    """RTP packets of a sound at 48 kHz, 20 ms each."""
    encoder, kind = make_encoder(codec, 20), 0 if codec == "pcmu" else 8
    blocks = sound[: len(sound) // 960 * 960].reshape(-1, 960)
    return [HEADER.pack(0x80, kind, n, n * 160, 7) + encoder.encode(block) for n, block in enumerate(blocks)]


def test_a_telephone_is_heard_wideband_and_hears_the_room(start_bridge: Callable[..., Bridge]):
    codec = "pcma"  # sipp's call below is pcmu
    bridge = start_bridge("--rtp", "127.0.0.1:0", "--room", "desk", "--codec", codec)
    port = int(bridge.wait_for(r"event=rtp address=127.0.0.1:(\d+) room=desk"))
    prompt = demo_voice()
    sent = as_g711(prompt, codec)
    tone = (0.3 * np.sin(2 * np.pi * 500 * np.arange(48_000) / 48_000)).astype(np.float32)

    async def call() -> tuple[np.ndarray, bytes]:
        telephone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        telephone.setblocking(False)
        telephone.connect(("127.0.0.1", port))
        came, loop = bytearray(), asyncio.get_running_loop()

        async def listen() -> None:
            while True:
                came.extend(parse(await loop.sock_recv(telephone, 2_048)).payload)

        async with Client(bridge.url) as client:
            peer = await client.call("desk", VoiceTrack(tone, loop=True))
            listening = asyncio.ensure_future(listen())
            began = loop.time()
            for number, packet in enumerate(packets(at_48k(prompt, 8_000), codec)):
                await asyncio.sleep(max(0.0, began + 0.02 * number - loop.time()))
                telephone.send(packet)
            await asyncio.sleep(0.5)
            listening.cancel()
            telephone.close()
            return peer.heard, bytes(came)

    heard, came = asyncio.run(call())
    found = compare(heard, at_48k(sent, 8_000), enhanced(sent, 8_000))
    print(codec, found)
    assert found.pieces >= 3
    assert found.lsd < 0.75 * found.lsd_plain
    said = make_decoder(codec).decode(came)[-8_000:]
    power = np.abs(np.fft.rfft(said)) ** 2
    assert power[460:541].sum() > 0.5 * power.sum()


def test_sipp_calls(start_bridge: Callable[..., Bridge], tmp_path: Path):
    """A SIP program sends its recording; the bridge takes the stream as any media proxy would hand it over."""
    if shutil.which("sipp") is None:
        missing("sipp")
    bridge = start_bridge("--rtp", "127.0.0.1:0", "--room", "sip")
    port = int(bridge.wait_for(r"event=rtp address=127.0.0.1:(\d+)"))
    prompt = demo_voice()
    voice = tmp_path / "voice.ul"
    voice.write_bytes(encode(prompt, "mu").tobytes())
    answered, calling = tmp_path / "answer.xml", tmp_path / "call.xml"
    answered.write_text(SIP_ANSWER.replace("MEDIA_PORT", str(port)))
    calling.write_text(SIP_CALL.replace("VOICE", str(voice)).replace("LENGTH", str(len(prompt) // 8)))
    sip = free_port()
    common = ["-m", "1", "-nostdin", "-i", "127.0.0.1", "-timeout", "20"]

    async def call() -> np.ndarray:
        async with Client(bridge.url) as client:
            peer = await client.call("sip", VoiceTrack(np.zeros(960, np.float32)))
            with (tmp_path / "log").open("w") as log:
                one = subprocess.Popen(
                    ["sipp", "-sf", str(answered), "-p", str(sip), *common], stdout=log, stderr=log, cwd=tmp_path
                )
                await asyncio.sleep(0.5)
                other = await asyncio.create_subprocess_exec(
                    *("sipp", f"127.0.0.1:{sip}", "-sf", str(calling), "-p", str(free_port()), *common),
                    stdout=log,
                    stderr=log,
                    cwd=tmp_path,
                )
                code = await asyncio.wait_for(other.wait(), 30)
                one.wait(10)
            assert code == 0, (tmp_path / "log").read_text()[-2_000:]
            return peer.heard

    heard = asyncio.run(call())
    sent = as_g711(prompt, "pcmu")
    found = compare(heard, at_48k(sent, 8_000), enhanced(sent, 8_000))
    assert found.pieces >= 3, found
    assert found.lsd < 0.75 * found.lsd_plain
    assert re.search('event="rtp caller"', "\n".join(bridge.lines))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


HEAD = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:a@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:b@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
Contact: <sip:a@[local_ip]:[local_port]>
Max-Forwards: 70
"""
SIP_CALL = f"""<?xml version="1.0"?>
<scenario name="a telephone that speaks">
  <send retrans="500"><![CDATA[
INVITE sip:b@[remote_ip]:[remote_port] SIP/2.0
{HEAD}CSeq: 1 INVITE
Content-Type: application/sdp
Content-Length: [len]

v=0
o=a 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
  ]]></send>
  <recv response="200" rtd="true" rrs="true"></recv>
  <send><![CDATA[
ACK sip:b@[remote_ip]:[remote_port] SIP/2.0
{HEAD}CSeq: 1 ACK
Content-Length: 0

  ]]></send>
  <nop><action><exec rtp_stream="VOICE,1,0,PCMU/8000"/></action></nop>
  <pause milliseconds="LENGTH"/>
  <send retrans="500"><![CDATA[
BYE sip:b@[remote_ip]:[remote_port] SIP/2.0
{HEAD}CSeq: 2 BYE
Content-Length: 0

  ]]></send>
  <recv response="200"></recv>
</scenario>
"""
SIP_ANSWER = """<?xml version="1.0"?>
<scenario name="a telephone whose sound is the bridge's">
  <recv request="INVITE"></recv>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=b 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio MEDIA_PORT RTP/AVP 0
a=rtpmap:0 PCMU/8000
  ]]></send>
  <recv request="ACK"></recv>
  <recv request="BYE"></recv>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

  ]]></send>
</scenario>
"""
