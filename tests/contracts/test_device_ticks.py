"""What a pool asks of a device: streams of their own, all launches before any wait, few of them, and no stall."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from rtsr import BackendFailed, Pool, Stream, load
from rtsr.backend.null import NullBackend
from rtsr.net.weights import Weights
from tests.contracts.test_graph_recording import BOUND, platform
from tests.signals import noise, voice_like

torch = pytest.importorskip("torch")

from rtsr.backend import replays  # noqa: E402
from rtsr.backend.graph import GraphBackend, opened_device  # noqa: E402
from rtsr.pool.device_batch import DeviceBatch  # noqa: E402
from tests.contracts.cuda import FakeCuda  # noqa: E402

RATES = [(8000, 16000), (16000, 16000), (48000, 48000)]


@pytest.fixture
def cuda(monkeypatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


@pytest.fixture
def model(model_path) -> GraphBackend:
    return GraphBackend(Weights.find(model_path), "cpu")


def test_each_batch_has_a_stream_of_its_own_and_what_does_not_run_has_none(cuda, model):
    pool = Pool(model, limit=2)
    for rates in RATES[:2]:
        pool.open(*rates)
    own = [slots.batch._replays._own_stream.number for slots in pool._batches]
    assert sorted(own) == [1, 2]
    assert [slots.batch._state.replays._own_stream for slots in pool._batches] == [None, None]
    model.new_state(4)
    assert cuda.streams == 2
    del pool
    Stream(model, 8000)
    assert cuda.streams == 2, "a stream that was given back is used again"


def test_all_batches_are_launched_before_one_is_waited_for(cuda, model):
    pool = Pool(model, limit=3)
    handles = [pool.open(*rates) for rates in RATES]
    for _ in range(2):
        for handle, (rate, _) in zip(handles, RATES, strict=True):
            pool.push(handle, noise(rate // 200))
        cuda.log.clear()
        assert len(pool.tick()) == 3
    launches = [("launch", 1)] * 3
    assert cuda.log == [*launches, ("wait", 1), ("wait", 2), ("wait", 3)]


def test_any_number_of_voices_join_and_leave_in_one_launch(cuda, model):
    pool = Pool(model, limit=40)
    handles = [pool.open(8000) for _ in range(30)]
    cuda.log.clear()
    before = cuda.replayed
    for handle in handles[::2]:
        pool.close(handle)
    for _ in range(9):
        pool.open(8000)
    pool.push(handles[1], noise(40))
    pool.tick()
    assert [entry for entry in cuda.log if entry[0] == "launch"] == [("launch", ("change", 40)), ("launch", 24)]
    assert cuda.replayed == before + 2
    assert not [entry for entry in cuda.log if entry[0] == "wait for"]


@pytest.mark.parametrize("threads", [1, 2])
def test_recorded_batches_give_what_streams_give(cuda, model, model_path, threads):
    with Pool(model, limit=19, threads=threads) as pool:
        callers = platform(pool, load(model_path, "eager"), 5, RATES)
        for _ in range(60):
            callers.tick()
    assert callers.compared > 60
    assert callers.worst <= BOUND
    assert callers.generated > 0.1


def test_rows_that_move_between_ticks_are_read_where_they_were(model, model_path):
    """One leaves and the last takes its row: what the last tick gave for it is still there, and its cutoff."""
    pools = [Pool(m, limit=3) for m in (model, load(model_path, "eager"))]
    handles = [[pool.open(8000) for _ in range(3)] for pool in pools]
    assert handles[0] == handles[1]
    said = [voice_like(0.5, 8000, seed) for seed in range(3)]
    for i in range(11):
        for pool in pools:
            for handle, voice in zip(handles[0], said, strict=True):
                pool.push(handle, voice[40 * i :][:40])
        outputs = [pool.tick() for pool in pools]
    for pool in pools:
        pool.close(handles[0][0])
        pool.reset(handles[0][1])
    for handle in handles[0][1:]:
        np.testing.assert_allclose(*(one.plain(handle) for one in outputs), atol=BOUND)
        assert pools[0].cutoff_hz(handle) == pools[1].cutoff_hz(handle)


def test_a_pair_of_rates_is_recorded_by_another_thread_while_voices_go_on(cuda, model):
    pool = Pool(model, limit=2)
    first = pool.open(8000)
    recorded: list[list[object]] = []
    other = threading.Thread(target=lambda: (pool.prepare(16000), recorded.append(list(cuda.keys))))
    other.start()
    other.join()
    pool.push(first, noise(40))
    assert first in pool.tick()
    second = pool.open(16000)
    assert [cuda.keys] == recorded, "joining records nothing"
    pool.push(second, noise(80))
    assert second in pool.tick()


def test_a_voice_goes_on_with_the_spare_where_a_device_hangs(cuda, model, monkeypatch):
    monkeypatch.setattr(replays, "HANG_S", 0.02)
    pool = Pool(model, limit=2, spare=NullBackend(model.spec))
    handles = [pool.open(*rates) for rates in RATES[:2]]
    cuda.hanging.add(1)
    for handle, (rate, _) in zip(handles, RATES, strict=False):
        pool.push(handle, noise(rate // 200))
    assert len(pool.tick()) == 2
    assert pool.running_on == ["graph", "null"]
    assert "cpu hangs" in str(pool.failures[0])
    (kept,) = replays._hung[torch.device("cpu")]
    assert isinstance(kept[1].func.__self__, DeviceBatch), "what it may still write to is not freed"
    pool.push(handles[1], noise(80))
    assert len(pool.tick()) == 1
    assert pool.running_on == ["null"], "nothing more is asked of it"
    assert Pool(model, limit=1, spare=NullBackend(model.spec)).open(8000) == 0
    with pytest.raises(BackendFailed, match="hung before"):
        Pool(model, limit=1).open(8000)


def test_a_card_is_chosen_by_its_number(cuda, monkeypatch):
    for name, value in (("is_available", True), ("device_count", 2), ("current_device", 0)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    first, second = (opened_device(name) for name in ("cuda", "cuda:1"))
    assert (first.index, second.index) == (0, 1)
    with pytest.raises(BackendFailed, match="expected a card from 0 to 1, got 2"):
        opened_device("cuda:2")
    made: list[object] = []
    monkeypatch.setattr(replays.driver, "new_stream", lambda card: made.append(card) or 7)
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda handle, device: made.append((handle, device)))
    replays.take_stream(second)
    assert made == [1, (7, second)]
