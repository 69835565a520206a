"""`rtsr enhance --ray` on a Ray cluster: a folder, an S3 server, a killed run that goes on, failures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtsr.archive.manifest import NAME

PROMPT = Path(__file__).parents[1] / "rtsr" / "data" / "demo" / "prompt-8k.wav"
FILES = 12
MODEL = ("--model", "voice-16k-small")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def ended(process: subprocess.Popen) -> None:
    """End a server and what it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An S3 server with a bucket, and the environment that says where it is."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "us-east-1"}
    before = dict(os.environ)
    os.environ.update(keys, AWS_ENDPOINT_URL=url, AWS_EC2_METADATA_DISABLED="true")
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{url}/calls", method="PUT")).close()
                break
            except OSError:
                time.sleep(0.05)
        yield "s3://calls"
    finally:
        os.environ.clear()
        os.environ.update(before)
        ended(process)


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


def start(*words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "rtsr", "enhance", *map(str, words), *MODEL]
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
    from rtsr.archive.store import Store

    wide = tmp_path / "wide"
    with Store(str(wide)).locked():
        code, _, printed = run("enhance", calls, wide, "--ray", *MODEL)
        assert (code, "another run writes to" in printed) == (1, True)
        assert list(wide.iterdir()) == [], "it has written nothing"
    with Store(str(wide)).locked():
        pass


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
