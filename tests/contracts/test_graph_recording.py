"""How the graph backend records a tick and is opened."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

from rtsr import BackendFailed, InvalidSetting, MissingDependency, Pool, UnknownName, load
from rtsr.backend import GPU_BACKENDS, choose
from rtsr.net.weights import Weights
from tests.contracts.test_graph import close
from tests.contracts.test_pool import Platform
from tests.contracts.test_rows import FRAMES, frames, run

torch = pytest.importorskip("torch")

from rtsr.backend.graph import GraphBackend, Replays  # noqa: E402

BOUND = 1e-5
HAS_CUDA = torch.cuda.is_available()


@pytest.fixture(scope="module")
def eager(model_path):
    return load(model_path, "eager")


class FakeCuda:
    """Stands in for the stream and the graphs of torch.cuda: a replay does the work again, as a graph's would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recorded: list[int] = []
        self.pools: list[object] = []
        fake = self

        class Graph:
            def __init__(self) -> None:
                self.replay = None

            def pool(self) -> str:
                return "the batch's pool"

        @contextmanager
        def record(graph, pool, stream, capture_error_mode):
            fake.open, before = graph, len(fake.recorded)
            yield
            fake.pools.append(pool)
            assert len(fake.recorded) == before + 1
            assert capture_error_mode == "thread_local"

        self.open: Graph | None = None
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", record)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: fake)
        made = Replays.__init__

        def make(replays: Replays, device: torch.device, work: object) -> None:
            def noted(rows: int) -> None:
                if fake.open is not None:
                    fake.open.replay, fake.open = lambda: work(rows), None
                    fake.recorded.append(rows)
                work(rows)

            made(replays, device, noted)
            replays._stream = fake

        monkeypatch.setattr(Replays, "__init__", make)

    def wait_stream(self, other: object) -> None:
        assert other is self

    def synchronize(self) -> None:
        pass


def test_recording_moves_nothing_and_happens_once_a_batch_size(model_path, eager, monkeypatch):
    cuda, model = FakeCuda(monkeypatch), GraphBackend(Weights.find(model_path), "cpu")
    with Pool(model, limit=5) as pool:
        platform = Platform(pool, 4, [(8000, 16000)])
        platform.reference = eager
        for _ in range(60):
            platform.tick()
    assert cuda.recorded == [1, 2, 4, 5]
    assert cuda.pools == [None, *3 * ["the batch's pool"]]
    assert platform.compared > 50
    assert platform.worst <= BOUND
    heard, cutoff = frames(eager, 3)
    active = np.random.default_rng(2).random((FRAMES, 3)) < 0.6
    close(run(model, heard, cutoff, active), run(eager, heard, cutoff, active), 1e-4)
    assert cuda.recorded == [1, 2, 4, 5, 3]


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
