"""Mixes of a room without codecs: whatever listeners choose, each hears what it asked for, without a step or a gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsr.bridge import mix
from rtsr.bridge.faults import Faults
from rtsr.bridge.leg import Leg, Speaker
from rtsr.bridge.mix import MIX_RATE, PLAIN_FADE_MS, Room

HOP, HOPS = 240, 4
PLAIN_FADE = MIX_RATE * PLAIN_FADE_MS // 1000
SPEAKERS, LISTENERS = ("a", "b", "c", "echo"), ("x", "y", "z")
EVERYONE = (*SPEAKERS, *LISTENERS)


class Raw:
    """An encoder that keeps the samples."""

    rate = MIX_RATE

    def encode(self, block: np.ndarray) -> bytes:
        return block.tobytes()


@pytest.fixture(autouse=True)
def raw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mix, "make_encoder", lambda codec, packet_ms: Raw())


class Played:
    """A room whose speakers say constants: (enhanced, plain) by name."""

    def __init__(self) -> None:
        phases = iter(range(1_000))
        self.room = Room(HOP, HOPS, lambda: next(phases), Faults())
        self.legs: dict[str, Leg] = {}
        self.levels = {name: (0.01 * 2**n, 0.003 * 3**n) for n, name in enumerate(SPEAKERS)}
        self.heard: dict[str, list[np.ndarray]] = {name: [] for name in EVERYONE}
        self.stamps: dict[str, list[int]] = {name: [] for name in EVERYONE}
        self.sounds: dict[str, np.ndarray] = {}  # of those who say something else
        self.asked: set[str] = set()
        self.ticks = 0

    def join(self, name: str) -> None:
        speaker = Speaker("opus", 200, least_s=0.01) if name in SPEAKERS else None
        self.legs[name] = Leg(name, "r", speaker, lambda *_: None, "opus", hears_itself=name == "echo")
        self.room.join(self.legs[name])

    def leave(self, name: str) -> None:
        self.room.leave(self.legs.pop(name))

    def choose(self, name: str, plain: set[str]) -> None:
        self.legs[name].plain = frozenset(plain)
        self.room.choose()

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            enhanced = {leg: self.hop(name, 0) for name, leg in self.legs.items() if leg.speaker}
            for block in self.room.tick(enhanced, self.plain, self.ticks):
                for leg, packet, stamp in block.encode():
                    self.heard[leg.call].append(np.frombuffer(packet, np.float32))
                    self.stamps[leg.call].append(stamp)
            self.ticks += 1

    def hop(self, name: str, kind: int) -> np.ndarray:
        if name in self.sounds:
            return self.sounds[name][self.ticks * HOP : (self.ticks + 1) * HOP]
        return np.full(HOP, self.levels[name][kind], np.float32)

    def plain(self, leg: Leg) -> np.ndarray:
        self.asked.add(leg.call)
        return self.hop(leg.call, 1)

    def wanted(self, name: str) -> float:
        """What a listener is to hear in the end."""
        plain = self.legs[name].plain
        heard = {"echo"} if name == "echo" else set(self.legs) & set(SPEAKERS) - {name, "echo"}
        return sum(self.levels[one][one in plain] for one in heard)

    def outlets(self) -> list[tuple[str | None, frozenset[str]]]:
        """Whose own each outlet is, and who is heard plain there."""
        return [(one.own and one.own.call, frozenset(leg.call for leg in one.wanted)) for one in self.room._outlets]


names, subsets = st.sampled_from(EVERYONE), st.sets(st.sampled_from([*SPEAKERS, "gone"]))
steps = st.one_of(
    st.tuples(st.just("choose"), names, subsets),
    st.tuples(st.just("come or go"), names, st.none()),
    st.tuples(st.just("tick"), st.integers(1, 9), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
def test_each_hears_what_it_asked_for_in_the_end_and_same_mixes_share_an_encoder(script):
    played = Played()
    for name in EVERYONE:
        played.join(name)
    for what, which, more in script:
        if what == "tick":
            played.tick(which)
        elif what == "come or go":
            played.leave(which) if which in played.legs else played.join(which)
        elif which in played.legs:
            played.choose(which, more)
    played.tick(3 * HOPS)
    played.asked.clear()
    before = {name: len(blocks) for name, blocks in played.heard.items()}
    played.tick(HOPS)
    for name in played.legs:
        assert len(played.heard[name]) == before[name] + 1, "one packet each"
        np.testing.assert_allclose(played.heard[name][-1], played.wanted(name), atol=1e-6)
    assert len(set(played.outlets())) == len(played.outlets()), "the same mix is encoded twice"
    assert played.asked <= {one for leg in played.legs.values() for one in leg.plain}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.tuples(names, subsets), st.integers(1, 9)), max_size=25))
def test_choices_neither_step_nor_lose_nor_double_anything(script):
    played = Played()
    for name in EVERYONE:
        played.join(name)
    played.tick(2 * HOPS)
    for step in script:
        if isinstance(step, int):
            played.tick(step)
        else:
            played.choose(*step)
    played.tick(3 * HOPS)
    steepest = sum(abs(enhanced - plain) for enhanced, plain in played.levels.values()) / PLAIN_FADE
    for name in EVERYONE:
        whole = np.concatenate(played.heard[name])
        assert np.abs(np.diff(whole[HOP * HOPS :])).max() <= 1.01 * steepest
        assert set(np.diff(played.stamps[name])) == {HOP * HOPS}


def test_nobody_else_hears_a_choice_and_nothing_is_asked_for_without_one():
    played = Played()
    for name in EVERYONE:
        played.join(name)
    played.tick(4 * HOPS)
    assert not played.asked
    assert len(played.outlets()) == len(SPEAKERS) + 1
    for name in ("a", "x"):
        played.choose(name, {"b"})
    played.tick(4 * HOPS)
    assert played.asked == {"b"}
    for name in set(EVERYONE) - {"a", "x"}:
        np.testing.assert_array_equal(np.concatenate(played.heard[name][1:]), played.heard[name][-1][0])


def test_a_slide_takes_its_time():
    played = Played()
    for name in ("a", "b"):
        played.join(name)
    played.tick(2 * HOPS)
    played.choose("a", {"b"})
    played.tick(4 * HOPS)
    whole = np.concatenate(played.heard["a"][1:])
    between = (np.abs(whole - played.levels["b"][0]) > 1e-6) & (np.abs(whole - played.levels["b"][1]) > 1e-6)
    assert between.sum() == PLAIN_FADE - 1


def test_listeners_who_choose_the_same_share_packets_again():
    played = Played()
    for name in ("a", *LISTENERS):
        played.join(name)
    for name in ("x", "y"):
        played.choose(name, {"a"})
        played.tick(1)
    played.tick(3 * HOPS)
    assert sorted(played.outlets(), key=str) == sorted(
        [("a", frozenset()), (None, frozenset()), (None, frozenset({"a"}))], key=str
    )
    played.leave("a")
    played.tick(3 * HOPS)
    assert played.outlets() == [(None, frozenset())]


def test_who_hears_itself_alone_may_hear_itself_plain_and_leaks_nothing():
    played = Played()
    for name in ("a", "echo"):
        played.join(name)
    played.choose("echo", {"echo", "a"})
    played.choose("a", {"echo", "a"})
    played.tick(4 * HOPS)
    np.testing.assert_allclose(played.heard["echo"][-1], played.levels["echo"][1], atol=1e-6)
    assert not played.heard["a"][-1].any()


HERTZ = {"a": 311, "b": 731, "c": 1_173}


def tones(seconds: float, level: float) -> dict[str, np.ndarray]:
    """What three speakers say: a tone each. Their sum repeats every second."""
    t = np.arange(round(seconds * MIX_RATE)) / MIX_RATE
    return {name: (level * np.sin(2 * np.pi * hz * t)).astype(np.float32) for name, hz in HERTZ.items()}


def test_several_loud_talkers_do_not_clip():
    """What is neither of the tones nor their level is distortion: clipping would leave -14 dB of it."""
    played, length = Played(), 2 * MIX_RATE
    played.sounds = tones(2, 0.9)
    for name in ("a", "b", "c", "x"):
        played.join(name)
    played.tick(length // HOP)
    for name in ("a", "x"):
        heard = np.concatenate(played.heard[name])[MIX_RATE // 2 :][:MIX_RATE]
        assert np.abs(heard).max() <= 1
        power = np.abs(np.fft.rfft(heard)) ** 2
        own = [hz for one, hz in HERTZ.items() if one != name]
        tonal = sum(power[hz - 5 : hz + 6].sum() for hz in own)
        assert 10 * np.log10((power.sum() - tonal) / tonal) < -30


def test_one_talker_alone_is_passed_bit_for_bit():
    """Up to full scale, at once, and again after a time in which several were too loud."""
    played = Played()
    rng = np.random.default_rng(0)
    played.sounds = {name: rng.uniform(-1, 1, 3 * MIX_RATE).astype(np.float32) for name in ("a", "b")}
    played.sounds["b"][: MIX_RATE // 2] = 0
    played.sounds["b"][MIX_RATE:] = 0
    for name in ("a", "b", "x"):
        played.join(name)
    played.tick(3 * MIX_RATE // HOP)
    heard = np.concatenate(played.heard["x"])
    offset = len(played.sounds["a"]) - len(heard)
    said = played.sounds["a"][: len(heard)]
    assert offset < HOP * HOPS
    for part in (slice(0, MIX_RATE // 2), slice(2 * MIX_RATE, len(heard))):
        np.testing.assert_array_equal(heard[part], said[part])


def test_who_comes_to_a_mix_that_is_still_turned_down_hears_no_step():
    """Two want the same, but one of them has just heard more; they share an encoder when its gain has returned."""
    played = Played()
    played.levels |= {"a": (0.9, 0.3), "b": (0.9, 0.9)}
    for name in ("a", "b", "x", "y"):
        played.join(name)
    played.choose("y", {"a"})
    played.tick(20 * HOPS)
    played.choose("x", {"a"})
    played.tick(4 * HOPS)
    assert len(played.outlets()) == 4
    played.tick(60 * HOPS)
    assert len(played.outlets()) == 3
    settled = np.concatenate(played.heard["y"][10:])
    assert np.abs(np.diff(settled)).max() < 1e-4  # the gain rises more slowly than that
    assert np.abs(np.diff(np.concatenate(played.heard["x"])[HOP:])).max() < 2 * 0.6 / PLAIN_FADE
