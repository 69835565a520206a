"""What fails inside a tick ends neither the clock nor the calls of others."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.bridge import mix
from rtsr.bridge.codec import PCMU
from rtsr.bridge.media import MOST_FAILED
from tests.bridge.test_media import TONES, Played


class Failing:
    """A backend that raises in some of its steps, and leaves what is not a number behind."""

    def __init__(self, inner, first: int, last: int) -> None:
        self.inner, self.steps, self.fails = inner, 0, range(first, last)
        self.name, self.model, self.spec = inner.name, inner.model, inner.spec
        self.new_state, self.read_row, self.write_row = inner.new_state, inner.read_row, inner.write_row

    def step(self, spectrum, cutoff, state, out, active=None) -> None:
        self.steps += active is None or bool(active.any())
        if self.steps in self.fails:
            out[:] = np.nan
            raise OSError("the device fell off the bus")
        self.inner.step(spectrum, cutoff, state, out, active)


def high_db(sound: np.ndarray) -> float:
    """The generated band of a telephone's noise, relative to the received one."""
    power = np.abs(np.fft.rfft(sound)) ** 2 / len(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / 48_000)
    return 10 * np.log10(power[(hz > 5_000) & (hz < 7_500)].sum() / power[(hz > 300) & (hz < 3_400)].sum())


def test_while_the_network_fails_voices_are_heard_plain(generating, caplog):
    one = Played(Failing(generating, 400, 600))
    one.leg("a", (0.1 * np.random.default_rng(0).standard_normal(6 * 48_000)).astype(np.float32), PCMU)
    one.leg("b")
    one.run(5)
    heard = one.sound("b")
    failing = high_db(heard[round(2.2 * 48_000) : round(2.9 * 48_000)])
    before, after = high_db(heard[48_000 : round(1.9 * 48_000)]), high_db(heard[4 * 48_000 :])
    assert np.isfinite(heard).all()
    assert failing < min(before, after) - 10
    assert one.media.faults.counts["network"] == 200
    assert sum("fell off the bus" in (record.exc_text or str(record.exc_info)) for record in caplog.records) == 1
    one.media.stop()


def test_voices_that_are_stepped_together_are_heard_plain_too(null, tone):
    class Joined(Failing):
        together = 0

        def step_together(self, steps) -> None:
            self.together += len(steps) == 2
            for step in steps:
                self.step(*step)

    model = Joined(null, 1, 10_000)
    one = Played(model)
    one.leg("a", tone(TONES["a"], 2, 48_000))
    one.leg("b", tone(TONES["b"], 2, 48_000), PCMU)
    one.leg("c")
    one.run(2)
    assert np.isfinite(one.sound("c")).all()
    assert one.levels("c") == pytest.approx({"a": 0.3, "b": 0.3, "c": 0}, abs=0.05)
    assert one.media.faults.counts["network"] == model.together == 400
    assert one.media.faults.counts["pool"] == 0
    one.media.stop()


def test_a_device_that_fails_leaves_the_plain_voice(model_path):
    pytest.importorskip("torch")
    from rtsr.backend.graph import GraphBackend
    from rtsr.net.weights import Weights

    model = GraphBackend(Weights.find(model_path), "cpu")
    one = Played(model, limit=2)
    one.leg("a", (0.3 * np.sin(2 * np.pi * 300 * np.arange(96_000) / 48_000)).astype(np.float32))
    one.leg("b")
    one.run(0.5)

    def gone(*_: object) -> None:
        raise OSError("the device fell off the bus")

    model.advance = gone
    one.run(1.4)
    assert one.levels("b")["a"] == pytest.approx(0.3, abs=0.03)
    assert one.media.faults.counts["network"] == 1
    one.media.stop()


