"""How the graph backend records a tick and is opened."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from rtsr import BackendFailed, InvalidSetting, MissingDependency, Pool, Stream, UnknownName, load
from rtsr.backend import GPU_BACKENDS, choose
from rtsr.backend.null import NullBackend
from rtsr.net.weights import Weights
from tests.contracts.test_graph import close, lose
from tests.contracts.test_pool import Platform
from tests.contracts.test_rows import FRAMES, frames, run
from tests.signals import noise, voice_like

torch = pytest.importorskip("torch")

from rtsr.backend.graph import GraphBackend  # noqa: E402
from rtsr.backend.replays import Replays  # noqa: E402
from tests.contracts.cuda import FakeCuda  # noqa: E402

BOUND = 1e-5
HAS_CUDA = torch.cuda.is_available()


@pytest.fixture(scope="module")
def eager(model_path):
    return load(model_path, "eager")


def platform(pool: Pool, reference, seed: int = 4, rates=((8000, 16000),)) -> Platform:
    """Callers over a pool of the graph backend, compared with streams of another."""
    callers = Platform(pool, seed, list(rates))
    callers.reference = reference
    return callers


def test_recording_moves_nothing_and_happens_once_a_batch_size(model_path, eager, monkeypatch):
    cuda, model = FakeCuda(monkeypatch), GraphBackend(Weights.find(model_path), "cpu")
    with Pool(model, limit=5) as pool:
        callers = platform(pool, eager)
        for _ in range(60):
            callers.tick()
    recorded = [5, 4, 2, 1, ("change", 5)]
    assert cuda.keys == recorded, "the largest first: those after it use its memory"
    assert cuda.pools == [None, *4 * ["the pool of the first"]]
    assert callers.compared > 50
    assert callers.worst <= BOUND
    heard, cutoff = frames(eager, 3)
    active = np.random.default_rng(2).random((FRAMES, 3)) < 0.6
    close(run(model, heard, cutoff, active), run(eager, heard, cutoff, active), 1e-4)
    assert cuda.keys == [*recorded, 3]


def test_a_stream_is_recorded_once_and_cleared_in_place(model_path, eager, monkeypatch):
    cuda, model = FakeCuda(monkeypatch), GraphBackend(Weights.find(model_path), "cpu")
    stream, said = Stream(model, 8000, cutoff=2500.0), voice_like(0.1, 8000).reshape(-1, 40)
    first = [stream.process(hop) for hop in said]
    stream.reset()
    np.testing.assert_array_equal([stream.process(hop) for hop in said], first)
    alone = Stream(eager, 8000, cutoff=2500.0)
    close(np.concatenate(first), np.concatenate([alone.process(hop) for hop in said]), 1e-4)
    assert cuda.keys == [1]


def test_nothing_on_a_device_waits_for_the_collector(model_path, monkeypatch):
    cuda, model = FakeCuda(monkeypatch), GraphBackend(Weights.find(model_path), "cpu")
    gc.collect()
    gc.disable()
    try:
        stream, pool = Stream(model, 8000), Pool(model, limit=2, spare=NullBackend(model.spec))
        pool.push(pool.open(8000), noise(40))
        pool.tick()
        stream.process(noise(40))
        kept = [weakref.ref(stream._state.rings["encoder0"]), weakref.ref(pool._batches[0].batch._path)]
        assert len(cuda.graphs) == 4
        del stream, pool
        assert [ref() for ref in kept] == [None, None]
        assert len(cuda.graphs) == 0
    finally:
        gc.enable()


def test_a_failure_that_is_kept_does_not_keep_the_device(model_path, monkeypatch):
    FakeCuda(monkeypatch)
    model = GraphBackend(Weights.find(model_path), "cpu")
    pool = Pool(model, limit=2, spare=NullBackend(model.spec))
    row = pool.open(8000)
    lost = weakref.ref(pool._batches[0].batch)
    monkeypatch.setattr(Replays, "launch", lose)
    gc.collect()
    gc.disable()
    try:
        pool.push(row, noise(40))
        assert row in pool.tick()
        assert pool.running_on == ["null"]
        assert lost() is None
        assert "in lose" in pool.failures[0].__notes__[0]
    finally:
        gc.enable()


@pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device, so asking for one is no mistake")
@pytest.mark.parametrize("name", GPU_BACKENDS)
def test_asking_for_a_gpu_where_there_is_none_says_so(model_path, name):
    with pytest.raises((BackendFailed, MissingDependency), match=r"(--backend ort|rtsr\[gpu\])"):
        load(model_path, name)


def test_an_unknown_precision_is_refused(model_path):
    with pytest.raises(InvalidSetting, match=r"float16, got 'float8'"):
        GraphBackend(Weights.find(model_path), "cpu", "float8")


def test_auto_takes_the_fastest_that_can_be_opened(model_path, monkeypatch):
    times = {"eager": 2.0, "ort": 1.0, "null": 3.0}
    monkeypatch.setattr(choose, "step_seconds", lambda model, rows, trial: times[model.name] / rows)
    opened = choose.fastest(("graph", "eager", "ort", "null"), lambda name: load(model_path, name), 4)
    assert opened.name == "ort"
    if not HAS_CUDA:
        with pytest.raises(BackendFailed, match="CUDA"):
            choose.fastest(("graph",), lambda name: load(model_path, name), 1)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        type("Fail", (Exception,), {})("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 35"),  # as onnxruntime's are
        OSError("libcudart.so.12: cannot open shared object file"),
    ],
)
@pytest.mark.parametrize("when", ["opened", "run"])
def test_auto_stays_on_the_cpu_whatever_a_gpu_raises(model_path, caplog, error, when):
    def fail(*_: object) -> None:
        raise error

    def opened(name: str):
        if name == "graph" and when == "opened":
            fail()
        model = load(model_path, "eager")
        if name == "graph":
            model.step = fail
        return model

    assert choose.fastest(("graph", "eager"), opened, 2).name == "eager"
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [f"auto: not graph: {type(error).__name__}: {error}"]
    with pytest.raises(type(error)):
        choose.fastest(("graph",), opened, 2)


def test_a_model_that_does_not_exist_is_no_matter_of_choice():
    with pytest.raises(UnknownName):
        choose.fastest(("graph", "eager"), lambda name: load("voice-17k", "null"), 2)


def test_a_step_is_timed_for_as_many_rows(model_path):
    ort = load(model_path, "ort")
    assert 0 < choose.step_seconds(ort, 1, 0.05) < choose.step_seconds(ort, 200, 0.05)
