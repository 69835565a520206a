"""The worker and the wire in simulated time: drift, stalls, suspend, overload, silence, switches, without a click.

All of it holds for both workers, the one in Python and the one in librtsr.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from backends import open_backend
from fakehost import FakeHost
from signals import narrowed, power_db, shift, voice_like

from rtsr import Stream
from rtsr.backend import Backend, installed, load, native
from rtsr.daemon.config import Settings
from rtsr.daemon.drift import Drift
from rtsr.daemon.engine import make_worker
from rtsr.daemon.native_worker import NativeWorker
from rtsr.daemon.priority import PRIORITY, ask_for_real_time
from rtsr.daemon.worker import BEHIND_HOPS, FADE_HOPS, RETRY_S, Worker, events
from rtsr.errors import InvalidSetting, MissingDependency
from rtsr.io import wire as w

RATE = 48_000
VOICE = narrowed(voice_like(12, RATE, seed=3), RATE, 3900)
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(12 * RATE) / RATE)).astype(np.float32)


NEVER_DB = -np.inf  # no level is below it: the network does not sleep


@pytest.fixture(scope="module", params=[Worker, NativeWorker])
def kind(request: pytest.FixtureRequest) -> type[Worker | NativeWorker]:
    """Each worker in turn."""
    return request.param


@pytest.fixture(scope="module")
def generating(kind, model_path: Path) -> Backend:
    """The random model on a backend that the worker takes: that all of them agree is tested elsewhere."""
    return open_backend(model_path, "native" if kind is NativeWorker else installed()[0])


@pytest.fixture(scope="module")
def host(kind, generating) -> Callable[..., FakeHost]:
    """Call it with a signal and what a `FakeHost` takes; with `plain`, nothing is generated."""

    def make(
        signal: np.ndarray = VOICE, *, plain: bool = False, sleep_db: float = -70.0, **options: object
    ) -> FakeHost:
        worker = partial(kind, generating, RATE, cushion=144, burst=240, cutoff=4000.0, sleep_db=sleep_db)
        fake = FakeHost(worker, partial(from_array, signal), **options)
        fake.worker.wish(bypass=plain)
        return fake

    return make


def from_array(signal: np.ndarray, start: int, count: int) -> np.ndarray:
    return np.take(signal, np.arange(start, start + count), mode="wrap")


def steps(signal: np.ndarray) -> float:
    """The largest step from sample to sample."""
    return float(np.abs(np.diff(signal)).max())


def counts(fake: FakeHost) -> tuple[int, int]:
    head = fake.worker.wire.head
    return int(head[w.UNDERFLOWS]), int(head[w.STARVED])


def test_what_comes_out_is_the_stream_whole_and_late_by_a_constant(host, generating):
    fake = host(sleep_db=NEVER_DB)
    fake.run(6)
    stream = Stream(generating, RATE, RATE, cutoff=4000.0)
    expected = np.concatenate([stream.process(hop) for hop in VOICE[: 6 * RATE].reshape(-1, stream.hop)])
    got = fake.heard
    late = shift(expected[2 * RATE : 5 * RATE], got[2 * RATE : 5 * RATE])
    exact = fake.worker.engine == "python"  # librtsr's sums are taken in another order
    bound = 0 if exact else 1e-5
    np.testing.assert_allclose(
        got[2 * RATE + late : 5 * RATE], expected[2 * RATE : 5 * RATE - late], rtol=0, atol=bound
    )
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
def test_a_drifting_device_is_followed_without_an_underflow_or_a_click(host, ppm):
    fake = host(TONE, plain=True, ppm=ppm)
    fake.run(60)
    levels = np.array([level for now, level in fake.levels if now > 5])
    assert counts(fake) == (0, 0)
    assert np.ptp(levels) < 0.012 * RATE
    assert steps(fake.heard[2 * RATE :]) < 1.02 * steps(TONE)


def test_equal_clocks_are_a_copy(host):
    fake = host(TONE, plain=True)
    fake.run(10)
    assert fake.worker.report().ratio == 1.0


def test_a_stalled_worker_is_covered_by_the_plain_voice_and_comes_back_to_the_same_latency(host):
    stall = [3.0]
    fake = host(compute_s=lambda now: 0.12 if stall and now > stall[0] and not stall.clear() else 0.0005)
    fake.run(6)
    calm = host()
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


def test_the_plain_voice_is_where_the_enhanced_one_would_be(host):
    """Where nothing is generated, a stall of the worker cannot be heard at all."""
    stall = [3.0]
    fake = host(plain=True, compute_s=lambda now: 0.12 if stall and now > stall[0] and not stall.clear() else 0.0005)
    calm = host(plain=True)
    for one in (fake, calm):
        one.run(5)
    assert counts(fake)[0] == 1
    np.testing.assert_allclose(fake.heard[2 * RATE :], calm.heard[2 * RATE :], atol=1e-6)


def test_a_suspended_input_is_silence_and_then_the_same_voice_again(host):
    fake = host(TONE, plain=True, input_on=lambda now: not 3 < now < 4)
    fake.run(8)
    got = fake.heard
    assert np.abs(got[int(3.2 * RATE) : int(3.9 * RATE)]).max() < 1e-3
    assert np.abs(got[int(4.2 * RATE) : 5 * RATE]).max() > 0.29
    levels = np.array([level for now, level in fake.levels if 2 < now < 3 or now > 6])
    assert np.ptp(levels) < 0.010 * RATE
    assert steps(got[RATE:]) < 1.3 * steps(TONE)


def test_a_suspended_output_does_not_come_back_late(host):
    fake = host(TONE, plain=True, output_on=lambda now: not 3 < now < 4)
    fake.run(8)
    before = np.mean([level for now, level in fake.levels if 2 < now < 3])
    after = np.mean([level for now, level in fake.levels if now > 6])
    assert after == pytest.approx(before, abs=0.005 * RATE)
    assert steps(fake.heard[RATE:]) < 1.3 * steps(TONE)


def test_a_worker_that_is_too_slow_goes_plain_and_recovers(host):
    slow = lambda now: 0.008 if 3 < now < 3.5 and not fake.worker.report().resting else 0.0005  # noqa: E731
    fake = host(compute_s=lambda now: slow(now))
    fake.run(2.9)
    before = fake.worker.report()
    fake.run(0.7)
    resting = fake.worker.report()
    assert resting.resting
    assert events(before, resting) == [("overload", "too slow for this machine: plain for 1 s")]
    fake.run(0.3)
    assert fake.worker.report().rested - resting.rested == 60  # every frame of it
    fake.run(RETRY_S + 0.5)
    after = fake.worker.report()
    assert not after.resting
    fake.run(2)
    assert fake.worker.report().overloads == resting.overloads == 1
    assert fake.worker.report().rested - after.rested < 0.5 * 2 * 200  # only the pauses
    assert events(resting, fake.worker.report()) == []


def test_a_burst_after_a_pause_is_no_overload(kind, generating):
    now = [0.0]
    worker = kind(generating, RATE, cushion=144, burst=240, cutoff=4000.0, clock=lambda: now[0])
    for _ in range(3):
        now[0] += 1.0  # a device that starts, or was suspended, gives nothing and then much at once
        assert not worker.step()
        worker.wire.capture(VOICE[: (BEHIND_HOPS + 2) * worker.hop + 240, None])
        while worker.step():
            now[0] += 0.001
    assert worker.report().overloads == 0


def test_the_network_sleeps_in_silence_and_wakes_with_the_onset(host):
    signal = np.concatenate([VOICE[: 2 * RATE], np.zeros(2 * RATE, np.float32), VOICE[: 4 * RATE]])
    fake, awake = host(signal), host(signal, sleep_db=NEVER_DB)
    for one in (fake, awake):
        one.run(3.9)
    assert fake.worker.report().rested >= 0.7 * 2 * 200 * 0.85
    assert fake.worker.report().asleep
    assert awake.worker.report().rested == 0
    for one in (fake, awake):
        one.run(2.0)
    onset = slice(4 * RATE, int(4.1 * RATE))
    assert power_db(fake.heard[onset], RATE, 4500, 7500) > power_db(awake.heard[onset], RATE, 4500, 7500) - 1


@pytest.mark.parametrize("wish", ["bypass", "mute", "gain_db"])
def test_bypass_mute_and_gain_slide_without_a_click(host, wish):
    fake = host()
    fake.run(3.3)
    fake.worker.wish(**{wish: -20.0 if wish == "gain_db" else True})
    fake.run(1.0)
    fake.worker.wish(**{wish: 0.0 if wish == "gain_db" else False})
    fake.run(2.0)
    calm = host()
    calm.run(6.3)
    assert steps(fake.heard[RATE:]) <= 1.01 * steps(calm.heard[RATE:])
    during = slice(int(3.4 * RATE), int(4.2 * RATE))
    quieter = power_db(calm.heard[during], RATE, 4500, 7500) - power_db(fake.heard[during], RATE, 4500, 7500)
    assert quieter > 15
    assert power_db(fake.heard[during], RATE, 200, 3500) < -60 or wish != "mute"
    np.testing.assert_allclose(fake.heard[-RATE:], calm.heard[-RATE:], atol=2e-3)


def test_bypass_takes_ten_milliseconds(host):
    fake = host()
    fake.run(3.0)
    fake.worker.wish(bypass=True)
    levels = []
    for _ in range(4):
        fake.run(0.005)
        levels.append(fake.worker.report().level)
    assert [round(v, 6) for v in levels if v > 0] == [0.5]
    assert FADE_HOPS * fake.worker.hop / RATE == 0.01


def test_a_model_switch_leaves_no_gap_and_no_click(host, generating):
    fake, calm = host(), host()
    for one in (fake, calm):
        one.run(3.0)
    before = fake.worker.report()
    fake.worker.switch(generating)
    for one in (fake, calm):
        one.run(3.0)
    assert fake.worker.report().switches == 1
    assert events(before, fake.worker.report()) == [("model", "random-16k speaks now")]
    assert counts(fake) == (0, 0)
    assert steps(fake.heard[RATE:]) <= 1.01 * steps(calm.heard[RATE:])
    late = power_db((fake.heard - calm.heard)[4 * RATE :], RATE, 0, 24000)
    assert late < power_db(calm.heard[4 * RATE :], RATE, 0, 24000) - 40


def test_one_switch_after_the_other_ends_with_the_last(host, generating):
    fake, shipped = host(), load("voice-16k", generating.name)
    fake.run(1.0)
    for model in (shipped, generating, shipped):
        fake.worker.switch(model)
        fake.run(0.003)  # the first is spoken for already
    fake.run(0.5)
    assert fake.worker.report().model == "voice-16k"
    fake.worker.switch(generating)
    fake.run(0.5)
    assert fake.worker.report().model == "random-16k"


def test_after_seconds_of_a_stall_what_is_too_old_is_left_out(host):
    stall = [3.0]
    fake = host(plain=True, compute_s=lambda now: 1.5 if stall and now > stall[0] and not stall.clear() else 0.0005)
    fake.run(8)
    assert 1.0 * RATE < fake.worker.report().lost < 1.6 * RATE
    calm = host(plain=True)
    calm.run(8)
    late = slice(6 * RATE, 7 * RATE)
    assert abs(shift(calm.heard[late], fake.heard[late])) <= 2


def test_both_workers_say_the_same(model_path):
    """Through drift, a stall and silence, to the ear: everything that they decide is decided at the same hop."""
    model, heard, said = open_backend(model_path, "native"), [], []
    signal = np.concatenate([VOICE[: 5 * RATE], np.zeros(RATE, np.float32), VOICE[: 4 * RATE]])
    for kind in (Worker, NativeWorker):
        stall = [6.5]
        fake = FakeHost(
            partial(kind, model, RATE, cushion=144, burst=240),
            partial(from_array, signal),
            ppm=150,
            compute_s=lambda now, stall=stall: 0.05 if stall and now > stall[0] and not stall.clear() else 0.0005,
        )
        fake.run(2)
        fake.worker.wish(gain_db=-6.0)
        fake.run(8)
        heard.append(fake.heard)
        said.append(fake.worker.report())
    python, native = said
    for name in ("hops", "lost", "overloads", "rested", "switches", "cutoff_hz", "asleep", "resting"):
        assert getattr(python, name) == getattr(native, name), name
    assert native.ratio == pytest.approx(python.ratio, abs=1e-7)
    assert native.ratio != 1
    np.testing.assert_allclose(heard[1], heard[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("cushion_ms", "whole"), [(7, True), (3, False)])
def test_a_machine_that_stands_still_for_less_than_the_cushion_costs_nothing(kind, generating, cushion_ms, whole):
    """Its devices catch up with their clocks at once, before the worker has made anything."""

    def resumes(due: float) -> float:
        since = (due - 2) % 0.1013  # again and again, at another place in a hop each time
        return due if due < 2 or since > 0.0065 else due - since + 0.0065

    worker = partial(kind, generating, RATE, cushion=48 * cushion_ms, burst=128, cutoff=4000.0)
    fake = FakeHost(worker, partial(from_array, VOICE), block=64, resumes=resumes)
    fake.run(6)
    assert (counts(fake) == (0, 0)) is whole


@pytest.mark.skipif(not w.HAS_BELL, reason="no semaphores without a name here")
def test_the_bell_rings_when_a_hop_is_there_and_not_before():
    wire, value, libc = w.Wire(RATE, 240, 144, 0), ctypes.c_int(), ctypes.CDLL(None)

    def rung() -> int:
        assert libc.sem_getvalue(ctypes.c_void_p(wire.bell), ctypes.byref(value)) == 0
        return value.value

    rings = []
    for _ in range(4):
        wire.capture(VOICE[:64, None])
        rings.append(rung())
    assert rings == [0, 0, 0, 1]
    wire.wait()
    assert rung() == 0
    wire.put(VOICE[:240], 240)
    wire.capture(VOICE[:64, None])
    assert rung() == 0
    wire.wake()
    wire.wait()


@pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="no such scheduling here")
def test_the_worker_is_as_urgent_as_the_callbacks_beside_it():
    done, said = threading.Event(), []

    def be_urgent() -> None:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY + 7))
            said.append(ask_for_real_time(waiting.native_id))

    waiting, urgent = threading.Thread(target=done.wait), threading.Thread(target=be_urgent)
    try:
        waiting.start()
        urgent.start()
        urgent.join()
        if not said:
            pytest.skip("real-time scheduling is not allowed here")
        assert os.sched_getparam(waiting.native_id).sched_priority == PRIORITY + 7
        assert said == [f"real-time scheduling: SCHED_FIFO {PRIORITY + 7}"]
    finally:
        done.set()
        waiting.join()


def test_a_rate_that_a_hop_does_not_fit_is_refused(kind, generating):
    with pytest.raises(InvalidSetting, match="48000"):
        kind(generating, 44_100, cushion=100)


def test_a_model_of_another_latency_is_refused(kind, generating):
    """One to 48 kHz needs no resampler behind it, so it is a millisecond earlier."""
    worker = kind(generating, RATE, cushion=100)
    with pytest.raises(InvalidSetting, match="latency of"):
        worker.switch(open_backend("voice-48k", generating.name))
    assert worker.report().model == "random-16k"


def test_wishes_that_cannot_be_are_refused(kind, generating):
    worker = kind(generating, RATE, cushion=100)
    with pytest.raises(InvalidSetting, match="at most 24 dB"):
        worker.wish(gain_db=25.0)
    assert worker.wishes.gain_db == 0.0


def test_it_runs_on_a_thread_until_it_is_stopped(kind, generating):
    worker = kind(generating, RATE, cushion=144, burst=240)
    worker.warm_up()
    thread = threading.Thread(target=worker.run)
    thread.start()
    for start in range(0, RATE, 240):
        worker.wire.capture(VOICE[start : start + 240, None])
    deadline = time.monotonic() + 20
    while worker.report().hops < RATE // 240 and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert worker.report().hops == RATE // 240
    assert all(0 < ms < 1000 for ms in worker.report().compute_ms)


def test_the_native_worker_runs_while_the_interpreter_is_held(model_path):
    """One native call that never lets go of the interpreter lock: what comes in meanwhile is made all the same."""
    worker = NativeWorker(open_backend(model_path, "native"), RATE, cushion=144, burst=240)
    thread = threading.Thread(target=worker.run)
    thread.start()
    worker.wire.capture(VOICE[:2400, None])  # compiles
    worker.wire.capture(VOICE[2400:12_000, None])
    holding = ctypes.PyDLL(None).usleep  # unlike a CDLL, a PyDLL keeps the lock
    holding(500_000)
    done = int(worker.wire.head[w.TAKEN])
    worker.stop()
    thread.join(5)
    assert done == 12_000


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, NativeWorker),
        ({"engine": "native"}, NativeWorker),
        ({"engine": "python"}, Worker),
        ({"backend": "null"}, Worker),
    ],
)
def test_the_native_worker_is_taken_where_it_is_asked_for_or_can_be(model_path, settings, expected):
    open_backend(model_path, "native")
    worker = make_worker(Settings(model=str(model_path), gain_db=-3.0, **settings))
    assert type(worker) is expected
    assert worker.wishes.gain_db == -3


def test_without_the_library_the_interpreter_carries_the_voice(model_path, monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    assert type(make_worker(Settings(model=str(model_path)))) is Worker
    with pytest.raises(MissingDependency, match="librtsr"):
        make_worker(Settings(model=str(model_path), engine="native"))


def test_the_native_worker_refuses_a_model_of_another_backend(model_path):
    with pytest.raises(InvalidSetting, match="on null"):
        NativeWorker(load(model_path, "null"), RATE, cushion=100)
