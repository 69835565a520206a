"""Media streams against a running bridge: pipecat's serializers, Asterisk's AudioSocket, and peers that misbehave."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import WSMsgType, web

from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.live.bridge.streams import PACKET_S, START, Pipecat, as_bytes, as_sound, power_at, send, speak, stream, tone

pytestmark = pytest.mark.alone


def test_a_twilio_stream_is_heard_wideband_in_a_room_and_hears_it(bridge: Bridge):
    async def call() -> tuple[np.ndarray, np.ndarray, dict]:
        pipecat = await Pipecat("Twilio", 8_000, "MZ1").set_up()
        heard: list[np.ndarray] = []
        async with Client(bridge.url) as client, stream(bridge, "/media/twilio?name=trunk") as socket:
            peer = await client.call("twilio", VoiceTrack(tone(500, 48_000, 1), loop=True))
            await socket.send_str(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
            await socket.send_str(json.dumps(START))

            async def listen() -> None:
                async for message in socket:
                    if (sound := await pipecat.read(message.data)) is not None:
                        heard.append(sound)

            async def say(block: np.ndarray) -> None:
                await send(socket, await pipecat.audio(block))

            listening = asyncio.ensure_future(listen())
            await speak(say, demo_voice(), 8_000)
            await socket.send_str(json.dumps({"event": "dtmf", "dtmf": {"digit": "7"}, "streamSid": "MZ1"}))
            await asyncio.sleep(0.3)
            (leg,) = [one for one in await client.room("twilio") if one["kind"] == "stream"]
            listening.cancel()
            return peer.heard, np.concatenate(heard), leg

    wide, narrow, leg = asyncio.run(call())
    assert (leg["name"], leg["speaker"]["codec"]) == ("trunk", "pcmu")
    assert [shown["event"] for shown in leg["events"]] == ["7"]
    assert leg["listener"]["sent"] > 100
    assert leg["speaker"]["lost"] == 0
    sent = as_g711(demo_voice(), "pcmu")
    found = compare(wide, at_48k(sent, 8_000), enhanced(sent, 8_000))
    print(found)
    assert found.pieces >= 3
    assert found.lsd < 0.8 * found.lsd_plain
    assert power_at(narrow[-8_000:], 8_000, 500) > 0.5


@pytest.mark.parametrize("encoding", ["PCMU", "PCMA"])
def test_an_answer_sent_at_once_by_telnyx_is_played_in_its_time_and_can_be_cleared(bridge: Bridge, encoding: str):
    room = f"telnyx-{encoding}"

    async def call() -> tuple[np.ndarray, list[dict], float]:
        pipecat = await Pipecat("Telnyx", 8_000, "id", encoding, encoding).set_up()
        told: list[dict] = []
        async with Client(bridge.url) as client, stream(bridge, f"/media/{room}") as socket:
            peer = await client.call(room, VoiceTrack(np.zeros(960, np.float32)))
            form = {"encoding": encoding, "sample_rate": 8000, "channels": 1}
            await socket.send_str(json.dumps({"event": "start", "stream_id": "id", "start": {"media_format": form}}))

            async def listen() -> None:
                async for message in socket:
                    if (read := json.loads(message.data))["event"] != "media":
                        told.append(read)

            listening = asyncio.ensure_future(listen())
            await send(socket, await pipecat.audio(tone(700, 8_000, 1.5)))
            await socket.send_str(json.dumps({"event": "mark", "mark": {"name": "said"}}))
            began = asyncio.get_running_loop().time()
            while not told:
                await asyncio.sleep(0.02)
            after_s = asyncio.get_running_loop().time() - began
            for _ in range(10):
                await send(socket, await pipecat.audio(tone(700, 8_000, 3)))
            await asyncio.sleep(0.5)
            await send(socket, await pipecat.interrupt())
            await asyncio.sleep(1.5)
            listening.cancel()
            return peer.heard, told, after_s

    heard, told, after_s = asyncio.run(asyncio.wait_for(call(), 60))
    assert told[0] == {"event": "mark", "stream_id": "id", "mark": {"name": "said"}}
    assert 1.3 < after_s < 2.5
    loud = np.flatnonzero(np.abs(heard) > 0.1)
    assert power_at(heard[loud[0] : loud[0] + 48_000], 48_000, 700) > 0.8
    assert np.abs(heard[-24_000:]).max() < 0.02, "what was cleared is heard"


@asynccontextmanager
async def program(pipecat: Pipecat, heard: list[np.ndarray], keys: list[str]) -> AsyncIterator[str]:
    """A voice agent: a web server that answers everybody with two seconds of a tone, all at once."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for part in np.split(tone(900, 16_000, 2), 4):
            await send(socket, await pipecat.audio(part))
        async for message in socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                read = await pipecat.read(message.data)
                if isinstance(read, np.ndarray):
                    heard.append(read)
        return socket

    app = web.Application()
    app.router.add_get("/agent", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/agent"
    finally:
        await runner.cleanup()


def test_a_middlebox_hands_the_enhanced_voice_to_a_program_and_its_answer_back(start_bridge: Callable[..., Bridge]):
    async def call() -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        twilio = await Pipecat("Twilio", 8_000, "MZ1").set_up()
        agent = await Pipecat("Vonage", 16_000).set_up()
        asked, answered, keys = [], [], []
        async with program(agent, asked, keys) as url:
            bridge = await asyncio.to_thread(start_bridge, settings=f'middlebox_url = "{url}"')
            async with Client(bridge.url) as client, stream(bridge, "/middlebox") as socket:
                await socket.send_str(json.dumps(START))

                async def listen() -> None:
                    async for message in socket:
                        if (sound := await twilio.read(message.data)) is not None:
                            answered.append(sound)

                async def say(block: np.ndarray) -> None:
                    await send(socket, await twilio.audio(block))

                listening = asyncio.ensure_future(listen())
                await speak(say, demo_voice(), 8_000)
                await asyncio.sleep(0.3)
                listening.cancel()
                await socket.close()
                await asyncio.sleep(0.5)
                metrics = await client.metrics()
        return np.concatenate(asked), np.concatenate(answered), metrics

    asked, answered, metrics = asyncio.run(asyncio.wait_for(call(), 120))
    sent = as_g711(demo_voice(), "pcmu")
    found = compare(at_48k(asked, 16_000), at_48k(sent, 8_000), enhanced(sent, 8_000))
    print(found)
    assert found.pieces >= 3
    assert found.lsd < 0.8 * found.lsd_plain
    loud = np.flatnonzero(np.abs(answered) > 0.1)
    assert power_at(answered[loud[0] : loud[0] + 8_000], 8_000, 900) > 0.8
    assert metrics["rtsr_bridge_calls"] == 0
    assert metrics["rtsr_bridge_rows"] == 0


def test_a_program_that_is_not_there_ends_the_stream(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge(settings='middlebox_url = "ws://127.0.0.1:9/"')

    async def call() -> None:
        async with stream(bridge, "/middlebox") as socket:
            await socket.send_str(json.dumps(START))
            async for _ in socket:
                pass
            assert socket.close_code is not None

    asyncio.run(asyncio.wait_for(call(), 20))
    assert bridge.wait_for("program not reached")


def test_asterisks_audiosocket_is_heard_and_hears(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge(settings='audiosocket = "127.0.0.1:0"')
    port = int(bridge.wait_for(r"event=audiosocket address=127.0.0.1:(\d+)"))
    name = uuid.uuid4()

    async def call() -> tuple[np.ndarray, bytes, dict, int]:
        async with Client(bridge.url) as client:
            peer = await client.call(str(name), VoiceTrack(tone(500, 48_000, 1), loop=True))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\x01\x00\x10" + name.bytes)
            came = bytearray()

            async def listen() -> None:
                while True:
                    head = await reader.readexactly(3)
                    assert head[0] == 0x10
                    came.extend(await reader.readexactly(int.from_bytes(head[1:])))

            async def say(block: np.ndarray) -> None:
                writer.write(b"\x10\x01\x40" + as_bytes(block))

            listening = asyncio.ensure_future(listen())
            await speak(say, demo_voice(), 8_000)
            writer.write(b"\x03\x00\x01#")
            await asyncio.sleep(0.3)
            (leg,) = [one for one in await client.room(str(name)) if one["kind"] == "stream"]
            writer.write(b"\x00\x00\x00")
            await asyncio.sleep(0.5)
            listening.cancel()
            writer.close()
            return peer.heard, bytes(came), leg, len(await client.room(str(name)))

    wide, narrow, leg, left = asyncio.run(asyncio.wait_for(call(), 60))
    assert [shown["event"] for shown in leg["events"]] == ["#"]
    assert left == 1, "the leg is still there"
    voice = demo_voice()
    found = compare(wide, at_48k(voice, 8_000), enhanced(voice, 8_000))
    assert found.pieces >= 3
    assert found.lsd < 0.8 * found.lsd_plain
    assert power_at(as_sound(narrow)[-8_000:], 8_000, 500) > 0.5


def test_what_a_stream_leg_adds_to_the_delay(bridge: Bridge):
    """From when a sample was spoken to when another stream can play it, less the packet that the sender collects."""
    rate, count = 16_000, 320
    sound = 0.2 * np.random.default_rng(5).standard_normal(rate * 4).astype(np.float32)

    async def call() -> tuple[list[float], list[tuple[float, bytes]]]:
        loop, came = asyncio.get_running_loop(), []
        async with stream(bridge, "/media/delay") as one, stream(bridge, "/media/delay") as other:
            await other.send_bytes(bytes(640))

            async def listen() -> None:
                async for message in other:
                    came.append((loop.time(), message.data))

            listening = asyncio.ensure_future(listen())
            await asyncio.sleep(0.5)
            times = await speak(lambda block: one.send_bytes(as_bytes(block)), sound, rate)
            await asyncio.sleep(0.3)
            listening.cancel()
            return times, came

    times, came = asyncio.run(asyncio.wait_for(call(), 60))
    delays = []
    for at_s, data in came[50:-20:5]:
        piece = as_sound(data)
        cross = np.correlate(sound, piece)
        place = int(np.argmax(cross))
        if cross[place] > 0.5 * float(piece @ piece) > 0:
            spoken_s = times[place // count] - PACKET_S + place % count / rate
            delays.append(1000 * (at_s - spoken_s - PACKET_S))
    print(f"{len(delays)} packets: median {np.median(delays):.1f} ms, p95 {np.percentile(delays, 95):.1f} ms")
    assert len(delays) > 10
    assert np.median(delays) < 80  # 44 on two idle cores
