"""What is the native backend's own: where its library is found, what it refuses, and memory that moves between rows."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import Stream, load
from rtsr.backend import Backend, installed, native
from rtsr.dsp.frames import Frames
from rtsr.errors import BackendFailed, InvalidAudio, InvalidSetting, MissingDependency
from rtsr.net.weights import Weights
from tests.backends import open_backend
from tests.signals import noise, voice_like
from tests.speech import missing


@pytest.fixture(scope="module")
def opened(model_path):
    return open_backend(model_path, "native")


def spectra(model: Backend, x: np.ndarray) -> np.ndarray:
    """What a stream of one voice shows the network: (frames, 1, bins_in, 2)."""
    frames = Frames(model.spec, model.spec.rate)
    return np.stack([frames.push(hop[None]).copy() for hop in x.reshape(-1, model.spec.hop)])


def generate(model: Backend, heard: np.ndarray, cutoff: np.ndarray) -> np.ndarray:
    """All frames through one row."""
    out, state = np.zeros((len(heard), 1, model.spec.bands), np.float32), model.new_state()
    for frame, made in zip(heard, out, strict=True):
        model.step(frame, cutoff, state, made)
    return out


def test_auto_takes_it_where_it_is(opened, model_path):
    assert installed()[0] == "native"
    assert not {"native-int8", "native-float32"} & set(installed())  # which are named to be had
    assert load(model_path).name == "native"


def test_without_the_library_auto_takes_another(model_path, monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    assert "native" not in installed()
    assert load(model_path).name != "native"
    with pytest.raises(MissingDependency, match="librtsr: build it"):
        load(model_path, "native")


def test_a_library_that_is_named_and_cannot_be_used_is_an_error(model_path, tmp_path, monkeypatch):
    for path in (tmp_path / "nothing.so", __file__):
        monkeypatch.setenv(native.VARIABLE, str(path))
        with pytest.raises(BackendFailed, match="cannot be used"):
            load(model_path, "native")


def test_a_library_of_another_version_is_refused(opened, model_path, monkeypatch):
    monkeypatch.setattr(native, "VERSION", "7.")
    with pytest.raises(BackendFailed, match=r"expected librtsr 7\.x, got 0\.1"):
        load(model_path, "native")


@pytest.mark.parametrize("name", ["native", "native-int8"])
def test_rounded_weights_are_close_and_not_the_same(opened, model_path, name):
    models = [open_backend(model_path, each) for each in ("native-float32", name)]
    heard, cutoff = spectra(opened, voice_like(1.0) + noise(16000, 1, 1e-3)), np.full(1, 3000, np.float32)
    exact, rounded = (generate(m, heard, cutoff) for m in models)
    assert 1e-4 < np.sqrt(np.square(exact - rounded).mean() / np.square(exact).mean()) < 0.03


def test_another_name_is_refused(model_path):
    with pytest.raises(InvalidSetting, match="native, native-int8 or native-float32"):
        native.NativeBackend(Weights.find(model_path), native.library(), "quarter")


def test_arrays_of_another_shape_or_kind_are_refused_before_the_library_sees_them(opened):
    spec, state = opened.spec, opened.new_state(2)
    good = (
        np.zeros((2, spec.bins_in, 2), np.float32),
        np.full(2, 4000, np.float32),
        state,
        np.zeros((2, spec.bands), np.float32),
        np.ones(2, bool),
    )
    opened.step(*good)
    wrong = {
        0: [good[0][:1], good[0].astype(np.float64), np.zeros((2, 2, spec.bins_in), np.float32).transpose(0, 2, 1)],
        1: [good[1][:1], good[1][:, None]],
        3: [np.zeros((3, spec.bands), np.float32), np.zeros((2, spec.bands * 2), np.float32)[..., ::2]],
        4: [np.ones(1, bool), np.ones(2, np.float32)],
    }
    for place, values in wrong.items():
        for value in values:
            with pytest.raises(InvalidAudio, match="expected"):
                opened.step(*good[:place], value, *good[place + 1 :])


def test_what_a_row_remembers_can_be_read_and_given_to_another(opened):
    heard = spectra(opened, voice_like(1.0))
    cutoff, out = np.full(2, 3000, np.float32), np.zeros((2, opened.spec.bands), np.float32)
    alone, pair = opened.new_state(), opened.new_state(2)
    for frame in heard[:-1]:
        opened.step(frame, cutoff[:1], alone, out[:1])
    memory = opened.read_row(alone, 0)
    assert {name: m.shape for name, m in memory.items()} == opened._shapes
    opened.write_row(pair, 1, memory)
    opened.step(np.concatenate([heard[-1]] * 2), cutoff, pair, out)
    moved, new = out[1].copy(), out[0].copy()
    opened.step(heard[-1], cutoff[:1], alone, out[:1])
    np.testing.assert_array_equal(moved, out[0])
    assert np.abs(moved - new).max() > 1e-3
    opened.write_row(pair, 1)
    assert not any(m.any() for m in opened.read_row(pair, 1).values())
    with pytest.raises(IndexError):
        opened.read_row(pair, 2)


def test_the_last_frames_are_those_that_the_reference_remembers(model_path):
    eager = open_backend(model_path, "eager")
    heard = spectra(eager, voice_like(1.0))
    cutoff, out = np.full(1, 3000, np.float32), np.zeros((1, eager.spec.bands), np.float32)
    exact = open_backend(model_path, "native-float32")
    states = {model: model.new_state() for model in (exact, eager)}
    for frame in heard:
        for model, state in states.items():
            model.step(frame, cutoff, state, out)
    for name, memory in exact.read_row(states[exact], 0).items():
        expected = states[eager][name][0].numpy()
        np.testing.assert_allclose(memory, expected, atol=1e-4 * np.abs(expected).max())


def test_states_and_models_are_given_back(opened, model_path):
    model = load(model_path, "native")
    stream, state = Stream(model), model.new_state(3)
    freed = [state._free, model._close]
    del stream, state, model
    assert not any(f.alive for f in freed)


def test_the_library_is_there_where_ci_says_so():
    if native.library() is None:
        missing("librtsr")
