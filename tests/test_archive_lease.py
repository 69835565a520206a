"""The lease on a folder of an object store: one run has it, whoever is killed, stopped or late. On an S3 server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

from rtsr.archive import lease
from rtsr.archive.lease import Lease, held
from rtsr.archive.manifest import FAILED, Entry
from rtsr.archive.store import Store
from rtsr.archive.worker import Archive, Worker
from rtsr.enhance import EnhanceSettings
from rtsr.errors import AlreadyRunning
from tests.s3 import s3_bucket

PROMPT = Path(__file__).parents[1] / "rtsr" / "data" / "demo" / "prompt-8k.wav"
HOLDER = """
import sys, time
from rtsr.archive import lease
from rtsr.archive.store import Store
lease.RENEW_S, lease.STALE_S = 0.1, 1.0
with lease.held(Store(sys.argv[1]), print) as held:
    print("held", flush=True)
    while True:
        time.sleep(0.01)
        held.check()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.1)
    monkeypatch.setattr(lease, "STALE_S", 2.0)


@pytest.fixture
def patient(monkeypatch) -> None:
    """Where nothing is stale: a busy machine may keep a run from renewing for seconds."""
    monkeypatch.setattr(lease, "STALE_S", 60.0)


@pytest.fixture
def folder(bucket, request) -> Store:
    return Store(f"{bucket}/{request.node.name}/wide")


def holder(folder: Store) -> subprocess.Popen:
    """Another process, which has the lease."""
    command = [sys.executable, "-c", HOLDER, folder.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n", process.stderr.read()
    return process


def test_the_second_run_is_refused_and_told_who_is_first(folder, patient):
    other = holder(folder)
    try:
        words = rf"another run writes to {folder.url} \(process {other.pid} on \S+, since \d{{4}}-.*UTC\)"
        with pytest.raises(AlreadyRunning, match=words), held(folder, print):
            pass
        assert other.poll() is None
        assert len(folder.sizes()) == 1, "what was refused has left nothing"
    finally:
        other.kill()
        other.communicate()


def test_it_is_given_back_at_the_end_however_that_comes(folder):
    told: list[str] = []
    with pytest.raises(KeyError), held(folder, told.append):
        raise KeyError
    with held(folder, told.append):
        assert len(folder.sizes()) == 1
    assert (folder.sizes(), told) == ({}, [])


def test_that_of_a_killed_run_is_taken_over_when_it_is_stale(folder):
    other = holder(folder)
    other.kill()
    other.communicate()
    told: list[str] = []
    began_s = time.monotonic()
    with held(folder, told.append):
        assert time.monotonic() - began_s > lease.STALE_S
        assert len(folder.sizes()) == 1
    assert f"process {other.pid} on" in told[0]
    assert len(told) == 1


def test_a_run_that_was_stopped_for_long_finds_that_it_was_taken_over(folder):
    other = holder(folder)
    other.send_signal(signal.SIGSTOP)
    with held(folder, print) as mine:
        other.send_signal(signal.SIGCONT)
        _, said = other.communicate(timeout=30)
        assert "AlreadyRunning" in said
        assert "has taken over" in said
        time.sleep(3 * lease.RENEW_S)
        mine.check()
        assert list(folder.sizes()) == [mine.name]


def test_what_was_removed_is_not_written_again(folder, monkeypatch):
    """As by a machine that slept: it does not know for how long."""
    monkeypatch.setattr(lease, "RENEW_S", 60.0)  # by its thread
    with held(folder, print) as mine:
        folder.remove(mine.name)
        assert not mine.renew(folder)
        assert folder.sizes() == {}
        with pytest.raises(AlreadyRunning, match="has taken over"):
            mine.check()


def test_a_renewal_that_comes_too_late_looks_for_others(folder, patient):
    """It found its lease and wrote it, but in between another run removed it."""
    with held(folder, print) as mine:
        late = Lease(folder)
        late.name = mine.name[:-1] + ("0" if mine.name[-1] != "0" else "1")
        folder.write(b"{}", late.name)
        late.renewed_s = time.monotonic() - 1
        assert late.renew(folder)
        late.renewed_s = time.monotonic() - lease.STALE_S
        assert not late.renew(folder)
        assert list(folder.sizes()) == [mine.name]
        mine.check()


def test_a_claim_that_took_too_long_is_made_again(folder, monkeypatch):
    """In between, one who watched may have removed it."""
    top = Store.top
    looked: list[str] = []

    def slow(store: Store) -> list[str]:
        if not looked:
            time.sleep(0.6 * lease.STALE_S)
        looked.extend(top(store))
        return looked[-1:]

    monkeypatch.setattr(Store, "top", slow)
    with held(folder, print) as mine:
        assert len(set(looked)) > 1
        assert list(folder.sizes()) == [mine.name]


def test_of_many_that_start_at_once_one_has_it(folder, patient):
    """They see each other, withdraw, and come back at different times."""
    inside, most, ends = 0, 0, []
    count = threading.Lock()
    start = threading.Barrier(6)

    def run() -> None:
        nonlocal inside, most
        store = Store(folder.url)
        start.wait(30)
        try:
            with held(store, lambda why: None) as mine:
                with count:
                    inside += 1
                    most = max(most, inside)
                time.sleep(1.0)
                with count:
                    inside -= 1
                mine.check()
                ends.append("done")
        except AlreadyRunning as error:
            ends.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(ends), most) == (6, 1)
    assert "done" in ends
    assert folder.sizes() == {}


def test_a_store_that_does_not_answer_for_a_while_loses_nothing(folder, monkeypatch):
    with held(folder, print) as mine:
        monkeypatch.setattr(Store, "exists", lambda store, name: (_ for _ in ()).throw(OSError("no answer")))
        time.sleep(lease.STALE_S)
        monkeypatch.undo()
        time.sleep(1)
        mine.check()


def test_what_is_no_lease_of_ours_is_named_as_unknown(folder):
    folder.write(b"\xff", f"{lease.PREFIX}{'0' * 16}")
    folder.write(b"{}", f"{lease.PREFIX}no lease")
    told: list[str] = []
    with held(folder, told.append):
        pass
    assert "an unknown process" in told[0]
    assert list(folder.sizes()) == [f"{lease.PREFIX}no lease"]


def test_a_worker_of_a_run_that_was_taken_over_publishes_nothing(folder, tmp_path):
    (tmp_path / "a.wav").write_bytes(PROMPT.read_bytes())
    archive = Archive(str(tmp_path), folder.url, "voice-16k-small", "auto", EnhanceSettings(), lease="gone")
    entry = json.loads(Worker(archive)({"entry": json.dumps({"file": "a.wav"})})["entry"])
    assert entry["status"] == FAILED
    assert "has taken over" in Entry(**entry).error
    assert folder.sizes() == {}


def test_a_folder_on_a_disk_is_locked_and_nothing_is_written_into_it(tmp_path):
    store = Store(str(tmp_path / "wide"))
    with held(store, print) as mine:
        mine.check()
        assert os.listdir(store.root) == []
        with pytest.raises(AlreadyRunning, match="another run writes to"), held(store, print):
            pass
    with held(store, print):
        pass
