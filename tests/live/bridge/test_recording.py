"""Recordings of real calls: what was said, plain and enhanced; the signs of it; and a disk that is full."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.live.bridge.chromium import chromium, join
from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, Peer, VoiceTrack
from tests.live.bridge.server import Bridge

pytestmark = pytest.mark.alone

RECORD = """async ([room, recorded]) => {
  const headers = { "Content-Type": "application/json" }, body = JSON.stringify({ recorded });
  return (await fetch(`/rooms/${room}`, { method: "PATCH", headers, body })).status;
}"""
SILENCE = np.zeros(960, np.float32)
NOISE = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)


def report_of(bridge: Bridge, peer: Peer) -> dict[str, Any]:
    return json.loads(bridge.wait_for(rf'^{{"event": "report".*"call": "{peer.location.split("/")[-1]}".*'))


async def finished(client: Client, count: int) -> dict[str, float]:
    """Wait until so many files are whole, and return the metrics."""
    async with asyncio.timeout(10):
        while (found := await client.metrics())["rtsr_bridge_recordings_finished_total"] < count:
            await asyncio.sleep(0.05)
    return found


def test_the_track_holds_what_was_said_plain_and_enhanced(start_bridge, tmp_path: Path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    bridge = start_bridge("--record", str(folder), settings="record_free_mib = 1")
    voice = demo_voice()

    async def call() -> tuple[Peer, dict[str, Any]]:
        async with Client(bridge.url) as client:
            sdp = {"Content-Type": "application/sdp"}
            async with client.http.post("/whip/taped", data=await client.offer(), headers=sdp) as reply:
                assert "a=record:on\r\n" in await reply.text()
            async with client.http.delete(reply.headers["Location"]):
                await client.session("whep", "taped")
            speaker = await client.call("taped", VoiceTrack(voice, 8000), codec="pcmu", name="An\nne")
            async with client.http.post("/rooms/other/rtp", json={}) as reply:
                assert (await reply.json())["recorded"] is True
            await asyncio.sleep(len(voice) / 8000 + 0.7)
            async with client.http.patch("/rooms/taped", json={"recorded": 1}) as reply:
                assert reply.status == 400
            async with client.http.get("/rooms/taped") as reply:
                room = await reply.json()
            assert room["recorded"] is True
            assert [one["recording"] is not None for one in room["calls"]] == [False, True]
            assert (await client.metrics())["rtsr_bridge_recordings"] >= 1
            async with client.http.delete(speaker.location):
                return speaker, await finished(client, 1)

    speaker, metrics = asyncio.run(call())
    told = report_of(bridge, speaker)["recording"]
    assert (told["error"], told["lost_s"]) == (None, 0)
    path = folder / told["file"]
    assert metrics["rtsr_bridge_recordings_bytes_total"] == path.stat().st_size
    with soundfile.SoundFile(path) as file:
        assert (file.artist, file.samplerate) == ("Anne", 48_000)
        sound = file.read(dtype="float32")
    sent = as_g711(voice, "pcmu")
    there = at_48k(sent, 8_000)[480:], enhanced(sent, 8_000)  # the resampler delays by 480
    wide, plain = compare(sound[:, 1], *there), compare(sound[:, 0], *there[::-1])
    print(wide, plain, sep="\n")
    assert min(wide.pieces, plain.pieces) >= 4
    assert wide.lsd < 0.75 * wide.lsd_plain, "nearer to the plain voice than to the enhanced one"
    assert plain.lsd < 0.75 * plain.lsd_plain, "nearer to the enhanced voice than to the plain one"
    assert np.abs(np.subtract(wide.lags_s, plain.lags_s)).max() < 2 / 48_000
    assert bridge.stop() == 0


def test_a_full_disk_ends_the_recording_and_not_the_call(start_bridge, tmp_path: Path):
    bridge = start_bridge("--record", str(tmp_path), "--backend", "null", settings="record_free_mib = 0")
    resource.prlimit(bridge.process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))

    async def call() -> list[dict[str, Any]]:
        async with Client(bridge.url) as client:
            listener = await client.call("full", VoiceTrack(SILENCE))
            await client.call("full", VoiceTrack(NOISE, 8000, loop=True), codec="pcmu")
            async with asyncio.timeout(20):
                while not (found := await client.room("full"))[1]["recording"]["error"]:
                    await asyncio.sleep(0.05)
            listener.blocks.clear()
            await asyncio.sleep(0.5)
            assert np.abs(listener.heard).max() > 0.1, "the call has ended with its recording"
            metrics = await client.metrics()
            assert metrics["rtsr_bridge_recordings_failed_total"] == 1
            assert metrics["rtsr_bridge_ticks_skipped_total"] == 0
            return found

    found = asyncio.run(call())
    assert "disk full" in found[1]["recording"]["error"]
    assert bridge.stop() == 0
    assert sum("recording failed" in line for line in bridge.lines) == 1
    assert not [line for line in bridge.lines if "Traceback" in line]


def test_a_page_says_so_when_its_room_is_recorded_on_request(start_bridge, tmp_path: Path, pictures: Path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    on_request = ("--record", str(folder), "--record-on-request", "--backend", "null")
    bridge = start_bridge(*on_request, settings="record_free_mib = 0")
    with chromium(tmp_path) as browser:
        page = browser.new_page()
        page.goto(bridge.url)
        join(page, "page", "pcmu")
        page.wait_for_selector("#recorded", state="hidden")
        assert page.evaluate(RECORD, ["nobody", True]) == 404
        for on in (True, False, True):
            assert page.evaluate(RECORD, ["page", on]) == 200
            page.wait_for_selector("#recorded:text('This call is recorded')", state="visible" if on else "hidden")
            time.sleep(0.5)
        page.screenshot(path=pictures / "recorded.png")
        page.click("#leave")
        page.wait_for_selector("#recorded", state="hidden")
    assert bridge.stop() == 0
    assert [path.suffix for path in folder.iterdir()] == [".flac", ".flac"]
    assert all(soundfile.info(path).frames > 12_000 for path in folder.iterdir())