def test_a_pool_that_fails_is_not_heard_for_a_tick_and_begins_anew(null, tone, monkeypatch):
    one = Played(null)
    one.leg("a", tone(TONES["a"], 3, 48_000))
    one.leg("b")
    tick = one.media.pool.tick
    one.run(0.5)
    monkeypatch.setattr(one.media.pool, "tick", lambda: 1 / 0)
    one.run(0.1)
    monkeypatch.setattr(one.media.pool, "tick", tick)
    delay_before = one.media.legs[0].speaker.playout.delay_s
    one.run(1.8)
    assert one.levels("b")["a"] == pytest.approx(0.3, abs=0.03)
    assert one.media.faults.counts["pool"] == 20
    assert one.media.legs[0].speaker.playout.delay_s == pytest.approx(delay_before, abs=0.01)
    assert set(np.diff(one.stamps["b"])) == {960}
    one.media.stop()


def test_a_pool_that_fails_for_good_stops_the_clock(null, monkeypatch):
    one = Played(null)
    monkeypatch.setattr(one.media.pool, "tick", lambda: 1 / 0)
    for _ in range(MOST_FAILED):
        one.media.tick(0.0)
    with pytest.raises(ZeroDivisionError):
        one.media.tick(0.0)
    one.media.stop()


class Broken:
    """An encoder that raises."""

    rate = 48_000

    def encode(self, block: np.ndarray) -> bytes:
        raise OSError("no packet")


@pytest.mark.parametrize("shares", [True, False])
def test_an_encoder_that_fails_once_costs_its_own_listeners_a_packet(null, tone, shares):
    one = Played(null)
    one.leg("a", tone(TONES["a"], 3, 48_000))
    one.leg("b", None if shares else np.zeros(3 * 48_000, np.float32))
    one.leg("c", tone(TONES["c"], 3, 48_000))
    one.run(0.5)
    (outlet,) = (o for o in one.media._rooms["r"]._outlets if "b" in [leg.call for leg in o.listeners])
    outlet._encoder = Broken()
    one.run(2)
    assert sorted(np.diff(one.stamps["b"]))[-2:] == [960, 1_920]
    assert set(np.diff(one.stamps["a"])) == set(np.diff(one.stamps["c"])) == {960}
    assert one.levels("b")["a"] == pytest.approx(0.3, abs=0.03)
    assert one.media.faults.counts["encoder"] == 1
    one.media.stop()


def test_who_cannot_be_encoded_for_is_let_go_and_the_others_go_on(null, tone, monkeypatch):
    one = Played(null)
    one.leg("a", tone(TONES["a"], 3, 48_000))
    good, bad = one.leg("b"), one.leg("bad", codec=PCMU)
    one.run(0.2)
    make = mix.make_encoder
    monkeypatch.setattr(mix, "make_encoder", lambda codec, ms: Broken() if codec == PCMU else make(codec, ms))
    (outlet,) = (o for o in one.media._rooms["r"]._outlets if o.codec == PCMU)
    outlet._encoder = Broken()
    one.run(1.5)
    assert bad.failed
    assert not good.failed
    assert one.levels("b")["a"] == pytest.approx(0.3, abs=0.03)
    one.media.stop()


def test_who_cannot_join_leaves_nothing(null, monkeypatch):
    one = Played(null)
    monkeypatch.setattr(mix, "make_encoder", lambda codec, ms: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        one.leg("a", np.zeros(4_800, np.float32))
    assert not one.media.legs
    assert not one.media._rooms
    assert len(one.media.pool) == 0
    one.media.stop()


def test_packets_that_cannot_be_handed_over_stop_nobody(null, monkeypatch):
    one = Played(null)
    one.leg("a")
    monkeypatch.setattr(one.media._encoding, "_send", lambda packets: 1 / 0)
    one.run(0.2)
    assert one.media.faults.counts["send"] == 10
    one.media.stop()


def test_a_leg_whose_row_cannot_be_closed_stops_nobody(null, monkeypatch):
    one = Played(null)
    bad = one.leg("bad", np.zeros(9_600, np.float32))
    bad.speaker.put("no packet")
    monkeypatch.setattr(one.media.pool, "close", lambda row: 1 / 0)
    one.media.tick(0.0)
    assert bad.failed
    one.media.tick(0.005)
    assert one.media.faults.counts["voice"] == 2
    one.media.stop()
