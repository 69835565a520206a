"""The stream gives what the whole-signal form gives, whatever the backend, the rates and the host's blocks."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import Reblock, Stream
from tests.backends import open_backend
from tests.contracts import oracle
from tests.signals import cut, noise, voice_like

BOUND = 1e-5
CUTOFF = {4000: 2000.0, 8000: 4000.0, 16000: 3400.0, 48000: 4000.0, 44100: 4000.0, 22050: 6000.0}


def signal(seconds: float, rate: int) -> np.ndarray:
    """A voice over a little noise, as every microphone has it."""
    return voice_like(seconds, rate) + noise(round(seconds * rate), 1, 1e-3)


def streamed(path: Reblock, x: np.ndarray, seed: int) -> np.ndarray:
    return np.concatenate([path.process(block) for block in cut(x, "random", seed)])


def hops(stream: Stream, x: np.ndarray) -> np.ndarray:
    whole = x[: len(x) // stream.hop * stream.hop].reshape(-1, stream.hop)
    return np.concatenate([stream.process(hop) for hop in whole])


def check(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    assert np.abs(got).max() > 0.3
    assert np.abs(got - expected).max() <= BOUND


@pytest.mark.parametrize("rate_out", [16000, 48000])
@pytest.mark.parametrize("rate", [4000, 8000, 16000, 48000, 44100, 22050])
def test_random_blocks_give_the_whole_signal_form(opened, rate, rate_out):
    x = signal(3.0, rate)
    path = Reblock(opened, rate, rate_out, cutoff=CUTOFF[rate])
    check(streamed(path, x, rate + rate_out), oracle.reblock(opened, x, rate, rate_out, CUTOFF[rate], path.latency))


@pytest.mark.parametrize(("rate", "rate_out"), [(8000, 44100), (44100, 44100), (11025, 22050), (32000, 16000)])
def test_rates_without_a_whole_hop_give_the_whole_signal_form(null, model_path, rate, rate_out):
    opened = open_backend(model_path, "ort")
    x = signal(3.0, rate)
    path = Reblock(opened, rate, rate_out, cutoff=2500.0)
    check(streamed(path, x, 5), oracle.reblock(opened, x, rate, rate_out, 2500.0, path.latency))


@pytest.mark.parametrize("rate_out", [16000, 48000])
@pytest.mark.parametrize("rate", [4000, 8000, 16000, 48000])
def test_hops_give_the_whole_signal_form(generating, rate, rate_out):
    stream = Stream(generating, rate, rate_out, cutoff=CUTOFF[rate])
    x = signal(1.0, rate)
    expected, delay = oracle.stream(generating, x, rate, rate_out, CUTOFF[rate])
    check(hops(stream, x), expected)
    assert stream.delay == delay


def test_a_long_signal_gives_the_whole_signal_form(generating):
    x = signal(15.0 if generating.name == "eager" else 60.0, 8000)
    path = Reblock(generating, 8000, 16000, cutoff=4000.0)
    check(streamed(path, x, 60), oracle.reblock(generating, x, 8000, 16000, 4000.0, path.latency))


@pytest.mark.parametrize(
    ("model", "name", "rate"),
    [
        ("voice-16k", "ort", 16000),
        ("voice-16k", "eager", 16000),
        ("voice-48k", "ort", 24000),
        ("voice-48k", "ort", 48000),
    ],
)
def test_a_shipped_model_gives_the_whole_signal_form_while_it_detects_the_cutoff(model, name, rate):
    opened = open_backend(model, name)
    x, rate_out = signal(5.0, rate), opened.spec.rate
    path = Reblock(opened, rate, rate_out)
    check(streamed(path, x, 3), oracle.reblock(opened, x, rate, rate_out, "auto", path.latency))


@pytest.mark.needs_speech
def test_recorded_speech_gives_the_whole_signal_form(generating, speech):
    x = speech(8.0)
    path = Reblock(generating, 16000, 16000, cutoff=3000.0)
    check(streamed(path, x, 4), oracle.reblock(generating, x, 16000, 16000, 3000.0, path.latency))


def test_the_oracle_hears_a_wrong_hop(null):
    """The comparison itself can fail: one sample of delay more, and it does."""
    x = signal(1.0, 8000)
    path = Reblock(null, 8000, 16000)
    with pytest.raises(AssertionError):
        check(streamed(path, x, 1), oracle.reblock(null, x, 8000, 16000, 4000.0, path.latency + 1))
