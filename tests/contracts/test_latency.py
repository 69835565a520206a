"""The latency that is reported is the one that is measured, for any rates and any blocks."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import Reblock, Stream
from tests.signals import cut, shift

BLOCKS = [1, 64, 128, 160, 441, 480, 1024, "random"]
RATES = [
    (16000, 16000),
    (4000, 16000),
    (8000, 16000),
    (32000, 16000),
    (48000, 16000),
    (8000, 48000),
    (16000, 48000),
    (44100, 16000),
    (22050, 48000),
    (16000, 44100),
    (44100, 44100),
]


def at_both_rates(rate: int, rate_out: int, seconds: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """The same band-limited noise sampled at two rates, exactly."""
    rng = np.random.default_rng(0)
    bins = np.zeros(round(seconds * max(rate, rate_out)) // 2 + 1, complex)
    used = int(0.35 * min(rate, rate_out) * seconds)
    bins[5:used] = np.exp(2j * np.pi * rng.random(used - 5))
    made = [np.fft.irfft(bins[: int(seconds * r) // 2 + 1], int(seconds * r)) * r for r in (rate, rate_out)]
    level = 0.5 / np.abs(made[0]).max()
    return (made[0] * level).astype(np.float32), (made[1] * level).astype(np.float32)


def streamed(path: Reblock, x: np.ndarray, block: int | str) -> np.ndarray:
    return np.concatenate([path.process(b) for b in cut(x, block)])


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_an_impulse_leaves_when_it_was_promised(null, rate, rate_out, block):
    x = np.zeros(rate // 5, np.float32)
    place = rate // 10
    x[place] = 0.9
    path = Reblock(null, rate, rate_out)
    out = streamed(path, x, block)
    due = place * rate_out // rate + path.latency
    assert np.argmax(np.abs(out)) == due
    np.testing.assert_allclose(out[due - 20 : due][::-1], out[due + 1 : due + 21], atol=1e-6)  # no part of a sample off


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_noise_leaves_when_it_was_promised(null, rate, rate_out, block):
    x, reference = at_both_rates(rate, rate_out)
    path = Reblock(null, rate, rate_out)
    out = streamed(path, x, block)
    assert len(out) == len(x) * rate_out // rate
    assert shift(reference, out) == path.latency


@pytest.mark.parametrize(("rate", "rate_out"), RATES[:7])
def test_hops_leave_after_the_delay_that_is_reported(null, rate, rate_out):
    stream = Stream(null, rate, rate_out)
    x, reference = at_both_rates(rate, rate_out)
    out = np.concatenate([stream.process(hop) for hop in x.reshape(-1, stream.hop)])
    assert shift(reference, out) == stream.delay
    assert stream.latency == stream.delay + stream.hop_out
    assert stream.latency_ms == pytest.approx(1000 * stream.latency / rate_out)


@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_the_generated_band_comes_with_the_received_one(generating, rate, rate_out):
    """Generated frames are laid over the instant they were made from: silence before a voice stays silent."""
    stream = Reblock(generating, rate, rate_out, cutoff=1500.0)
    x = np.zeros(rate // 2, np.float32)
    start = rate // 4
    x[start:] = at_both_rates(rate, rate_out)[0][: len(x) - start]
    out = stream.process(x)
    begins = start * rate_out // rate + stream.latency
    window = generating.spec.synthesis * rate_out // generating.spec.rate
    power = np.square(out.astype(np.float64))
    early = power[: begins - window - rate_out // 250].max()  # a resampler's linear phase is heard a little before
    assert early < 1e-8
    assert power[begins : begins + window].max() > 1e-4


@pytest.mark.parametrize("rate_out", [16000, 48000])
@pytest.mark.parametrize("rate", [4000, 8000, 16000, 32000, 44100, 48000])
def test_latency_is_ten_milliseconds_and_at_most_two_for_resampling(null, rate, rate_out):
    path = Reblock(null, rate, rate_out)
    assert (
        10 <= path.latency_ms <= 12 + 2000 / rate_out
    )  # where a hop is no whole number of samples, two to even it out
    if rate % 200 == 0:
        assert path.latency_ms == (10 if rate_out == 16000 else 11)


@pytest.mark.parametrize("block", [1, 160, 441, "random"])
def test_at_equal_rates_the_null_backend_only_delays_bit_for_bit(null, block):
    rng = np.random.default_rng(0)
    for rate in (16000, 48000):
        x = rng.uniform(-1, 1, rate // 4).astype(np.float32)
        x[:100] *= np.float32(1e-38)  # as small as numbers get
        path = Reblock(null, rate, rate)
        out = np.concatenate([streamed(path, x, block), path.flush()])
        assert not out[: path.latency].any()
        np.testing.assert_array_equal(out[path.latency :], x)


@pytest.mark.parametrize("block", [1, 100, "random"])
@pytest.mark.parametrize(("rate", "rate_out"), RATES)
def test_flush_gives_the_tail_and_starts_anew(opened, rate, rate_out, block):
    x = at_both_rates(rate, rate_out, 0.12)[0]
    path = Reblock(opened, rate, rate_out, cutoff=2000.0)
    longer = streamed(path, np.concatenate([x, np.zeros(rate // 10, np.float32)]), block)
    path.reset()
    out = streamed(path, x, block)
    tail = path.flush()
    assert tail.shape == (path.latency,)
    assert np.abs(tail).max() > 0.01
    np.testing.assert_allclose(np.concatenate([out, tail]), longer[: len(out) + len(tail)], atol=1e-6)
    np.testing.assert_allclose(streamed(path, x, block), out, atol=0)


@pytest.mark.parametrize(("rate", "rate_out"), RATES[:7])
def test_a_streams_flush_gives_its_delay(opened, rate, rate_out):
    stream = Stream(opened, rate, rate_out, cutoff=2000.0)
    x = at_both_rates(rate, rate_out, 0.12)[0].reshape(-1, stream.hop)
    silence = np.zeros((10, stream.hop), np.float32)
    longer = np.concatenate([stream.process(hop) for hop in (*x, *silence)])
    stream.reset()
    out = [stream.process(hop) for hop in x]
    tail = stream.flush()
    assert tail.shape == (stream.delay,)
    whole = np.concatenate([*out, tail])
    np.testing.assert_array_equal(whole, longer[: len(whole)])
