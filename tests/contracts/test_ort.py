"""ONNX Runtime with its states on a device: the same binding by address, tried with device memory that is the CPU's."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import BackendFailed, InvalidSetting, UnknownName, load
from rtsr.backend import providers
from rtsr.net.weights import Weights
from tests.contracts.cuda_driver import fake_driver
from tests.contracts.test_rows import frames, run

__all__ = ["fake_driver"]

onnxruntime = pytest.importorskip("onnxruntime")

from rtsr.backend.ort import OrtBackend  # noqa: E402


class OnDevice(OrtBackend):
    """Runs as on a card: all buffers in values of ONNX Runtime's own, copies by the driver."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.device = "cuda"

    def _place(self, array):
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, "cpu", 0)
        value.update_inplace(array)
        return value


@pytest.fixture
def device(model_path, fake_driver) -> OnDevice:
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


def test_a_row_that_joins_moves_no_other(device, fake_driver):
    state, row_bytes = device.new_state(50), 4 * sum(int(np.prod(s)) for s in device.state_shapes.values())
    before = fake_driver.copied
    device.write_row(state, 49)
    assert fake_driver.copied - before == 2 * row_bytes
    device.read_row(state, 49)
    assert fake_driver.copied - before == 3 * row_bytes


def test_a_step_copies_only_the_rows_that_run_through_pinned_memory(device, fake_driver):
    spec, state = device.spec, device.new_state(50)
    each = 4 * (2 * spec.bins_in + 1 + spec.bands) + 1
    assert fake_driver.pinned == 50 * each
    heard, cutoff = frames(device, 3)
    before = fake_driver.copied
    device.step(heard[0], cutoff, state, np.zeros((3, spec.bands), np.float32))
    assert fake_driver.copied - before == 3 * each


def test_each_number_of_rows_and_turn_is_a_graph_of_its_own(device, monkeypatch):
    device.records, said = True, []

    class Options:
        def add_run_config_entry(self, key: str, value: str) -> None:
            said.append((key, value))

    monkeypatch.setattr(device._ort, "RunOptions", Options)
    state = device.new_state(3)
    bound = [device._bind(state, rows) for rows in (1, 3)]
    assert said == [("gpu_graph_id", str(n)) for n in (1, 2, 3, 4)]
    assert len(bound) == 2


def test_providers_are_told_what_they_need(model_path, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    weights = Weights.find(model_path)
    ((name, cuda),) = providers.providers(weights, "cuda", 1, "float32", record=True)
    assert (name, cuda["device_id"], cuda["use_tf32"], cuda["enable_cuda_graph"]) == (providers.CUDA, "1", "0", "1")
    ((_, cuda),) = providers.providers(weights, "cuda", 0, "tf32", record=False)
    assert (cuda["use_tf32"], cuda["enable_cuda_graph"]) == ("1", "0")
    (name, tensorrt), (second, _) = providers.providers(weights, "tensorrt", 0, "float16", record=False)
    assert (name, second) == (providers.TENSORRT, providers.CUDA)
    assert tensorrt["trt_fp16_enable"] == "True"
    folder = tmp_path / "rtsr" / "tensorrt"
    assert tensorrt["trt_engine_cache_path"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    session = OrtBackend(weights).session
    shapes = {i.name: [d if isinstance(d, int) else 256 for d in i.shape] for i in session.get_inputs()}
    told = dict(one.split(":") for one in tensorrt["trt_profile_opt_shapes"].split(","))
    assert {name: [int(n) for n in shape.split("x")] for name, shape in told.items()} == shapes


def test_precisions_and_sizes_that_a_device_has_not_are_refused(model_path):
    with pytest.raises(InvalidSetting, match="expected a precision of float32, tf32 on cuda, got 'float16'"):
        OrtBackend(Weights.find(model_path), device="cuda", precision="float16")
    device = OnDevice(Weights.find(model_path))
    device.device = "tensorrt"
    with pytest.raises(InvalidSetting, match="at most 16384 rows"):
        device.new_state(16_385)


@pytest.mark.parametrize("name", ["native:0", "ort:1", "graph:", "graph:x", "graph:1:2"])
def test_only_backends_on_a_card_have_a_number_of_one(model_path, name):
    with pytest.raises(UnknownName):
        load(model_path, name)


def test_a_session_without_graphs_is_opened_where_one_with_them_is_refused(model_path, monkeypatch):
    real, asked = onnxruntime.InferenceSession, []

    def refuse(model, options, providers):
        asked.append(providers[0][1]["enable_cuda_graph"])
        if asked[-1] == "1":
            raise RuntimeError("not all nodes are on the card")
        session = real(model, options, ["CPUExecutionProvider"])
        monkeypatch.setattr(session, "get_providers", lambda: ["CUDAExecutionProvider"])
        return session

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(providers.PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    model = OrtBackend(Weights.find(model_path), device="cuda", card=1)
    assert (asked, model.records, model.name) == (["1", "0"], False, "ort-cuda")


def test_a_device_that_does_not_exist_is_refused_by_name(model_path):
    with pytest.raises(UnknownName, match=r"'rocm'.*cpu, cuda, tensorrt"):
        OrtBackend(Weights.find(model_path), device="rocm")


def test_a_silent_way_back_to_the_cpu_is_an_error(model_path, monkeypatch):
    """onnxruntime-gpu lists CUDA where there is none, and opens a CPU session when asked for it."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(providers.PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda model, options, providers: real(model, options, ["CPUExecutionProvider"]),
    )
    with pytest.raises(BackendFailed, match="asked for CUDAExecutionProvider and got CPUExecutionProvider"):
        OrtBackend(Weights.find(model_path), device="cuda")
    assert OrtBackend(Weights.find(model_path)).name == "ort"
