"""Packets that are lost, late, double, or from a clock of their own: what is heard, and with which delay."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.bridge.codec import CODECS as TABLE
from rtsr.bridge.codec import G722, OPUS, PCMU, make_decoder
from rtsr.bridge.conceal import Concealer
from rtsr.bridge.jitter import ROOM, JitterBuffer, Packet
from rtsr.bridge.playout import LEAST_TARGET_S, MOST_TARGET_S, Playout
from rtsr.dsp.resample import Resampler
from tests.bridge.packets import HOP_S, PACKET_S, Script, burst, play, play_long, uniform

CODECS = (OPUS, PCMU, G722)


def playout(codec: str) -> Playout:
    return Playout(make_decoder(codec), 200, samples_per_tick=TABLE[codec].samples_per_tick)


@pytest.mark.parametrize("codec", CODECS)
def test_an_even_stream_comes_through_whole_at_the_least_delay(codec, tone):
    one = playout(codec)
    out = play(one, tone(300, 3, 48_000), codec, Script())
    assert one.counts.lost == one.counts.late == one.counts.underruns == one.counts.concealed_hops == 0
    assert out.delay_ms[100:].max() <= 1000 * LEAST_TARGET_S + 5
    assert one.packet_ms == 1000 * PACKET_S
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


@pytest.mark.parametrize("ppm", [-500, -100, 100, 500])
def test_a_senders_clock_may_drift_for_ten_minutes(ppm):
    """At 500 ppm the clocks come 300 ms apart; what is put in or taken out makes up for that, and nothing runs dry."""
    one = playout(PCMU)
    seconds = 600
    out = play_long(one, seconds, Script(faster_ppm=ppm))
    assert out.counts.concealed_hops == out.counts.underruns == 0
    assert out.counts.late == out.counts.lost == out.counts.restarts == 0
    assert out.least_ms > 5
    assert out.most_ms < 20
    put_in, taken_out = out.counts.inserted_hops, out.counts.dropped_hops
    assert put_in - taken_out == pytest.approx(-seconds * ppm * 1e-6 / HOP_S, abs=3)
    assert min(put_in, taken_out) == 0, "put in and taken out again"


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_senders_clock_may_drift_on_an_uneven_line(ppm):
    one = playout(PCMU)
    out = play_long(one, 120, Script(faster_ppm=ppm, late_s=uniform(0.03)))
    assert out.counts.concealed_hops <= 0.002 * 120 / HOP_S
    assert out.counts.lost <= 6
    assert out.least_ms > 20
    assert out.most_ms < 55


def test_one_slow_packet_is_not_waited_for_again():
    one = playout(PCMU)
    out = play_long(one, 12, Script(late_s=lambda number, left_s: 0.1 * (number == 300)))
    assert out.counts.lost == 1
    assert out.counts.inserted_hops == 0
    assert out.most_ms < 20


@pytest.mark.parametrize("codec", CODECS)
def test_a_pause_in_which_nothing_is_sent_is_no_loss_and_no_underrun(codec, tone):
    """Opus DTX: one packet every 400 ms; the numbers go on, the time stamps say how long the pause was."""

    def pauses(left_s: float) -> bool:
        return (2 < left_s < 4.5 and round(left_s / PACKET_S) % 20 != 0) or 5.0 < left_s < 5.07

    one = playout(codec)
    out = play(one, tone(300, 8, 48_000), codec, Script(pauses=pauses))
    counts = one.counts
    assert counts.lost == counts.late == counts.underruns == counts.concealed_hops == counts.restarts == 0
    assert counts.inserted_hops == counts.dropped_hops == 0, "a packet after a pause did not wait for its turn"
    assert out.delay_ms[1200:].max() <= 1000 * LEAST_TARGET_S + 5
    assert out.delay_ms[1200:].min() >= 1000 * LEAST_TARGET_S
    assert np.abs(out.sound[round(2.2 * one.rate) : round(2.38 * one.rate)]).max() == 0
    assert np.abs(out.sound[round(6 * one.rate) :]).max() > 0.25


def test_a_stall_is_an_underrun_although_nothing_was_lost(tone):
    one = playout(PCMU)
    play(one, tone(300, 6, 48_000), PCMU, Script(late_s=burst(4.0, 0.1)))
    assert one.counts.underruns == 1
    assert one.counts.lost == 0
    assert one.counts.concealed_hops == pytest.approx(14, abs=2)


def test_a_long_stall_is_an_underrun_as_well(tone):
    one = playout(PCMU)
    play(one, tone(300, 8, 48_000), PCMU, Script(late_s=burst(4.0, 0.6)))
    assert one.counts.underruns == 1
    assert one.counts.lost == 0
    assert one.counts.concealed_hops >= 0.2 / HOP_S


def test_packets_that_hold_no_sound_are_no_loss():
    """Comfort noise (RFC 3389) and telephone events (RFC 4733) take numbers of the same stream."""
    one, number = playout(PCMU), 0
    arrived: list[Packet] = []
    for slot in range(300):
        left_s = (slot + 1) * PACKET_S
        if 100 <= slot < 160:  # a key is pressed for 1.2 s: every packet bears the stamp of its begin
            arrived.append(Packet(number, 100 * 160, b"", left_s))
        elif slot == 200:  # comfort noise, and then nothing for 0.9 s
            arrived.append(Packet(number, slot * 160, b"", left_s))
        elif 200 < slot < 245:
            continue
        else:
            arrived.append(Packet(number, slot * 160, b"\x80" * 160, left_s))
        number += 1
    for tick in range(1_190):
        now_s = (tick + 0.25) * HOP_S
        while arrived and arrived[0].arrived_s <= now_s:
            one.put(arrived.pop(0))
        one.read(now_s)
    counts = one.counts
    assert counts.lost == counts.late == counts.underruns == counts.concealed_hops == counts.restarts == 0
    assert one.buffer.spread_s < 0.001, "the stamp of an event says nothing of how long it took"
    assert one.delay_s < 0.016


def test_one_stray_packet_does_not_begin_the_stream_anew():
    """Two in sequence do (RFC 3550, A.1), and none of the two is missing then."""
    buffer = JitterBuffer(8000)
    for number in range(10):
        buffer.put(Packet(number, number * 160, b"x" * 160, number * 0.02))
        assert buffer.take().number == number
        buffer.put(Packet(number + 5_000, 7, b"stray", number * 0.02))
        buffer.put(Packet(number, 2**31 + number, b"stray", number * 0.02))
    assert buffer.counts.restarts == 0
    assert buffer.counts.received == 30
    buffer.put(Packet(10, 1_600, b"x" * 160, 0.2))
    for number in (700, 701):
        buffer.put(Packet(number, 50_000 + number * 160, b"y" * 160, (number - 690) * 0.02))
    assert buffer.counts.restarts == 1
    assert [buffer.take().number, buffer.take().number] == [700, 701]


def test_a_stream_whose_time_stamps_alone_begin_anew_is_heard_again():
    buffer = JitterBuffer(8000)
    for number in range(6):
        buffer.put(Packet(number, number * 160 + (number > 2) * 900_000, b"x" * 160, number * 0.02))
    assert buffer.counts.restarts == 1
    assert [buffer.take().number for _ in range(3)] == [3, 4, 5]


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
        number, stamp, now_s = int(rng.integers(65_535)), int(rng.integers(2**32 - 9)), float(rng.uniform(0, 10))
        for more in range(int(rng.integers(1, 3))):
            payload = b"x" * int(rng.integers(2))
            buffer.put(Packet(number + more, stamp + more, payload, now_s))
        assert len(buffer) <= ROOM
    assert buffer.counts.restarts > 100


@pytest.mark.parametrize(("samples", "refused"), [(2_080, 0), (2_081, 1)])
def test_a_packet_that_is_longer_than_what_is_kept_is_refused(samples, refused):
    one = playout(PCMU)
    one.put(Packet(0, 0, bytes(samples), 0.0))
    heard = np.concatenate([one.read(tick * HOP_S) for tick in range(10)])
    assert (one.counts.refused, heard.any()) == (refused, not refused)


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
    holed.decoder.recover = lambda following, samples: None
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
