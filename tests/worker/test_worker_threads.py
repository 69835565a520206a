"""Which worker carries the voice, how it is woken, how urgent it is, and how it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time

import pytest

from rtsr.backend import load, native
from rtsr.daemon.config import LiveSettings
from rtsr.daemon.live_path import make_worker
from rtsr.daemon.native_worker import NativeWorker
from rtsr.daemon.priority import PRIORITY, ask_for_real_time
from rtsr.daemon.worker import Worker
from rtsr.errors import InvalidSetting, MissingDependency
from rtsr.io import layout as at
from rtsr.io.shared_block import SharedBlock
from tests.backends import open_backend
from tests.worker.heard import RATE, VOICE

pytestmark = pytest.mark.realtime


@pytest.mark.skipif(not at.HAS_SEMAPHORE, reason="no semaphores without a name here")
def test_the_bell_rings_when_a_hop_is_there_and_not_before():
    shared, value, libc = SharedBlock(RATE, 240, 144, 0), ctypes.c_int(), ctypes.CDLL(None)

    def rung() -> int:
        assert libc.sem_getvalue(ctypes.c_void_p(shared.semaphore), ctypes.byref(value)) == 0
        return value.value

    rings = []
    for _ in range(4):
        shared.capture(VOICE[:64, None])
        rings.append(rung())
    assert rings == [0, 0, 0, 1]
    shared.wait()
    assert rung() == 0
    shared.put(VOICE[:240], 240)
    shared.capture(VOICE[:64, None])
    assert rung() == 0
    shared.wake()
    shared.wait()


@pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="no such scheduling here")
def test_the_worker_is_as_urgent_as_the_callbacks_beside_it():
    done, said = threading.Event(), []

    def be_urgent() -> None:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY + 7))
            said.append(ask_for_real_time(waiting.native_id))

    waiting, urgent = threading.Thread(target=done.wait), threading.Thread(target=be_urgent)
    try:
        waiting.start()
        urgent.start()
        urgent.join()
        if not said:
            pytest.skip("real-time scheduling is not allowed here")
        assert os.sched_getparam(waiting.native_id).sched_priority == PRIORITY + 7
        assert said == [f"real-time scheduling: SCHED_FIFO {PRIORITY + 7}"]
    finally:
        done.set()
        waiting.join()


def test_it_runs_on_a_thread_until_it_is_stopped(kind, generating):
    worker = kind(generating, RATE, low_water=144, burst=240)
    worker.warm_up()
    thread = threading.Thread(target=worker.run)
    thread.start()
    for start in range(0, RATE, 240):
        worker.shared.capture(VOICE[start : start + 240, None])
    deadline = time.monotonic() + 20
    while worker.report().hops < RATE // 240 and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert worker.report().hops == RATE // 240
    assert all(0 < ms < 1000 for ms in worker.report().compute_ms)


def test_the_native_worker_runs_while_the_interpreter_is_held(model_path):
    """One native call that never lets go of the interpreter lock: what comes in meanwhile is made all the same."""
    worker = NativeWorker(open_backend(model_path, "native"), RATE, low_water=144, burst=240)
    thread = threading.Thread(target=worker.run)
    thread.start()
    worker.shared.capture(VOICE[:2400, None])  # compiles
    worker.shared.capture(VOICE[2400:12_000, None])
    holding = ctypes.PyDLL(None).usleep  # unlike a CDLL, a PyDLL keeps the lock
    holding(500_000)
    done = int(worker.shared.head[at.TAKEN])
    worker.stop()
    thread.join(5)
    assert done == 12_000


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, NativeWorker),
        ({"worker": "native"}, NativeWorker),
        ({"worker": "python"}, Worker),
        ({"backend": "null"}, Worker),
    ],
)
def test_the_native_worker_is_taken_where_it_is_asked_for_or_can_be(model_path, settings, expected):
    open_backend(model_path, "native")
    worker = make_worker(LiveSettings(model=str(model_path), gain_db=-3.0, **settings))
    assert type(worker) is expected
    assert worker.wishes.gain_db == -3


def test_without_the_library_the_interpreter_carries_the_voice(model_path, monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    assert type(make_worker(LiveSettings(model=str(model_path)))) is Worker
    with pytest.raises(MissingDependency, match="librtsr"):
        make_worker(LiveSettings(model=str(model_path), worker="native"))


def test_the_native_worker_refuses_a_model_of_another_backend(model_path):
    with pytest.raises(InvalidSetting, match="on null"):
        NativeWorker(load(model_path, "null"), RATE, low_water=100)
