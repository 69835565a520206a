"""RTP legs by request, with FFmpeg and GStreamer on the other end: codecs, SRTP, RTCP, telephone events."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rtsr.bridge.rtp import parse, write
from rtsr.speech.g711 import decode
from tests.live.bridge.listening import DEMO, as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.speech import missing

pytestmark = pytest.mark.alone

HERE = Path(__file__).parent
FFMPEG = {  # how FFmpeg is told of each codec
    "pcmu": ["-ar", "8000", "-c:a", "pcm_mulaw"],
    "pcma": ["-ar", "8000", "-c:a", "pcm_alaw"],
    "g722": ["-ar", "16000", "-c:a", "g722"],
    "l16": ["-ar", "16000", "-c:a", "pcm_s16be", "-payload_type", "118"],
    "opus": ["-ar", "48000", "-c:a", "libopus", "-b:a", "48k", "-payload_type", "111"],
}


async def open_leg(client: Client, room: str, **body: Any) -> dict[str, Any]:
    async with client.http.post(f"/rooms/{room}/rtp", json=body) as reply:
        answer = await reply.json()
        assert reply.status == 201, answer
        assert reply.headers["Location"] == f"/rooms/{room}/rtp/{answer['call']}"
        return answer


async def speak(codec: str, port: int, *more: str, scheme: str = "rtp") -> asyncio.subprocess.Process:
    """Let FFmpeg speak the bundled telephone prompt."""
    if shutil.which("ffmpeg") is None:
        missing("ffmpeg")
    command = ["ffmpeg", "-v", "error", "-re", "-i", str(DEMO), *FFMPEG[codec], "-ac", "1", *more]
    command += ["-f", "rtp", "-rtpflags", "send_bye", f"{scheme}://127.0.0.1:{port}?pkt_size=700"]
    return await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


async def spoken(process: asyncio.subprocess.Process) -> None:
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()


@pytest.mark.parametrize("codec", FFMPEG)
def test_ffmpeg_is_heard_in_every_codec_and_its_bye_ends_the_leg(bridge: Bridge, codec: str):
    room = f"ffmpeg-{codec}"

    async def call() -> tuple[np.ndarray, list[dict], list[dict]]:
        async with Client(bridge.url) as client:
            peer = await client.call(room, VoiceTrack(np.zeros(960, np.float32)))
            leg = await open_leg(client, room, codec=codec)
            speaking = await speak(codec, leg["port"])
            await asyncio.sleep(2)
            during = await client.room(room)
            await spoken(speaking)
            await asyncio.sleep(1)
            return peer.heard, during, await client.room(room)

    heard, during, after = asyncio.run(call())
    (leg,) = [one for one in during if one["kind"] == "rtp"]
    assert leg["speaker"]["codec"] == codec
    assert leg["rtp"]["lost"] == 0
    assert leg["speaker"]["refused"] == 0
    assert [one for one in after if one["kind"] == "rtp"] == []
    prompt = demo_voice()
    sent = as_g711(prompt, codec) if codec.startswith("pcm") else prompt
    found = compare(heard, at_48k(sent, 8_000), enhanced(sent, 8_000))
    print(codec, found)
    assert found.pieces >= 3


def test_srtp_of_ffmpeg_is_heard(bridge: Bridge):
    text, suite = base64.b64encode(secrets.token_bytes(30)).decode(), "AES_CM_128_HMAC_SHA1_80"

    async def call() -> tuple[np.ndarray, dict]:
        async with Client(bridge.url) as client:
            peer = await client.call("srtp", VoiceTrack(np.zeros(960, np.float32)))
            leg = await open_leg(client, "srtp", codec="pcma", crypto=f"1 {suite} inline:{text}")
            speaking = await speak(
                "pcma", leg["port"], "-srtp_out_suite", suite, "-srtp_out_params", text, scheme="srtp"
            )
            await asyncio.sleep(2)
            during = await client.room("srtp")
            await spoken(speaking)
            return peer.heard, next(one for one in during if one["kind"] == "rtp")

    heard, leg = asyncio.run(call())
    assert leg["speaker"]["received"] > 15
    sent = as_g711(demo_voice(), "pcma")
    found = compare(heard, at_48k(sent, 8_000), enhanced(sent, 8_000))
    assert found.pieces >= 3
    assert found.lsd < 0.75 * found.lsd_plain


def test_a_wideband_telephone_hears_the_enhanced_voice_of_a_narrow_one(bridge: Bridge, tmp_path: Path):
    """G.722 as a desk telephone has it; FFmpeg decodes what came."""

    async def call() -> bytes:
        loop, came = asyncio.get_running_loop(), bytearray()
        async with Client(bridge.url) as client:
            wide = await open_leg(client, "desks", codec="g722")
            narrow = await open_leg(client, "desks", codec="pcmu")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as desk:
                desk.setblocking(False)
                desk.connect(("127.0.0.1", wide["port"]))

                async def listen() -> None:
                    while True:
                        came.extend(parse(await loop.sock_recv(desk, 2_048)).payload)

                async def say_nothing() -> None:
                    for number in range(10_000):
                        desk.send(write(9, number, number * 160, 7, b"\xfa" * 160))
                        await asyncio.sleep(0.02)

                tasks = [asyncio.ensure_future(one()) for one in (listen, say_nothing)]
                await asyncio.sleep(0.5)
                await spoken(await speak("pcmu", narrow["port"]))
                await asyncio.sleep(0.5)
                for task in tasks:
                    task.cancel()
        return bytes(came)

    raw, decoded = tmp_path / "came.g722", tmp_path / "came.wav"
    raw.write_bytes(asyncio.run(call()))
    subprocess.run(["ffmpeg", "-v", "error", "-f", "g722", "-i", str(raw), str(decoded)], check=True)
    heard, rate = soundfile.read(decoded, dtype="float32")
    assert rate == 16_000
    sent = as_g711(demo_voice(), "pcmu")
    found = compare(at_48k(heard, 16_000), at_48k(sent, 8_000), enhanced(sent, 8_000))
    print(found)
    assert found.pieces >= 3
    assert found.lsd < 0.75 * found.lsd_plain
    assert found.high_db > -6


async def telephone(port: int, keys: str, recording: Path, heard: Path) -> dict[str, Any]:
    """Let GStreamer call, speak and press keys; returns what it counted, and leaves what it heard in a file."""
    process = await asyncio.create_subprocess_exec(
        *("/usr/bin/python3", HERE / "gst_telephone.py", str(port), recording, keys, "7", heard),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert out, errors.decode()
    print(out.decode())
    return json.loads(out.decode().splitlines()[-1])


def check_report(bridge: Bridge, report: dict[str, Any]) -> None:
    """Check the report of a call that lasts, and the last one in the log of the bridge."""
    assert report["ended"] is None
    assert report["events"] == 4
    assert (report["codec_in"], report["codec_out"], report["room"]) == ("pcmu", "pcmu", "gst")
    assert 3.5 < report["mos"] < 4.45, report
    assert 0 < report["round_trip_ms"] < 500
    assert 5 < report["delay_ms"] < 250
    assert 3_000 < report["cutoff_hz"] <= 4_000
    assert 0.5 < report["enhanced_s"] <= report["duration_s"]
    line = bridge.wait_for(r'^(\{"event": "report".*"call": "' + report["call"] + '".*)$')
    last = json.loads(line)
    assert last.keys() == report.keys()
    assert last["ended"]
    assert last["received"] >= report["received"]


def test_gstreamer_telephones_speak_press_keys_and_report(bridge: Bridge, tmp_path: Path):
    if subprocess.run(["gst-inspect-1.0", "rtpdtmfsrc"], capture_output=True, check=False).returncode:
        missing("GStreamer's dtmf")

    recording = tmp_path / "voice.wav"
    soundfile.write(recording, np.tile(demo_voice(), 2), 8_000)  # GStreamer leaves when it ends

    async def call() -> tuple[dict, dict, list[dict], dict]:
        async with Client(bridge.url) as client:
            legs = [await open_leg(client, "gst", name=name) for name in ("one", "two")]
            calls = [
                asyncio.ensure_future(telephone(leg["port"], keys, recording, tmp_path / name))
                for leg, keys, name in zip(legs, ("4711", ""), ("one.ul", "two.ul"), strict=True)
            ]
            await asyncio.sleep(6)
            during = await client.room("gst")
            _, text = await client.text(f"/calls/{legs[0]['call']}")
            return *(await asyncio.gather(*calls)), during, json.loads(text)

    one, two, during, report = asyncio.run(call())
    found = {leg["name"]: leg for leg in during}
    assert [shown["event"] for shown in found["one"]["events"]] == list("4711")
    assert all(50 <= shown["duration_ms"] <= 500 for shown in found["one"]["events"])
    assert found["two"]["events"] == []
    assert two["keys"] == [4, 7, 1, 1]
    assert one["keys"] == []
    for leg in found.values():
        assert leg["rtp"]["lost"] == 0
        assert leg["rtp"]["remote_lost"] <= 0  # GStreamer counts its first packet twice
        assert 0 <= leg["rtp"]["round_trip_ms"] < 500
    for told in (one, two):
        assert told["lost"] == [0]
        assert 0 <= told["round_trips_ms"][0] < 500
    check_report(bridge, report)
    sent = as_g711(demo_voice(), "pcmu")
    heard = decode(np.fromfile(tmp_path / "two.ul", np.uint8), "mu")
    assert compare(at_48k(heard, 8_000), at_48k(sent, 8_000), at_48k(sent, 8_000)).pieces >= 2
