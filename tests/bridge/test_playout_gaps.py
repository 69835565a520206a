"""What fills a gap: the copy of a lost packet in the next one, and the noise of a pause that is described."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.bridge.codec import OPUS, PCMU
from rtsr.bridge.jitter import Packet
from rtsr.bridge.noise import ComfortNoise
from tests.bridge.packets import HOP_S, Script, play, uniform
from tests.bridge.test_playout import playout


def voice(seconds: float) -> np.ndarray:
    """Harmonics of a pitch that glides, at 48 kHz: concealment predicts them badly."""
    t = np.arange(round(48_000 * seconds)) / 48_000
    phase = 2 * np.pi * (140 * t + 12 * np.sin(2 * np.pi * 1.5 * t))
    return (0.25 * sum(np.sin(n * phase) / n for n in range(1, 12)) * (1.2 + np.sin(2 * np.pi * 3 * t)) / 2).astype(
        np.float32
    )


def test_a_lost_opus_packet_is_heard_from_the_copy_in_the_next_one():
    """Packets that may be 60 ms late are waited for, so that the next packet has come when a lost one is due."""
    sound = voice(8)
    whole, lossy, concealed = playout(OPUS), playout(OPUS), playout(OPUS)
    concealed.decoder.recover = lambda following, samples: None
    steady = [play(one, sound, OPUS, Script(loss=loss, late_s=uniform(0.06))).sound for one, loss in (
        (whole, 0.0), (lossy, 0.08), (concealed, 0.08)
    )]  # fmt: skip
    assert lossy.counts.lost == concealed.counts.lost > 15
    assert lossy.counts.recovered > 0.5 * lossy.counts.lost
    assert concealed.counts.recovered == 0
    assert lossy.counts.concealed_hops < 0.6 * concealed.counts.concealed_hops
    rest, more = (np.square(sound - steady[0])[96_000:].sum() for sound in steady[1:])
    print(f"error power against no loss: {rest:.1f} with copies, {more:.1f} without")
    assert rest < 0.5 * more


def test_a_copy_continues_where_concealment_ends():
    """On an even line the next packet arrives when a part of the lost one has been concealed."""
    one = playout(OPUS)
    play(one, voice(6), OPUS, Script(loss=0.08))
    assert 0 < one.counts.recovered <= one.counts.lost
    assert one.counts.concealed_hops < 4 * one.counts.lost


def test_a_pause_that_is_described_is_heard_as_its_noise():
    """A level of -40 dBov; FFmpeg's noise is some dB below what it is told."""
    one = playout(PCMU)
    hops: list[np.ndarray] = []
    for tick in range(600):
        now_s = tick * HOP_S
        if tick % 4 == 0:
            number = tick // 4
            voiced = number < 50 or number >= 125
            if voiced:
                one.put(Packet(number if voiced and number < 50 else number - 74, number * 160, b"\x10" * 160, now_s))
            elif number == 50:
                one.put(Packet(number, number * 160, b"", now_s, noise=bytes([40])))
        hops.append(one.read(now_s + 0.001))
    quiet = np.concatenate(hops[300:480])
    assert -50 < 20 * np.log10(quiet.std()) < -38
    assert abs(quiet.mean()) < quiet.std() / 5
    assert one.counts.underruns == one.counts.concealed_hops == one.counts.lost == 0
    again = np.concatenate(hops[520:])
    assert np.ptp(again) < 1e-6, "the noise goes on under the voice"


def test_the_noise_of_a_pause_rises_and_falls_within_a_hop():
    noise, silence = ComfortNoise(8000, 400), np.zeros(400, np.float32)
    assert noise.add(silence, b"") is silence
    rms = lambda sound: float(np.sqrt(np.square(sound).mean()))  # noqa: E731
    begin = noise.add(silence, bytes([40]))
    steady = np.concatenate([noise.add(silence, bytes([40])) for _ in range(10)])
    end = noise.add(silence, b"")
    assert noise.add(silence, b"") is silence
    for fading in (begin, end[::-1]):
        quarters = [rms(part) / rms(steady) for part in fading.reshape(4, -1)]
        assert quarters == pytest.approx([0.14, 0.38, 0.63, 0.88], rel=0.25)


def test_a_pause_that_is_not_described_is_silent():
    one = playout(PCMU)
    one.put(Packet(1, 0, b"\x10" * 160, 0.0))
    one.put(Packet(2, 160, b"", 0.02))
    hops = [one.read(tick * HOP_S + 0.05) for tick in range(100)]
    assert not hops[-1].any()
