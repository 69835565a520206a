"""`rtsr enhance --ray` on a Ray cluster: a folder, an S3 server, a killed run that goes on, failures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtsr.archive.manifest import NAME
from rtsr.errors import AlreadyRunning
from tests.s3 import ended, free_port, s3_bucket

PROMPT = Path(__file__).parents[1] / "rtsr" / "data" / "demo" / "prompt-8k.wav"
FILES = 12
MODEL = ("--model", "voice-16k-small")
SOON = """
from rtsr.archive import lease
lease.RENEW_S, lease.STALE_S = 0.2, 2.0
from rtsr.cli import main
main()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


@pytest.fixture(scope="module")
def address(bucket: str) -> Iterator[str]:
    """A cluster that all runs join; its nodes know the S3 server."""
    port = free_port()
    words = f"start --head --block --port {port} --num-cpus 2 --include-dashboard false --object-store-memory 100000000"
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *words.split()]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    os.environ["RAY_AUTH_MODE"] = "disabled"  # a cluster elsewhere has a token (RAY_AUTH_TOKEN)
    process = subprocess.Popen([*command, "--disable-usage-stats"], **quiet)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        del os.environ["RAY_AUTH_MODE"]
        ended(process)


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> Path:
    """A folder of recordings, one of which is broken."""
    folder = tmp_path_factory.mktemp("archive") / "calls"
    (folder / "monday").mkdir(parents=True)
    for number in range(FILES):
        shutil.copy(PROMPT, folder / "monday" / f"call {number}.wav" if number % 2 else folder / f"{number}.wav")
    (folder / "broken.wav").write_text("no sound")
    return folder


def start(*words: object, program: tuple[str, ...] = ("-m", "rtsr")) -> subprocess.Popen:
    command = [sys.executable, *program, "enhance", *map(str, words), *MODEL]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outputs(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def expected(calls) -> dict[str, bytes]:
    """What the ordinary folder run makes."""
    wide = calls.parent / "ordinary"
    start(calls, wide).communicate(timeout=120)
    return outputs(wide)


def test_a_run_that_is_killed_goes_on_and_gives_what_the_ordinary_run_gives(calls, expected, address):
    wide = calls.parent / "wide"
    running = start(calls, wide, "--ray", "--ray-address", address)
    while not list(wide.rglob("*.wav")):
        assert running.poll() is None, running.stdout.read()
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    times = {path: path.stat().st_mtime_ns for path in wide.rglob("*.wav")}
    assert 0 < len(times) < FILES, "it was not killed in the middle"
    (wide / f".{'0' * 16}.part").write_text("what a process that is killed while it writes leaves")

    again = start(calls, wide, "--ray", "--ray-address", address)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 1, said
    assert "broken.wav" in said
    assert f"1 of {FILES + 1} files failed" in " ".join(said.split())
    made = outputs(wide)
    head, *lines = map(json.loads, made.pop(NAME).splitlines())
    assert made == expected
    assert {path: path.stat().st_mtime_ns for path in times} == times, "a file was made twice"
    assert sorted(line["file"] for line in lines) == sorted([*expected, "broken.wav"])
    assert [line["file"] for line in lines if line["status"] != "done"] == ["broken.wav"]
    assert head["settings"]["model"] == "voice-16k-small"


def test_a_second_run_into_the_same_folder_is_refused_while_the_first_lasts(calls, tmp_path, run):
    from rtsr.archive.lease import held
    from rtsr.archive.store import Store

    wide = tmp_path / "wide"
    with held(Store(str(wide)), print):
        code, _, printed = run("enhance", calls, wide, "--ray", *MODEL)
        assert (code, "another run writes to" in printed) == (1, True)
        assert list(wide.iterdir()) == [], "it has written nothing"


def test_from_a_bucket_to_a_bucket(calls, expected, bucket, address):
    from rtsr.archive.store import Store

    here, there = Store(f"{bucket}/some calls"), Store(f"{bucket}/wide")
    for name in ("0.wav", "monday/call 1.wav"):
        here.publish(calls / name, name)
    there.write(b"precious", "monday/call 1.wav")
    running = start(here.url, there.url, "--ray", "--ray-address", address)
    said, _ = running.communicate(timeout=120)
    assert running.returncode == 1, said
    assert "monday/call 1.wav: the output exists" in said
    assert there.read("monday/call 1.wav") == b"precious"
    assert there.read("0.wav") == expected["0.wav"]
    assert sorted(there.sizes()) == ["0.wav", "monday/call 1.wav", NAME]


def test_a_bucket_is_one_run_s_and_a_killed_one_goes_on(calls, expected, bucket, address, monkeypatch):
    from rtsr.archive import lease
    from rtsr.archive.store import Store

    monkeypatch.setattr(lease, "RENEW_S", 0.2)
    monkeypatch.setattr(lease, "STALE_S", 60.0)
    wide = Store(f"{bucket}/two")
    command = (calls, wide.url, "--ray", "--ray-address", address)
    first = start(*command, program=("-c", SOON))
    while not wide.read(NAME):
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.1)
    with pytest.raises(AlreadyRunning, match=rf"process {first.pid} on"), lease.held(wide, print):
        pass
    while not wide.audio():
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.01)
    first.kill()
    first.communicate()
    times = {name: wide.fs.info(wide.path(name))["mtime"] for name in wide.audio()}
    assert 0 < len(times) < FILES, "it was not killed in the middle"

    again = start(*command, program=("-c", SOON))
    said, _ = again.communicate(timeout=200)
    assert again.returncode == 1
    assert f"1 of {FILES + 1} files failed" in " ".join(said.split())
    assert f"for a sign of process {first.pid} on" in " ".join(said.split())
    assert {name: wide.fs.info(wide.path(name))["mtime"] for name in times} == times, "a file was made twice"
    assert sorted(wide.sizes()) == sorted([*expected, NAME])
    assert {name: wide.read(name) for name in expected} == expected


def test_urls_need_ray(run):
    code, _, err = run("enhance", "s3://a/b", "wide")
    assert code == 1
    assert "--ray" in err


def test_settings_that_cannot_be_end_before_ray_starts(run, calls, tmp_path):
    for target, words in ((calls / "wide", "outside"), (tmp_path, "begun with source")):
        (tmp_path / NAME).write_text('{"rtsr_manifest": 1, "settings": {}}')
        code, _, err = run("enhance", calls, target, "--ray")
        assert code == 1
        assert words in err
    code, _, err = run("enhance", tmp_path, tmp_path / "none", "--ray")
    assert code == 1
    assert "no audio" in err or "outside" in err
