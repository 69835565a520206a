"""Packets that are lost, late, double, or from a clock of their own: what is heard, and with which delay."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.bridge.codec import OPUS, PCMU, make_decoder
from rtsr.bridge.conceal import Concealer
from rtsr.bridge.jitter import ROOM, JitterBuffer, Packet
from rtsr.bridge.playout import LEAST_TARGET_S, MOST_TARGET_S, Playout
from rtsr.dsp.resample import Resampler
from tests.bridge.packets import Script, burst, play, uniform

CODECS = (OPUS, PCMU)


def playout(codec: str) -> Playout:
    return Playout(make_decoder(codec), 200)


@pytest.mark.parametrize("codec", CODECS)
def test_an_even_stream_comes_through_whole_at_the_least_delay(codec, tone):
    one = playout(codec)
    out = play(one, tone(300, 3, 48_000), codec, Script())
    assert one.counts.lost == one.counts.late == one.counts.underruns == one.counts.concealed_hops == 0
    assert out.delay_ms[100:].max() <= 1000 * LEAST_TARGET_S + 5
    steady = out.sound[one.rate // 2 :]
    assert np.abs(steady).max() == pytest.approx(0.3, abs=0.02)
    jumps = np.abs(np.diff(steady)).max()
    assert jumps < 1.3 * 0.3 * 2 * np.pi * 300 / one.rate, "a seam"


@pytest.mark.parametrize("codec", CODECS)
def test_numbers_and_stamps_begin_anew_unnoticed(codec, tone):
    one = playout(codec)
    play(one, tone(300, 3, 48_000), codec, Script())
    assert one.counts.restarts == 0
    assert one.counts.received == 149, "all but the one that arrives with the end"


@pytest.mark.parametrize("codec", CODECS)
def test_loss_is_made_up_and_counted(codec, tone):
    one = playout(codec)
    out = play(one, tone(300, 6, 48_000), codec, Script(loss=0.05))
    known = [number for number in out.lost if 0 < number < 298]
    assert abs(one.counts.lost - len(known)) <= 2
    assert one.counts.underruns == 0, "lost packets are no underruns"
    assert out.delay_ms[200:].max() < 20, "loss must not make the delay grow"
    quietest = np.abs(out.sound[one.rate :]).reshape(-1, one.hop * 10).max(1).min()
    assert quietest > 0.05, "a lost packet is a hole"


@pytest.mark.parametrize("codec", CODECS)
def test_five_percent_loss_and_sixty_ms_of_jitter(codec, tone):
    one = playout(codec)
    out = play(one, tone(300, 12, 48_000), codec, Script(loss=0.05, late_s=uniform(0.06)))
    settled = out.delay_ms[800:]
    assert settled.max() < 80
    assert one.counts.late <= 5
    made_up = one.counts.concealed_hops - 4 * one.counts.lost
    assert made_up < 60, "the buffer has not adapted"


def test_a_burst_makes_the_delay_grow_and_the_delay_returns(tone):
    one = playout(PCMU)
    out = play(one, tone(300, 14, 48_000), PCMU, Script(late_s=burst(4.0, 0.2)))
    before, after, at_last = out.delay_ms[700], out.delay_ms[880], out.delay_ms[-1]
    assert before < 16
    assert after > 100
    assert at_last == pytest.approx(before, abs=8)
    assert out.target_ms[-1] == pytest.approx(1000 * LEAST_TARGET_S)
    assert one.counts.dropped_hops == pytest.approx((after - at_last) / 5, abs=5)


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_senders_clock_may_drift(ppm, tone):
    one = playout(PCMU)
    out = play(one, tone(300, 20, 48_000), PCMU, Script(faster_ppm=ppm))
    assert out.delay_ms[200:].max() < 25
    assert one.counts.late == one.counts.lost == one.counts.restarts == 0


def test_what_is_late_or_double_is_counted_and_forgotten(tone):
    buffer = JitterBuffer(8000)
    for number in (5, 6, 6, 7):
        buffer.put(Packet(number, number * 160, b"x" * 160, number * 0.02))
    assert buffer.counts.late == 1
    assert buffer.take().number == 5
    buffer.put(Packet(4, 4 * 160, b"x" * 160, 0.2))
    assert buffer.counts.late == 2
    assert len(buffer) == 2


def test_the_buffer_is_bounded_whatever_the_numbers_say():
    buffer, rng = JitterBuffer(8000), np.random.default_rng(3)
    for _ in range(5_000):
        number, stamp = int(rng.integers(65_536)), int(rng.integers(2**32))
        buffer.put(Packet(number, stamp, b"x", float(rng.uniform(0, 10))))
        assert len(buffer) <= ROOM
    assert buffer.counts.restarts > 100


@pytest.mark.parametrize("codec", CODECS)
def test_hostile_packets_never_end_it_and_never_make_it_loud(codec):
    one, rng = playout(codec), np.random.default_rng(5)
    number = stamp = 0
    for tick in range(4_000):
        if rng.random() < 0.5:
            number += int(rng.integers(-3, 6))
            stamp += int(rng.integers(-2_000, 6_000))
            payload = rng.bytes(int(rng.integers(1, 1_400)))
            one.put(Packet(number % 65_536, stamp % 2**32, payload, tick * 0.005))
        hop = one.read(tick * 0.005)
        assert hop.shape == (one.hop,)
        assert np.isfinite(hop).all()
        assert np.abs(hop).max() <= 1.5, "louder than Opus itself may be"
    assert one.target_s <= MOST_TARGET_S


def test_silence_for_a_second_and_the_voice_comes_back_at_the_least_delay(tone):
    one = playout(PCMU)

    def pause(number: int, left_s: float) -> float:
        return 9.0 if 2.0 < left_s < 3.5 else 0.0  # never within this test

    out = play(one, tone(300, 6, 48_000), PCMU, Script(late_s=pause))
    assert out.delay_ms[-1] < 20
    assert np.abs(out.sound[round(2.5 * 8000) : round(3.4 * 8000)]).max() == 0
    assert np.abs(out.sound[-8000:]).max() > 0.25


@pytest.mark.parametrize("loss", [0.02, 0.05])
def test_what_is_made_up_adds_no_band_that_nobody_sent(loss):
    """Clicks would be taken for a wide band, and the network would rest though the voice is narrow."""
    rng, t = np.random.default_rng(2), np.arange(6 * 48_000) / 48_000
    phase = np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / 48_000
    voice = sum(np.sin(2 * np.pi * k * phase + k) / k for k in range(1, 22)) * (1.2 + np.sin(2 * np.pi * 3 * t))
    voice = (0.05 * voice + 0.001 * rng.standard_normal(len(t))).astype(np.float32)
    narrow = Resampler(8000, 48_000, 480).process(Resampler(48_000, 8000, 80).process(voice))

    def above(sound: np.ndarray) -> float:
        frames = sound[48_000 : 48_000 * 5].reshape(-1, 480) * np.hanning(480)
        return float((np.abs(np.fft.rfft(frames))[:, 45:] ** 2).sum())

    whole, holed = playout(OPUS), playout(OPUS)
    clean = above(play(whole, narrow, OPUS, Script()).sound)
    assert above(play(holed, narrow, OPUS, Script(loss=loss)).sound) < 10 * clean
    assert holed.counts.concealed_hops > 20


def test_what_is_made_up_goes_on_at_the_pitch_fades_and_joins(tone):
    concealer, sound = Concealer(8000), tone(200, 1, 8000)
    for start in range(0, 4000, 40):
        concealer.hear(sound[start : start + 40].copy())
    made = np.concatenate([concealer.make(40) for _ in range(16)])
    expected = sound[4000 : 4000 + len(made)]
    assert np.abs(made[:40] - expected[:40]).max() < 0.05, "not at the pitch"
    assert np.abs(made[-40:]).max() == 0, "not silent after 60 ms"
    assert np.abs(np.diff(np.concatenate([sound[3960:4000], made]))).max() < 0.07, "a click"
    joined = concealer.hear(np.full(40, 0.2, np.float32))
    assert abs(joined[0]) < 0.02
    assert joined[-1] == pytest.approx(0.2, abs=0.01)
    assert not concealer.active
