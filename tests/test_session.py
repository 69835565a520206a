"""A session moves every sample from source to sink, counts what it loses, and ends when it should."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from rtsr import Reblock, enhance
from rtsr.eval.session import ArraySink, Counters, FileSource, Session
from rtsr.timing import KEPT
from tests.signals import noise, voice_like

CUTOFF = 3000.0
pytestmark = [pytest.mark.timeout(60), pytest.mark.realtime]


class LiveSource:
    """A microphone that says all it has at once and asks nobody whether there is room."""

    live = True

    def __init__(self, samples: np.ndarray, rate: int) -> None:
        self.samples, self.rate, self.place = samples, rate, 0

    @property
    def ended(self) -> bool:
        return self.place >= len(self.samples)

    def read(self, out: np.ndarray) -> int:
        count = min(len(out), len(self.samples) - self.place)
        out[:count] = self.samples[self.place : self.place + count]
        self.place += count
        return count


class EndlessSource:
    """Silence for ever, or never a sample."""

    rate, live, ended = 8000, False, False

    def __init__(self, count: int) -> None:
        self.count = count

    def read(self, out: np.ndarray) -> int:
        out[: self.count] = 0
        return min(self.count, len(out))


class NowhereSink:
    """Takes everything and keeps nothing; or never takes anything."""

    rate = 16000

    def __init__(self, takes: bool = True) -> None:
        self.takes, self.last, self.threads = takes, 0.0, set()

    def write(self, block: np.ndarray) -> int:
        self.threads.add(threading.current_thread().name)
        return len(block) if self.takes else 0


class Broken(Exception):
    """What a part of a test raises."""


class BrokenSource(EndlessSource):
    def read(self, out: np.ndarray) -> int:
        raise Broken("source")


class BrokenSink(NowhereSink):
    def write(self, block: np.ndarray) -> int:
        raise Broken("sink")


def sink_for(path: Reblock, samples: int) -> ArraySink:
    return ArraySink(samples * path.rate_out // path.rate + path.latency, path.rate_out)


def finish(session: Session, seconds: float = 30.0) -> Counters:
    """Run to the end; a session that hangs fails, and does not hang the tests."""
    session.start()
    try:
        assert session.join(seconds), "the session did not end"
    finally:
        session.stop()
    return session.counters


def ours() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("rtsr ")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    deadline = time.monotonic() + 1
    while ours() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not ours()


@pytest.mark.parametrize(("rate", "rate_out"), [(8000, 16000), (16000, 16000), (44100, 16000), (16000, 48000)])
def test_a_session_gives_what_enhance_gives(generating, rate, rate_out):
    x = voice_like(1.3, rate)
    path = Reblock(generating, rate, rate_out, cutoff=CUTOFF)
    sink = sink_for(path, len(x))
    counters = finish(Session(FileSource(x, rate), path, sink))
    expected = enhance(x, rate, rate_out, model=generating, cutoff=CUTOFF)
    assert sink.place == len(sink.samples)
    got = sink.samples[path.latency :]
    assert len(got) == pytest.approx(len(expected), abs=1)
    both = min(len(got), len(expected))
    np.testing.assert_allclose(got[:both], expected[:both], atol=1e-6)
    assert counters.captured == len(x)
    assert counters.played == len(sink.samples)
    assert counters.overruns == 0
    assert counters.hops == -(-len(x) // (rate // 200))


def test_a_paced_session_gives_the_same_and_takes_as_long_as_the_recording(generating):
    x = voice_like(0.8, 8000)
    path = Reblock(generating, 8000, cutoff=CUTOFF)
    sink = sink_for(path, len(x))
    began = time.monotonic()
    finish(Session(FileSource(x, 8000, paced=True), path, sink))
    assert 0.8 <= time.monotonic() - began < 3
    path.reset()
    np.testing.assert_array_equal(sink.samples[: 2 * len(x)], path.process(x))


def test_a_paced_source_is_never_early():
    source, out = FileSource(np.arange(8000, dtype=np.float32), 8000, paced=True), np.zeros(8000, np.float32)
    began, taken = time.monotonic(), 0
    source.read(out)
    while time.monotonic() - began < 0.1:
        taken += source.read(out)
        assert taken <= (time.monotonic() - began) * 8000 + 1
    assert taken > 400


def test_a_recording_longer_than_the_rings_waits_for_room(null):
    x = noise(5 * 16000, 1)
    path = Reblock(null)
    sink = sink_for(path, len(x))
    session = Session(FileSource(x, 16000), path, sink)
    assert len(session.captured.samples) < len(x) / 5
    finish(session)
    np.testing.assert_array_equal(sink.samples[path.latency :], x)


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 81])
def test_the_shortest_recordings(null, samples):
    x = noise(samples, 1)
    path = Reblock(null)
    sink = sink_for(path, len(x))
    finish(Session(FileSource(x, 16000), path, sink))
    np.testing.assert_array_equal(sink.samples[path.latency :], x)


def test_a_live_source_that_finds_no_room_loses_samples_and_they_are_counted(null):
    x = noise(10 * 16000, 1)
    path, sink = Reblock(null), NowhereSink(takes=False)
    session = Session(LiveSource(x, 16000), path, sink)
    session.start()
    deadline = time.monotonic() + 5
    while session.counters.captured < len(x) and time.monotonic() < deadline:
        time.sleep(0.01)
    session.stop()
    assert session.join(1)
    held = len(session.captured.samples) + len(session.produced.samples)
    assert session.counters.captured == len(x)
    assert len(x) - held - 1000 <= session.counters.overruns < len(x)


def test_a_live_source_that_is_kept_up_with_loses_nothing(null):
    x = noise(2400, 1)  # less than the ring holds
    path = Reblock(null)
    sink = sink_for(path, len(x))
    counters = finish(Session(LiveSource(x, 16000), path, sink))
    assert counters.overruns == 0
    np.testing.assert_array_equal(sink.samples[path.latency :], x)


def broken_stream(null) -> Reblock:
    path = Reblock(null, 8000)

    def process(block: np.ndarray) -> np.ndarray:
        raise Broken("stream")

    path.process = process  # type: ignore[method-assign]
    return path


@pytest.mark.parametrize("part", ["source", "stream", "sink"])
def test_an_error_in_any_thread_ends_all_three_and_is_raised(null, part):
    session = Session(
        BrokenSource(1) if part == "source" else EndlessSource(40),
        broken_stream(null) if part == "stream" else Reblock(null, 8000),
        BrokenSink() if part == "sink" else NowhereSink(),
    )
    session.start()
    try:
        with pytest.raises(Broken, match=part):
            session.join(5)
        assert not ours()
    finally:
        session.stop()


def test_run_starts_waits_and_returns_the_counters(null):
    path = Reblock(null)
    counters = Session(FileSource(noise(1600, 1), 16000), path, sink_for(path, 1600)).run()
    assert counters.captured == 1600


@pytest.mark.parametrize("count", [0, 40])
@pytest.mark.parametrize("takes", [True, False])
def test_stop_ends_within_a_second_whatever_the_ends_do(null, count, takes):
    session = Session(EndlessSource(count), Reblock(null, 8000), NowhereSink(takes))
    session.start()
    time.sleep(0.1)
    assert not session.join(0.01), "it ended before `stop`"
    began = time.monotonic()
    session.stop()
    assert session.join(5)
    assert time.monotonic() - began < 1


def test_each_arrow_is_a_thread_of_its_own(null):
    sink = NowhereSink()
    session = Session(EndlessSource(40), Reblock(null, 8000), sink)
    session.start()
    names = {t.name for t in ours()}
    deadline = time.monotonic() + 5
    while not sink.threads and time.monotonic() < deadline:
        time.sleep(0.01)
    session.stop()
    session.join(1)
    assert names == {"rtsr capture", "rtsr worker", "rtsr playback"}
    assert sink.threads == {"rtsr playback"}


def test_an_array_sink_takes_what_fits():
    sink = ArraySink(5, 16000)
    assert sink.write(np.ones(3, np.float32)) == 3
    assert sink.write(np.ones(3, np.float32)) == 2
    assert sink.write(np.ones(3, np.float32)) == 0
    assert sink.samples.tolist() == [1] * 5


def test_counters_keep_the_last_hops_and_count_the_late_ones():
    counters = Counters()
    assert all(np.isnan(counters.percentiles_ms(50, 99)))
    for i in range(KEPT + 10):
        counters.count(0.001 if i < KEPT else 0.1, 0.005)
    assert (counters.hops, counters.late) == (KEPT + 10, 10)
    median, most = counters.percentiles_ms(50, 100)
    assert median == pytest.approx(1)
    assert most == pytest.approx(100)
