"""The worker and the wire in simulated time: drift, stalls, suspend, overload, silence, switches, without a click."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakehost import FakeHost
from signals import narrowed, power_db, shift, voice_like

from rtsr import Stream
from rtsr.backend import Backend, installed, load
from rtsr.daemon.drift import Drift
from rtsr.daemon.worker import FADE_HOPS, RETRY_S, Worker
from rtsr.errors import InvalidSetting
from rtsr.io import wire as w

RATE = 48_000
VOICE = narrowed(voice_like(12, RATE, seed=3), RATE, 3900)
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(12 * RATE) / RATE)).astype(np.float32)


@pytest.fixture(scope="session")
def generating(model_path: Path) -> Backend:
    """The random model on the first backend there is: that they agree is tested elsewhere, and all take one worker."""
    return load(model_path, installed()[0])


def from_array(signal: np.ndarray, start: int, count: int) -> np.ndarray:
    return np.take(signal, np.arange(start, start + count), mode="wrap")


def host(model: Backend, signal: np.ndarray = VOICE, **options: object) -> FakeHost:
    make = partial(Worker, model, RATE, cushion=144, burst=240, cutoff=4000.0)
    return FakeHost(make, partial(from_array, signal), **options)


def steps(signal: np.ndarray) -> float:
    """The largest step from sample to sample."""
    return float(np.abs(np.diff(signal)).max())


def counts(fake: FakeHost) -> tuple[int, int]:
    head = fake.worker.wire.head
    return int(head[w.UNDERFLOWS]), int(head[w.STARVED])


def test_what_comes_out_is_the_stream_whole_and_late_by_a_constant(generating):
    fake = host(generating)
    fake.worker.voice.gate.threshold = -1.0  # the network never sleeps
    fake.run(6)
    stream = Stream(generating, RATE, RATE, cutoff=4000.0)
    expected = np.concatenate([stream.process(hop) for hop in VOICE[: 6 * RATE].reshape(-1, stream.hop)])
    got = fake.heard
    late = shift(expected[2 * RATE : 5 * RATE], got[2 * RATE : 5 * RATE])
    np.testing.assert_array_equal(got[2 * RATE + late : 5 * RATE], expected[2 * RATE : 5 * RATE - late])
    assert counts(fake) == (0, 0)
    assert late / RATE < 0.015


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_half_an_hour_of_drift_keeps_the_level(ppm):
    """The loop alone, on a queue that two clocks fill and empty."""
    drift, hop, level, seconds = Drift(RATE, 240), np.zeros(240, np.float32), 600.0, 0.0
    seen = []
    while seconds < 1800:
        level += len(drift.process(hop)) - 240 / (1 + ppm * 1e-6)
        saw = 120 * ((seconds * 400.3) % 1)  # the device takes blocks
        drift.observe(int(level - saw))
        seconds += 240 / RATE
        seen.append(level)
    settled = np.array(seen[len(seen) // 10 :])
    print(f"{ppm:+.0f} ppm: level {settled.min():.0f} to {settled.max():.0f} samples, found {drift.ppm:+.1f} ppm")
    assert np.ptp(settled) < 0.003 * RATE
    assert abs(np.array(seen) - 600).max() < 0.004 * RATE
    assert drift.ppm == pytest.approx(ppm, abs=40)


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_a_drifting_device_is_followed_without_an_underflow_or_a_click(null, ppm):
    fake = host(null, TONE, ppm=ppm)
    fake.run(60)
    levels = np.array([level for now, level in fake.levels if now > 5])
    assert counts(fake) == (0, 0)
    assert np.ptp(levels) < 0.012 * RATE
    assert steps(fake.heard[2 * RATE :]) < 1.02 * steps(TONE)


def test_equal_clocks_are_a_copy(null):
    fake = host(null, TONE)
    fake.run(10)
    assert fake.worker.drift.ratio == 1.0


def test_a_stalled_worker_is_covered_by_the_plain_voice_and_comes_back_to_the_same_latency(generating):
    stall = [3.0]
    fake = host(generating, compute_s=lambda now: 0.12 if stall and now > stall[0] and not stall.clear() else 0.0005)
    fake.run(6)
    calm = host(generating)
    calm.run(6)
    got, expected = fake.heard, calm.heard
    assert counts(fake)[0] == 1
    outage = slice(int(3.0 * RATE), int(3.2 * RATE))
    assert power_db(got[outage], RATE, 200, 3500) > power_db(expected[outage], RATE, 200, 3500) - 1  # no hole
    assert power_db(got[outage], RATE, 4500, 7500) < power_db(expected[outage], RATE, 4500, 7500) - 1  # but plain
    late = slice(int(4.6 * RATE), int(5.6 * RATE))
    assert abs(shift(expected[late], got[late])) <= 2
    assert power_db(got[late] - expected[late], RATE, 200, 3500) < power_db(got[late], RATE, 200, 3500) - 40
    assert power_db(got[late], RATE, 4500, 7500) == pytest.approx(power_db(expected[late], RATE, 4500, 7500), abs=2)
    assert steps(got[RATE:]) <= 1.05 * steps(expected[RATE:])


def test_the_plain_voice_is_where_the_enhanced_one_would_be(null):
    """Where nothing is generated, a stall of the worker cannot be heard at all."""
    stall = [3.0]
    fake = host(null, compute_s=lambda now: 0.12 if stall and now > stall[0] and not stall.clear() else 0.0005)
    calm = host(null)
    for one in (fake, calm):
        one.run(5)
    assert counts(fake)[0] == 1
    np.testing.assert_allclose(fake.heard[2 * RATE :], calm.heard[2 * RATE :], atol=1e-6)


def test_a_suspended_input_is_silence_and_then_the_same_voice_again(null):
    fake = host(null, TONE, input_on=lambda now: not 3 < now < 4)
    fake.run(8)
    got = fake.heard
    assert np.abs(got[int(3.2 * RATE) : int(3.9 * RATE)]).max() < 1e-3
    assert np.abs(got[int(4.2 * RATE) : 5 * RATE]).max() > 0.29
    levels = np.array([level for now, level in fake.levels if 2 < now < 3 or now > 6])
    assert np.ptp(levels) < 0.010 * RATE
    assert steps(got[RATE:]) < 1.3 * steps(TONE)


def test_a_suspended_output_does_not_come_back_late(null):
    fake = host(null, TONE, output_on=lambda now: not 3 < now < 4)
    fake.run(8)
    before = np.mean([level for now, level in fake.levels if 2 < now < 3])
    after = np.mean([level for now, level in fake.levels if now > 6])
    assert after == pytest.approx(before, abs=0.005 * RATE)
    assert steps(fake.heard[RATE:]) < 1.3 * steps(TONE)


def test_a_worker_that_is_too_slow_goes_plain_and_recovers(generating):
    told = []
    slow = lambda now: 0.008 if 3 < now < 3.5 and not fake.worker.rest_until else 0.0005  # noqa: E731
    fake = host(generating, compute_s=lambda now: slow(now))
    fake.worker.tell = lambda kind, line: told.append((kind, line))
    fake.run(2.9)
    fake.run(0.7)
    assert fake.worker.voice.gate.shut
    assert fake.worker.overloads == 1
    fake.run(RETRY_S + 0.5)
    assert not fake.worker.voice.gate.shut
    fake.run(2)
    assert fake.worker.overloads == 1
    assert [kind for kind, _ in told] == ["overload"]


def test_a_burst_after_a_pause_is_no_overload(generating):
    now = [0.0]
    worker = Worker(generating, RATE, cushion=144, burst=240, cutoff=4000.0, clock=lambda: now[0])
    for _ in range(3):
        now[0] += 1.0  # a device that starts, or was suspended, gives nothing and then much at once
        assert not worker.step()
        worker.wire.capture(VOICE[: worker.most_waiting + 2 * worker.hop, None])
        while worker.step():
            now[0] += 0.001
    assert worker.overloads == 0


def test_the_network_sleeps_in_silence_and_wakes_with_the_onset(generating):
    signal = np.concatenate([VOICE[: 2 * RATE], np.zeros(2 * RATE, np.float32), VOICE[: 4 * RATE]])
    fake, awake = host(generating, signal), host(generating, signal)
    awake.worker.voice.gate.threshold = -1.0
    for one in (fake, awake):
        one.run(3.9)
    rested = fake.worker.voice.gate.rested
    assert rested >= 0.7 * 2 * 200 * 0.85
    assert awake.worker.voice.gate.rested == 0
    for one in (fake, awake):
        one.run(2.0)
    onset = slice(4 * RATE, int(4.1 * RATE))
    assert power_db(fake.heard[onset], RATE, 4500, 7500) > power_db(awake.heard[onset], RATE, 4500, 7500) - 1


@pytest.mark.parametrize("wish", ["bypass", "mute", "gain_db"])
def test_bypass_mute_and_gain_slide_without_a_click(generating, wish):
    fake = host(generating)
    fake.run(3.3)
    setattr(fake.worker.wishes, wish, -20.0 if wish == "gain_db" else True)
    fake.run(1.0)
    setattr(fake.worker.wishes, wish, 0.0 if wish == "gain_db" else False)
    fake.run(2.0)
    calm = host(generating)
    calm.run(6.3)
    assert steps(fake.heard[RATE:]) <= 1.01 * steps(calm.heard[RATE:])
    during = slice(int(3.4 * RATE), int(4.2 * RATE))
    quieter = power_db(calm.heard[during], RATE, 4500, 7500) - power_db(fake.heard[during], RATE, 4500, 7500)
    assert quieter > 15
    assert power_db(fake.heard[during], RATE, 200, 3500) < -60 or wish != "mute"
    np.testing.assert_allclose(fake.heard[-RATE:], calm.heard[-RATE:], atol=2e-3)


def test_bypass_takes_ten_milliseconds(generating):
    fake = host(generating)
    fake.run(3.0)
    fake.worker.wishes.bypass = True
    levels = []
    for _ in range(4):
        fake.run(0.005)
        levels.append(fake.worker.voice.level)
    assert [round(v, 6) for v in levels if v > 0] == [0.5]
    assert FADE_HOPS * fake.worker.hop / RATE == 0.01


def test_a_model_switch_leaves_no_gap_and_no_click(generating):
    fake, calm = host(generating), host(generating)
    for one in (fake, calm):
        one.run(3.0)
    fake.worker.switch(generating)
    old = fake.worker.voice
    for one in (fake, calm):
        one.run(3.0)
    assert fake.worker.voice is not old
    assert counts(fake) == (0, 0)
    assert steps(fake.heard[RATE:]) <= 1.01 * steps(calm.heard[RATE:])
    late = power_db((fake.heard - calm.heard)[4 * RATE :], RATE, 0, 24000)
    assert late < power_db(calm.heard[4 * RATE :], RATE, 0, 24000) - 40


def test_a_rate_that_a_hop_does_not_fit_is_refused(null):
    with pytest.raises(InvalidSetting, match="48000"):
        Worker(null, 44_100, cushion=100)
