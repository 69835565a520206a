"""What can be changed while a voice flows: without a click, or refused."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from rtsr.backend import load
from rtsr.daemon.native_worker import NativeWorker
from rtsr.daemon.worker import BYPASS_FADE_HOPS, Worker, events
from rtsr.errors import InvalidSetting
from tests.backends import open_backend
from tests.fakehost import FakeHost
from tests.signals import power_db
from tests.worker.heard import RATE, VOICE, counts, from_array, steps


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
    assert BYPASS_FADE_HOPS * fake.worker.hop / RATE == 0.01


def test_a_model_switch_leaves_no_gap_and_no_click(host, generating):
    fake, calm = host(), host()
    for one in (fake, calm):
        one.run(3.0)
    before = fake.worker.report()
    fake.worker.switch(generating)
    for one in (fake, calm):
        one.run(3.0)
    assert fake.worker.report().switches == 1
    assert events(before, fake.worker.report()) == [("model", "random-16k runs now")]
    assert counts(fake) == (0, 0)
    assert steps(fake.heard[RATE:]) <= 1.01 * steps(calm.heard[RATE:])
    late, expected = fake.heard[4 * RATE :], calm.heard[4 * RATE :]
    assert power_db(late - expected, RATE, 0, 3500) < power_db(expected, RATE, 0, 3500) - 60  # the received band
    for low_hz in (4500, 5500, 6500):  # the noise of the generated band began anew, so only its level is the same
        assert power_db(late, RATE, low_hz, low_hz + 1000) == pytest.approx(
            power_db(expected, RATE, low_hz, low_hz + 1000), abs=0.5
        )


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


def test_a_model_asked_for_in_the_moment_another_takes_over_runs_next(generating, model_path):
    class Interrupted(Worker):
        """Is asked for another model by another thread just then."""

        @property
        def current(self):
            return self._current

        @current.setter
        def current(self, stream):
            self._current = stream
            if stream.gate.model == "voice-16k":
                self.switch(generating)

    model = open_backend(model_path, generating.name)
    fake = FakeHost(partial(Interrupted, model, RATE, low_water=144, burst=240), partial(from_array, VOICE))
    fake.run(1.0)
    fake.worker.switch(load("voice-16k", generating.name))
    fake.run(1.0)
    assert (fake.worker.report().model, fake.worker.report().switches) == ("random-16k", 2)
    assert counts(fake) == (0, 0)


def test_a_model_of_another_latency_is_refused(kind, generating):
    """One to 48 kHz needs no resampler behind it, so it is a millisecond earlier."""
    worker = kind(generating, RATE, low_water=100)
    with pytest.raises(InvalidSetting, match="latency of"):
        worker.switch(open_backend("voice-48k", generating.name))
    assert worker.report().model == "random-16k"


def test_wishes_that_cannot_be_are_refused(kind, generating):
    worker = kind(generating, RATE, low_water=100)
    with pytest.raises(InvalidSetting, match="at most 24 dB"):
        worker.wish(gain_db=25.0)
    assert worker.wishes.gain_db == 0.0


def test_both_workers_say_the_same(model_path):
    """Through drift, a stall and silence, to the ear: everything that they decide is decided at the same hop."""
    model, heard, said = open_backend(model_path, "native"), [], []
    signal = np.concatenate([VOICE[: 5 * RATE], np.zeros(RATE, np.float32), VOICE[: 4 * RATE]])
    for kind in (Worker, NativeWorker):
        stall = [6.5]
        fake = FakeHost(
            partial(kind, model, RATE, low_water=144, burst=240),
            partial(from_array, signal),
            ppm=150,
            compute_s=lambda now, stall=stall: 0.05 if stall and now > stall[0] and not stall.clear() else 0.0005,
        )
        for seconds, wish in ((0.5, {"mute": True}), (0.25, {"mute": False}), (1.25, {"gain_db": -6.0})):
            fake.run(seconds)
            fake.worker.wish(**wish)
        fake.run(1)
        fake.worker.switch(model)
        fake.run(7)
        heard.append(fake.heard)
        said.append(fake.worker.report())
    python, native = said
    for name in ("hops", "lost", "overloads", "rested", "switches", "cutoff_hz", "asleep", "resting"):
        assert getattr(python, name) == getattr(native, name), name
    assert native.ratio == pytest.approx(python.ratio, abs=1e-7)
    assert native.ratio != 1
    np.testing.assert_allclose(heard[1], heard[0], rtol=0, atol=1e-4)
