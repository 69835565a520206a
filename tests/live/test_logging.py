"""Where the log of `rtsr live` goes is full, closed or read by nobody: the sound goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtsr.daemon.control import request
from tests.live.running import ANY_S, START_S, THROUGH
from tests.live.servers import Server, wait_for


def full() -> Iterator[int]:
    """A file on a full disk."""
    out = os.open("/dev/full", os.O_WRONLY)
    yield out
    os.close(out)


def broken() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def unread() -> Iterator[int]:
    """A pipe that is full, and that nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


def closed() -> Iterator[None]:
    """No file at all."""
    yield None


def delivers(path: Path) -> bool:
    stats = request(path, "stats")
    return bool(stats) and stats["voice"]["delivers"]


@pytest.mark.parametrize("log", [full, broken, unread, closed])
def test_sound_flows_whatever_becomes_of_the_log(pulse: Server, model_path: Path, log, tmp_path):
    opened, path = log(), tmp_path / "s"
    stderr = next(opened)
    command = [sys.executable, "-m", "rtsr", "live", "--socket", str(path), "--model", str(model_path), *THROUGH]
    if stderr is None:
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    process = subprocess.Popen(command, env=pulse.env, stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        wait_for(path.exists, START_S)
        wait_for(lambda: delivers(path), START_S, "sound flows")
        before = request(path, "stats")["voice"]
        time.sleep(1.0)
        after = request(path, "stats")["voice"]
        assert after["hops"] > before["hops"] + 100
        assert process.poll() is None
        assert request(path, "stop") is True
        assert process.wait(ANY_S) == 0
    finally:
        process.kill()
        process.wait()
        next(opened, None)
