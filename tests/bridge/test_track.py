"""EnhancedTrack around tracks of other programs."""

from __future__ import annotations

import asyncio
import fractions
import threading
from collections.abc import Iterator

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

import rtsr
from rtsr.bridge import EnhancedTrack, track
from rtsr.errors import InvalidAudio


@pytest.fixture(scope="module", autouse=True)
def one_worker_for_all() -> Iterator[None]:
    """The tracks' thread lives as long as the process; other tests count threads."""
    yield
    track._worker().shutdown()
    track._worker.cache_clear()


class Recording(MediaStreamTrack):
    """Gives frames of a sound as fast as they are asked for, and ends."""

    kind = "audio"

    def __init__(self, sound: np.ndarray, rate: int, layout: str = "mono", format: str = "s16") -> None:
        super().__init__()
        self.frames = []
        for start in range(0, len(sound) - rate // 50 + 1, rate // 50):
            block = sound[start : start + rate // 50]
            frame = av.AudioFrame(format=format, layout=layout, samples=len(block))
            block = np.repeat(block, len(frame.layout.channels)) if format == "s16" else block
            data = (block * 32_767).astype(np.int16) if format == "s16" else block.astype(np.float32)
            for plane in frame.planes:
                plane.update(data.tobytes())
            frame.sample_rate, frame.pts, frame.time_base = rate, start, fractions.Fraction(1, rate)
            self.frames.append(frame)

    async def recv(self) -> av.AudioFrame:
        if not self.frames:
            raise MediaStreamError
        return self.frames.pop(0)


async def read(track: EnhancedTrack) -> list[av.AudioFrame]:
    frames = []
    while True:
        try:
            frames.append(await track.recv())
        except MediaStreamError:
            return frames


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize(("layout", "format"), [("mono", "s16"), ("stereo", "s16"), ("mono", "fltp")])
def test_frames_are_what_a_reblock_gives(null, rate, layout, format):
    sound = (0.3 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)).astype(np.float32)
    frames = asyncio.run(read(EnhancedTrack(Recording(sound, rate, layout, format), null)))
    assert {frame.samples for frame in frames} == {960}
    assert [frame.pts for frame in frames] == list(range(0, 960 * len(frames), 960))
    assert {(frame.sample_rate, frame.layout.name) for frame in frames} == {(48_000, "mono")}
    given = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]) / 32_767
    expected = rtsr.Reblock(null, rate, 48_000).process(sound)
    np.testing.assert_allclose(given, expected, atol=4 / 32_768)


def test_the_network_runs_on_a_thread_of_its_own(null, monkeypatch):
    threads = set()
    process = rtsr.Reblock.process
    monkeypatch.setattr(
        rtsr.Reblock,
        "process",
        lambda self, block: threads.add(threading.current_thread().name) or process(self, block),
    )
    asyncio.run(read(EnhancedTrack(Recording(np.zeros(1_600, np.float32), 8_000), null)))
    assert len(threads) == 1
    assert threads.pop().startswith("rtsr track")


def test_bypass_leaves_out_the_generated_band(generating):
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(16_000)).astype(np.float32)

    def high(bypass: bool) -> float:
        track = EnhancedTrack(Recording(noise, 8_000), generating)
        track.bypass = bypass
        sound = np.concatenate([f.to_ndarray().reshape(-1) for f in asyncio.run(read(track))]) / 32_767
        return float((np.abs(np.fft.rfft(sound[48_000:]))[5_000:7_500] ** 2).sum())

    assert high(False) > 30 * high(True)


def test_it_ends_with_what_it_wraps_and_stops_it(null):
    async def end() -> None:
        source = Recording(np.zeros(160, np.float32), 8_000)
        track = EnhancedTrack(source, null)
        await read(track)
        assert track.readyState == source.readyState == "ended"
        with pytest.raises(MediaStreamError):
            await track.recv()

    asyncio.run(end())


def test_video_is_refused(null):
    class Video(MediaStreamTrack):
        kind = "video"

        async def recv(self):
            return av.VideoFrame(16, 16, "yuv420p")

    async def recv() -> None:
        with pytest.raises(InvalidAudio, match="audio frames"):
            await EnhancedTrack(Video(), null).recv()

    asyncio.run(recv())
