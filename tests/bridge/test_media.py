"""Legs in rooms, ticked by hand: who hears whom, and what comes and goes without a trace."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.bridge.codec import CODECS, OPUS, PCMA, PCMU, make_decoder
from rtsr.bridge.leg import INBOX, Leg, Speaker
from rtsr.bridge.media import MediaThread
from rtsr.errors import PoolFull
from tests.bridge.packets import Script, packets

LISTENERS = ("own", "shares", "stays")
TONES = {"a": 300.0, "b": 700.0, "c": 1100.0}


class Played:
    """A media thread whose packets are decoded again, by leg."""

    def __init__(self, model, limit: int = 8, packet_ms: int = 20) -> None:
        self.media = MediaThread(model, limit, self.send, packet_ms)
        self.heard: dict[str, list[np.ndarray]] = {}
        self.stamps: dict[str, list[int]] = {}
        self.decoders: dict[str, object] = {}
        self.coming: list[tuple[float, Leg, object]] = []

    def send(self, deliveries) -> None:
        for leg, packet, stamp in deliveries:
            decoder = self.decoders.setdefault(leg.call, make_decoder(leg.codec))
            self.heard.setdefault(leg.call, []).append(decoder.decode(packet))
            self.stamps.setdefault(leg.call, []).append(stamp)

    def leg(self, name: str, sound=None, codec: str = OPUS, room: str = "r", listens: bool = True, **more) -> Leg:
        speaker = None
        if sound is not None:
            speaker = Speaker(codec, 200, least_s=0.01, narrow_hz=more.pop("narrow_hz", None))
            for _, packet in packets(sound, codec, Script()):
                self.coming.append((packet.arrived_s, speaker, packet))
        leg = Leg(name, room, speaker, (lambda *_: None) if listens else None, codec, **more)
        self.media.join(leg).result()
        return leg

    def run(self, seconds: float) -> None:
        self.coming.sort(key=lambda one: one[0])
        for _ in range(round(seconds * 200)):
            now_s = (self.media.ticks + 0.25) * 0.005
            while self.coming and self.coming[0][0] <= now_s:
                _, speaker, packet = self.coming.pop(0)
                speaker.put(packet)
            self.media.tick(now_s)

    def sound(self, name: str) -> np.ndarray:
        return np.concatenate([block for block in self.heard[name] if block is not None])

    def levels(self, name: str, last_s: float = 1.0) -> dict[str, float]:
        """The amplitude of each tone in the last second of what a leg heard."""
        rate = CODECS[OPUS].rate if len(self.heard[name][-1]) > 400 else 8000
        end = self.sound(name)[-round(last_s * rate) :]
        t = np.arange(len(end)) / rate
        return {n: 2 * abs(np.mean(end * np.exp(-2j * np.pi * hz * t))) for n, hz in TONES.items()}


@pytest.fixture
def played(null):
    one = Played(null)
    yield one
    one.media.stop()


def test_two_hear_each_other_and_not_themselves(played, tone):
    for name in "ab":
        played.leg(name, tone(TONES[name], 3, 48_000))
    played.run(3)
    a, b = played.levels("a"), played.levels("b")
    assert a["b"] == pytest.approx(0.3, abs=0.03)
    assert b["a"] == pytest.approx(0.3, abs=0.03)
    assert max(a["a"], b["b"]) < 0.01


def test_three_hear_the_other_two_whatever_their_codecs(played, tone):
    for name, codec in zip("abc", (OPUS, PCMU, PCMA), strict=True):
        played.leg(name, tone(TONES[name], 3, 48_000), codec)
    played.run(3)
    for name in "abc":
        levels = played.levels(name)
        assert levels.pop(name) < 0.01
        for level in levels.values():
            assert level == pytest.approx(0.3, abs=0.03)


def test_rooms_do_not_hear_each_other(played, tone):
    played.leg("a", tone(TONES["a"], 2, 48_000), room="one")
    played.leg("b", tone(TONES["b"], 2, 48_000), room="two")
    played.run(2)
    assert np.abs(played.sound("a")).max() < 1e-3
    assert np.abs(played.sound("b")).max() < 1e-3


def test_listeners_share_one_packet_and_publishers_hear_nothing(played, tone):
    played.leg("a", tone(TONES["a"], 2, 48_000), listens=False)
    for name in ("x", "y"):
        played.leg(name)
    played.run(2)
    assert played.levels("x")["a"] == pytest.approx(0.3, abs=0.03)
    assert len(played.heard["x"]) == len(played.heard["y"])
    assert "a" not in played.heard
    assert len(played.media._rooms["r"]._outlets) == 1


def test_an_echo_is_heard_by_its_speaker_alone_and_narrowed(played, tone):
    sound = tone(TONES["a"], 3, 48_000) + tone(3_500, 3, 48_000)
    played.leg("a", sound, narrow_hz=4_000, hears_itself=True)
    played.leg("b", tone(TONES["b"], 3, 48_000))
    played.run(3)
    assert played.levels("a")["a"] == pytest.approx(0.3, abs=0.06)
    assert played.levels("a")["b"] < 0.01
    assert played.levels("b")["a"] < 0.01
    spectrum = np.abs(np.fft.rfft(played.sound("a")[-48_000:]))
    assert spectrum[3_400:3_600].max() < 1e-2 * spectrum[200:400].max()


def test_joining_and_leaving_disturbs_nobody(played, tone):
    played.leg("a", tone(TONES["a"], 6, 48_000))
    played.leg("b")
    played.run(1)
    for number in range(20):
        guest = played.leg(f"guest {number}", tone(0, 0.1, 48_000))
        played.run(0.1)
        played.media.leave(guest).result()
    played.run(1)
    steady = played.sound("b")[48_000 // 2 :]
    assert np.abs(np.diff(steady)).max() < 1.3 * 0.3 * 2 * np.pi * TONES["a"] / 48_000
    assert np.diff(played.stamps["b"]).tolist() == [960] * (len(played.stamps["b"]) - 1)


def test_nothing_remains_of_those_who_left(played, tone):
    for round_ in range(10):
        legs = [played.leg(f"{round_} {n}", tone(300, 0.1, 48_000), room=f"room {n % 3}") for n in range(6)]
        played.run(0.05)
        for leg in legs:
            played.media.leave(leg).result()
            played.media.leave(leg).result()
    media = played.media
    assert len(media.pool) == len(media.legs) == len(media._rooms) == len(media._orders) == 0


def test_one_more_than_the_limit_is_refused_and_leaves_nothing(null):
    one = Played(null, limit=2)
    for name in "ab":
        one.leg(name, np.zeros(4_800, np.float32))
    with pytest.raises(PoolFull):
        one.leg("c", np.zeros(4_800, np.float32))
    assert [leg.call for leg in one.media.legs] == ["a", "b"]
    one.run(0.1)
    one.media.stop()


@pytest.mark.parametrize("packet_ms", [10, 20])
def test_packets_are_as_long_as_set(null, tone, packet_ms):
    one = Played(null, packet_ms=packet_ms)
    one.leg("a", tone(TONES["a"], 1, 48_000))
    one.leg("b")
    one.run(1)
    assert set(np.diff(one.stamps["b"])) == {48 * packet_ms}
    assert {len(block) for block in one.heard["b"] if block is not None} == {48 * packet_ms}
    one.media.stop()


def test_the_generated_band_is_heard_and_bypass_leaves_it_out(generating, tone):
    """A narrowband leg, out as fullband Opus: above 4 kHz is something, and with bypass nothing."""
    one = Played(generating)
    rng = np.random.default_rng(0)
    a = one.leg("a", (0.1 * rng.standard_normal(6 * 48_000)).astype(np.float32), PCMU)
    one.leg("b")

    def high_band() -> float:
        one.heard["b"] = []
        one.run(1.5)
        spectrum = np.abs(np.fft.rfft(one.sound("b")[-48_000:])) ** 2
        return 10 * np.log10(spectrum[5_000:7_500].sum() / spectrum[300:3_400].sum())

    one.run(0.5)
    enhanced = high_band()
    one.media.bypass(a, True).result()
    plain = high_band()
    assert enhanced > plain + 10
    one.media.stop()


def test_listeners_choose_for_themselves_without_a_click(generating):
    """Whether a listener has an outlet of its own or shares one; others hear none of it."""
    one, rng = Played(generating), np.random.default_rng(0)
    one.leg("a", (0.1 * rng.standard_normal(7 * 48_000)).astype(np.float32), PCMU)
    legs = {name: one.leg(name, np.zeros(7 * 48_000, np.float32) if name == "own" else None) for name in LISTENERS}

    def high_bands() -> dict[str, float]:
        one.heard.clear()
        one.run(1.5)
        power = {name: np.abs(np.fft.rfft(one.sound(name)[-48_000:])) ** 2 for name in LISTENERS}
        return {n: 10 * np.log10(p[5_000:7_500].sum() / p[300:3_400].sum()) for n, p in power.items()}

    one.run(2)
    for plain in ({"a"}, frozenset()):
        for name in ("own", "shares"):
            legs[name].plain = frozenset(plain)
            one.media.choose(legs[name]).result()
        now = high_bands()
        for name, level in now.items():
            chose = plain and name in ("own", "shares")
            assert level < now["stays"] - 10 if chose else level == pytest.approx(now["stays"], abs=1)
    for stamps in (one.stamps[name] for name in LISTENERS):
        assert set(np.diff(stamps)) == {960}
    one.media.stop()


@pytest.mark.parametrize("codec", [OPUS, PCMU])
def test_who_changes_to_another_encoder_hears_no_seam(played, tone, codec):
    """Listeners part and meet again while a steady tone plays, whose plain voice is the same here."""
    played.leg("a", tone(TONES["a"], 4, 48_000))
    legs = [played.leg(name, codec=codec) for name in "xyz"]
    played.run(1)
    for count in range(12):
        legs[count % 3].plain = frozenset() if legs[count % 3].plain else frozenset("a")
        played.media.choose(legs[count % 3]).result()
        played.run(0.215)
    rate = CODECS[codec].rate
    for name in "xyz":
        steady = played.sound(name)[rate // 2 :]
        assert np.abs(np.diff(steady)).max() < 1.3 * 0.3 * 2 * np.pi * TONES["a"] / rate
        assert set(np.diff(played.stamps[name])) == {rate // 50}
    assert len(played.media._rooms["r"]._outlets) == len({leg.plain for leg in legs}) + 1


def test_a_flood_is_cut_off(null):
    one = Played(null)
    leg = one.leg("a", np.zeros(960, np.float32))
    for number in range(10 * INBOX):
        leg.speaker.put((number, 0, b"", 0.0))
    assert len(leg.speaker.inbox) == INBOX
    assert leg.speaker.stats()["refused"] == 9 * INBOX
    one.media.stop()


def test_a_leg_that_makes_it_fail_is_let_go_and_the_others_go_on(played, tone, caplog):
    played.leg("a", tone(TONES["a"], 2, 48_000))
    played.leg("b")
    bad = played.leg("bad", np.zeros(9_600, np.float32))
    played.run(0.5)
    bad.speaker.put("no packet")
    played.run(1.4)
    assert bad.failed
    assert not bad.joined
    assert "bad" in caplog.text
    assert len(played.media.pool) == 1
    assert played.levels("b")["a"] == pytest.approx(0.3, abs=0.03)
