"""Filters of frameworks for voice agents, in the real frameworks: as long, enhanced, and the event loop never waits."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rtsr.backend import Backend, load
from rtsr.backend.null import NullBackend
from rtsr.errors import InvalidAudio, InvalidSetting
from rtsr.integrations.pcm import PcmEnhancer
from rtsr.io.reblock import Reblock
from tests.signals import narrowed, power_db, voice_like
from tests.speech import missing

HIGH_HZ = (4500, 7500)

pytestmark = pytest.mark.filterwarnings("ignore:'audioop' is deprecated:DeprecationWarning")  # pipecat imports it


@pytest.fixture(autouse=True)
def frameworks() -> None:
    for name in ("pipecat", "livekit"):
        if not importlib.util.find_spec(name):
            missing(name)


def pcm(rate: int, seconds: float = 2.0) -> np.ndarray:
    """A voice without anything above 3.9 kHz, as 16-bit samples."""
    return np.rint(32_767 * narrowed(voice_like(seconds, rate, seed=3), rate, 3900)).astype("<i2")


def blocks(samples: np.ndarray, length: int) -> list[bytes]:
    return [samples[i : i + length].tobytes() for i in range(0, len(samples) - length + 1, length)]


class Held(NullBackend):
    """A network that computes as long as a test says."""

    def __init__(self, model: Backend) -> None:
        super().__init__(model.spec, model.model)
        self.free = threading.Event()
        self.free.set()

    def step(self, *arguments: Any) -> None:
        assert self.free.wait(30)
        super().step(*arguments)


@pytest.mark.parametrize(("rate", "channels", "length"), [(16_000, 1, 320), (24_000, 2, 240), (44_100, 1, 441)])
def test_samples_are_those_of_a_stream_to_a_rounding(model_path, rate, channels, length):
    model = load(model_path)
    enhancer, alone = PcmEnhancer(model, rate, channels), Reblock(model, rate, rate)
    given = pcm(rate, 0.5)[: length * 40]
    together = np.repeat(given[:, None], channels, axis=1).reshape(-1)
    got = np.frombuffer(b"".join(map(enhancer.process, blocks(together, channels * length))), "<i2")
    expected = np.clip(alone.process(given.astype(np.float32) / 32_768), -1, 1)
    assert np.abs(got.reshape(-1, channels) - 32_768 * expected[:, None]).max() <= 1
    assert enhancer.latency_ms == pytest.approx(1000 * alone.latency / rate)


def test_half_a_sample_and_a_rate_without_room_are_refused(model_path):
    with pytest.raises(InvalidSetting, match="expected audio at 16000 Hz or more, got 8000 Hz"):
        PcmEnhancer(load(model_path), 8_000)
    with pytest.raises(InvalidAudio, match="expected 16-bit samples of 1 channels, got 3 bytes"):
        PcmEnhancer(load(model_path), 16_000).process(b"abc")


def test_pipecat_hears_the_whole_band_and_may_turn_it_off():
    from pipecat.frames.frames import FilterEnableFrame

    from rtsr.integrations.pipecat import RtsrFilter

    rate, given = 16_000, pcm(16_000)

    async def heard(enabled: bool) -> np.ndarray:
        one = RtsrFilter(cutoff=4000)
        assert await one.filter(b"1234") == b"1234"  # not started yet
        await one.start(rate)
        await one.process_frame(FilterEnableFrame(enable=enabled))
        assert 10 <= one.latency_ms < 20
        got = [await one.filter(block) for block in blocks(given, 320)]
        assert {len(block) for block in got} == {640}
        await one.stop()
        return np.frombuffer(b"".join(got), "<i2") / 32_768

    on, off = asyncio.run(heard(True)), asyncio.run(heard(False))
    assert power_db(on, rate, *HIGH_HZ) > power_db(off, rate, *HIGH_HZ) + 20
    assert power_db(on, rate, 300, 3000) == pytest.approx(power_db(off, rate, 300, 3000), abs=0.1)


def test_pipecats_loop_goes_on_while_a_block_is_computed(model_path):
    from rtsr.integrations.pipecat import RtsrFilter

    async def run() -> None:
        model = Held(load(model_path))
        one = RtsrFilter(model)
        await one.start(16_000)
        model.free.clear()
        computing = asyncio.ensure_future(one.filter(bytes(640)))
        await asyncio.sleep(0.05)
        assert not computing.done()
        model.free.set()
        assert len(await computing) == 640
        await one.stop()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_pipecat_filter_of_a_low_rate_is_refused_at_its_start(model_path):
    from rtsr.integrations.pipecat import RtsrFilter

    one = RtsrFilter(load(model_path))
    with pytest.raises(InvalidSetting, match="expected audio at 16000 Hz or more"):
        asyncio.run(one.start(8_000))
    with pytest.raises(InvalidSetting, match="expected the filter to be started"):
        _ = one.latency_ms


def through_livekit(processor: Any, rate: int, given: np.ndarray) -> np.ndarray:
    """What a stream of LiveKit gives of a track, a frame of 10 ms at a time."""
    from livekit import rtc

    async def run() -> np.ndarray:
        source = rtc.AudioSource(rate, 1)
        track = rtc.LocalAudioTrack.create_audio_track("voice", source)
        stream = rtc.AudioStream.from_track(track=track, sample_rate=rate, num_channels=1, noise_cancellation=processor)
        length, got = rate // 100, list[bytes]()

        async def say() -> None:
            for block in blocks(given, length):
                await source.capture_frame(rtc.AudioFrame(block, rate, 1, length))

        saying = asyncio.ensure_future(say())
        async for event in stream:
            got.append(bytes(event.frame.data.cast("B")))
            if len(got) * length >= len(given):
                break
        await saying
        await stream.aclose()
        await source.aclose()
        return np.frombuffer(b"".join(got), "<i2") / 32_768

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_livekit_hears_the_whole_band():
    from rtsr.integrations.livekit import RtsrProcessor

    processor = RtsrProcessor(cutoff=4000, rate=48_000)
    given = pcm(48_000)
    got = through_livekit(processor, 48_000, given)
    assert len(got) == len(given)
    assert power_db(got, 48_000, *HIGH_HZ) > power_db(given / 32_768, 48_000, *HIGH_HZ) + 20
    assert 10 <= processor.latency_ms < 20


@pytest.fixture
def frame() -> Callable[[int, int], Any]:
    """Make a frame of a constant, 10 ms at a rate."""
    from livekit.rtc import AudioFrame

    return lambda value, rate: AudioFrame(np.full(rate // 100, value, "<i2").tobytes(), rate, 1, rate // 100)


def test_livekit_never_waits_and_what_waits_is_bounded(model_path, frame):
    from rtsr.integrations.livekit import MOST_WAITING, RtsrProcessor

    model = Held(load(model_path))
    processor = RtsrProcessor(model, rate=16_000)
    model.free.clear()
    given = [processor._process(frame(1000, 16_000)) for _ in range(3 * MOST_WAITING)]
    assert {one.samples_per_channel for one in given} == {160}
    assert processor.underruns == 3 * MOST_WAITING - 1
    assert processor.left_out == 2 * MOST_WAITING
    assert len(processor._waiting) == MOST_WAITING
    model.free.set()
    processor._close()


def test_frames_of_another_rate_pass_until_there_is_a_path_for_them(model_path, frame):
    from rtsr.integrations.livekit import RtsrProcessor

    processor = RtsrProcessor(load(model_path), rate=16_000)
    first = frame(1000, 24_000)
    assert processor._process(first) is first
    assert processor._next is not None
    processor._next.result(30)
    assert processor._process(first) is first
    assert processor._process(first) is not first
    with pytest.raises(InvalidSetting, match="expected audio at 16000 Hz or more"):
        processor._process(frame(0, 8_000))
    assert processor._process(first).samples_per_channel == 240
    processor._close()
