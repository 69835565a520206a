"""ONNX Runtime with its states on a device: the same binding by address, tried with device memory that is the CPU's."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import BackendFailed, UnknownName, load
from rtsr.net.weights import Weights
from tests.contracts.test_rows import frames, run

onnxruntime = pytest.importorskip("onnxruntime")

from rtsr.backend.ort import PROVIDERS, OrtBackend  # noqa: E402


class OnDevice(OrtBackend):
    """Keeps states in values of ONNX Runtime's own, as on a card."""

    def _place(self, array):
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, np.float32, "cpu", 0)
        value.update_inplace(array)
        return value


@pytest.fixture(scope="module")
def device(model_path) -> OnDevice:
    return OnDevice(Weights.find(model_path))


def test_states_on_the_device_give_the_same(device, model_path):
    host = load(model_path, "ort")
    heard, cutoff = frames(host)
    np.testing.assert_array_equal(run(device, heard, cutoff), run(host, heard, cutoff))


def test_rows_are_written_and_read_there(device, model_path):
    host = load(model_path, "ort")
    heard, cutoff = frames(host, 2)
    expected, out = run(host, heard, cutoff), np.zeros((2, host.spec.bands), np.float32)
    states = host.new_state(2), device.new_state(2)
    for spectrum in heard[:20]:
        host.step(spectrum, cutoff, states[0], out)
        device.step(spectrum[::-1].copy(), cutoff, states[1], out)
    for row in range(2):
        device.write_row(states[1], row, host.read_row(states[0], row))
    for name, value in device.read_row(states[1], 1).items():
        np.testing.assert_array_equal(value, host.read_row(states[0], 1)[name])
    device.step(heard[20], cutoff, states[1], out)
    np.testing.assert_allclose(out, expected[20], atol=1e-5)
    device.write_row(states[1], 0)
    device.step(heard[0], cutoff, states[1], out)
    np.testing.assert_allclose(out[0], expected[0, 0], atol=1e-5)


def test_a_device_that_does_not_exist_is_refused_by_name(model_path):
    with pytest.raises(UnknownName, match=r"'rocm'.*cpu, cuda, tensorrt"):
        OrtBackend(Weights.find(model_path), device="rocm")


def test_a_silent_way_back_to_the_cpu_is_an_error(model_path, monkeypatch):
    """onnxruntime-gpu lists CUDA where there is none, and opens a CPU session when asked for it."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda model, options, providers: real(model, options, [PROVIDERS["cpu"]])
    )
    with pytest.raises(BackendFailed, match="asked for CUDAExecutionProvider and got CPUExecutionProvider"):
        OrtBackend(Weights.find(model_path), device="cuda")
    assert OrtBackend(Weights.find(model_path)).name == "ort"
