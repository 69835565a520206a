"""What the worker makes of clocks that drift, devices that stall and machines that are slow, in simulated time."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from rtsr import Stream
from rtsr.daemon.drift import MOST, Drift
from rtsr.daemon.gate import Gate
from rtsr.daemon.worker import BEHIND_HOPS, BEHIND_S, RETRY_MOST_S, RETRY_S, events
from rtsr.errors import InvalidSetting
from rtsr.io import layout as at
from rtsr.io.learning import learn
from rtsr.io.shared_block import SharedBlock
from tests.fakehost import FakeHost
from tests.signals import power_db, shift
from tests.worker.heard import NEVER_DB, RATE, TONE, VOICE, counts, from_array, steps


def test_what_comes_out_is_the_stream_whole_and_late_by_a_constant(host, generating):
    fake = host(sleep_db=NEVER_DB)
    fake.run(6)
    stream = Stream(generating, RATE, RATE, cutoff=4000.0)
    expected = np.concatenate([stream.process(hop) for hop in VOICE[: 6 * RATE].reshape(-1, stream.hop)])
    got = fake.heard
    late = shift(expected[2 * RATE : 5 * RATE], got[2 * RATE : 5 * RATE])
    exact = fake.worker.kind == "python"  # librtsr's sums are taken in another order
    bound = 0 if exact else 1e-5
    np.testing.assert_allclose(
        got[2 * RATE + late : 5 * RATE], expected[2 * RATE : 5 * RATE - late], rtol=0, atol=bound
    )
    assert counts(fake) == (0, 0)
    assert late / RATE < 0.015


@pytest.mark.parametrize(("ready", "ratio"), [(RATE, 1 + MOST), (0, 1 - MOST)])
def test_a_level_far_off_is_corrected_by_a_thousandth_at_most(ready, ratio):
    drift = Drift(RATE, 240)
    for _ in range(5 * 200):
        drift.observe(600)
    for _ in range(60 * 200):
        drift.observe(ready)
    # From 12.5 ms below, the loop asks for 0.25 % at once and for as much again by its integral.
    assert (drift.ratio, drift.ppm) == pytest.approx((ratio, 1e6 * (ratio - 1)))
    drift.relearn()
    assert drift.ratio == ratio


def test_a_level_within_a_millisecond_is_not_corrected():
    drift = Drift(RATE, 240)
    for ready, ratio in ((600, 1.0), (645, 1.0), (555, 1.0)):
        for _ in range(10 * 200):
            drift.observe(ready)
        assert drift.ratio == ratio
    for _ in range(10 * 200):
        drift.observe(660)
    assert drift.ratio > 1


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
    worker = kind(generating, RATE, low_water=144, burst=240, cutoff=4000.0, clock=lambda: now[0])
    for _ in range(3):
        now[0] += 1.0  # a device that starts, or was suspended, gives nothing and then much at once
        assert not worker.step()
        worker.shared.capture(VOICE[: (BEHIND_HOPS + 2) * worker.hop + 240, None])
        while worker.step():
            now[0] += 0.001
    assert worker.report().overloads == 0


def test_each_overload_rests_for_twice_as_long_and_for_less_after_calm_seconds(kind, generating):
    now, hops = [0.0], 1200
    worker = kind(generating, RATE, low_water=144, burst=240, clock=lambda: now[0])
    worker.wish(bypass=True)

    def wait(samples: int) -> None:
        """Let so much wait after a pause, and take it."""
        assert not worker.step()
        now[0] += BEHIND_S + 0.001
        worker.shared.capture(VOICE[:samples, None])
        while worker.step():
            pass

    wait(BEHIND_HOPS * worker.hop + 240)
    assert worker.report().overloads == 0
    rests = []
    for calm in (*6 * (0,), hops, 0):
        wait(BEHIND_HOPS * worker.hop + 241)
        assert worker.report().resting
        rests.append(worker.report().rest_s)
        now[0] += rests[-1]
        for _ in range(1 + calm):
            worker.shared.capture(VOICE[: worker.hop, None])
            assert worker.step()
        assert not worker.report().resting
    less = (1 - worker.hop / RATE / RETRY_MOST_S) ** hops
    assert rests == pytest.approx([RETRY_S, 2, 4, 8, 16, RETRY_MOST_S, RETRY_MOST_S, less * RETRY_MOST_S])


def test_a_gate_shuts_after_a_fifth_of_a_second_and_opens_at_once(null):
    gate, out = Gate(null, -60.0), np.zeros((1, null.spec.bands), np.float32)
    quiet, loud = (np.zeros((1, null.spec.bins_in, 2), np.float32) for _ in range(2))
    quiet[0, 9, 0] = 0.99 * np.sqrt(gate.threshold)
    loud[0, 9, 1] = 1.01 * np.sqrt(gate.threshold)
    asleep = []
    for spectrum in [quiet] * 42 + [loud] + [quiet] * 41:
        gate.step(spectrum, np.zeros(1, np.float32), None, out)
        asleep.append(gate.asleep)
    assert np.flatnonzero(asleep).tolist() == [40, 41, 83]  # a frame lasts 5 ms
    assert gate.rested == 3
    assert gate.threshold == pytest.approx(1e-6 * null.spec.history**2 / 16)


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


def test_after_seconds_of_a_stall_what_is_too_old_is_left_out(host):
    stall = [3.0]
    fake = host(plain=True, compute_s=lambda now: 1.5 if stall and now > stall[0] and not stall.clear() else 0.0005)
    fake.run(8)
    assert 1.0 * RATE < fake.worker.report().lost < 1.6 * RATE
    calm = host(plain=True)
    calm.run(8)
    late = slice(6 * RATE, 7 * RATE)
    assert abs(shift(calm.heard[late], fake.heard[late])) <= 2


@pytest.mark.parametrize(("low_water_ms", "whole"), [(7, True), (3, False)])
def test_a_machine_that_stands_still_for_less_than_the_low_water_mark_costs_nothing(
    kind, generating, low_water_ms, whole
):
    """Its devices catch up with their clocks at once, before the worker has made anything."""

    def resumes(due: float) -> float:
        since = (due - 2) % 0.1013  # again and again, at another place in a hop each time
        return due if due < 2 or since > 0.0065 else due - since + 0.0065

    worker = partial(kind, generating, RATE, low_water=48 * low_water_ms, burst=128, cutoff=4000.0)
    fake = FakeHost(worker, partial(from_array, VOICE), block=64, resumes=resumes)
    fake.run(6)
    assert (counts(fake) == (0, 0)) is whole


@pytest.mark.parametrize("moments", [(0.5,), (0.5, 0.8)])
def test_a_machine_that_stood_still_while_the_ring_learnt_costs_no_latency(kind, generating, moments):
    def resumes(due: float) -> float:
        return max([due, *(moment + 0.009 for moment in moments if 0 <= due - moment < 0.009)])

    worker = partial(kind, generating, RATE, low_water=480, burst=240, cutoff=4000.0)
    fake, calm = (FakeHost(worker, partial(from_array, VOICE), **options) for options in ({"resumes": resumes}, {}))
    for one in (fake, calm):
        one.run(3)
    late = slice(2 * RATE, 3 * RATE)
    assert counts(fake) == counts(calm) == (0, 0)
    assert abs(shift(calm.heard[late], fake.heard[late])) <= 48


def test_the_ring_gives_up_what_it_never_needs_only_when_it_has_it():
    head = SharedBlock(RATE, 240, low_water=100, latency=0).head
    head[at.LEARNING], head[at.SPARE], head[at.MOST_SPARE], head[at.MORE_SPARE] = 120, 700, 500, 400
    assert learn(head, 200, 120) == 0
    assert learn(head, 299, 120) == 0
    assert learn(head, 300, 120) == 300
    assert head[at.LEARNING] == 0


def test_a_rate_that_a_hop_does_not_fit_is_refused(kind, generating):
    with pytest.raises(InvalidSetting, match="48000"):
        kind(generating, 44_100, low_water=100)
