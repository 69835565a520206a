"""The control socket: whose it is, what is refused, and systems that have none."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rtsr.daemon import control as module
from rtsr.daemon.control import DEEPEST, LONGEST, Control, answer, default_socket, request
from rtsr.errors import AlreadyRunning, ControlFailed, InvalidSetting


def test_a_request_is_answered_and_the_socket_is_the_users_alone(tmp_path):
    path = tmp_path / "s"
    control = Control(path, lambda do, value: [do, value])
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert request(path, "gain", -3.0) == ["gain", -3.0]
        with pytest.raises(AlreadyRunning, match="another rtsr live"):
            Control(path, lambda do, value: None)
    finally:
        control.close()
    assert not path.exists()
    with pytest.raises(ControlFailed, match="no rtsr live answers"):
        request(path, "stats")


def test_a_socket_left_behind_is_replaced_and_one_that_cannot_be_made_is_said(tmp_path):
    path = tmp_path / "s"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    Control(path, lambda do, value: None).close()
    with pytest.raises(ControlFailed, match="choose another place with --socket"):
        Control(tmp_path / "none" / "s", lambda do, value: None)


@pytest.mark.parametrize("line", [b"", b"x\n", b"[]\n", b'{"do": 3}\n', b"\xff\n"])
def test_nonsense_is_answered_not_raised(line):
    assert not answer(line, lambda do, value: None)["ok"]


def test_an_error_is_answered_with_its_words():
    def refuse(do, value):
        raise InvalidSetting("no")

    assert answer(json.dumps({"do": "x"}).encode(), refuse) == {"ok": False, "error": "no"}


@pytest.mark.parametrize(
    "nest",
    [
        b"[" * 60_000,
        b'{"do":' * 10_000,
        b'{"do": "x", "value": ' + b"[" * 9 + b"]" * 9 + b"}",
        b'{"do": "x", "value": [[], ' + b"[" * (DEEPEST - 1) + b"]" * DEEPEST + b"}",
    ],
)
def test_what_is_nested_deeply_is_refused(nest):
    assert "in one another" in answer(nest, lambda do, value: None)["error"]


def test_brackets_in_a_text_are_no_nesting():
    line = json.dumps({"do": "model", "value": 'a"' + "[{" * 100}).encode()
    assert answer(line, lambda do, value: value)["value"] == 'a"' + "[{" * 100
    assert answer(b'{"do": "x", "value": ' + b"[" * (DEEPEST - 1) + b"]" * (DEEPEST - 1) + b"}", lambda *_: 1)["ok"]


def test_a_fault_of_ours_is_answered():
    assert "ZeroDivisionError" in answer(b'{"do": "x"}', lambda do, value: 1 // 0)["error"]


def test_a_line_that_is_too_long_is_answered_once_and_ends_the_connection(tmp_path):
    control = Control(tmp_path / "s", lambda do, value: None)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "s"))
            connection.sendall(b"x" * (LONGEST + 10))  # no more than a socket holds, so that it is all sent
            connection.shutdown(socket.SHUT_WR)
            answers = []
            with connection.makefile("rb") as lines, contextlib.suppress(ConnectionError):
                while line := lines.readline():
                    answers.append(line)
        assert len(answers) == 1
    finally:
        control.close()


def test_closing_waits_for_no_client_and_takes_a_socket_that_is_gone(tmp_path):
    path = tmp_path / "s"
    control = Control(path, lambda do, value: None)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b'{"do": "x"}\n')
        assert connection.recv(100)  # its thread waits for the next line
        path.unlink()
        closing = threading.Thread(target=control.close, daemon=True)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()


def test_a_socket_whose_queue_is_full_is_in_use(tmp_path):
    path, waiting = tmp_path / "s", []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        try:
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(str(path))
        except BlockingIOError:
            pass
        with pytest.raises(AlreadyRunning, match="another rtsr live"):
            Control(path, lambda do, value: None)
        assert path.is_socket()
        for one in waiting:
            one.close()


def test_what_is_no_rtsr_is_said(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def reply() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"220 mail\n")

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(ControlFailed, match="is no rtsr live"):
            request(path, "stats")
        thread.join()


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """A folder in the place of /tmp; returns what lies there for this user."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(module, "TEMPORARY", tmp_path)
    return tmp_path / f"rtsr-{os.getuid()}"


def test_without_a_runtime_folder_the_socket_lies_in_one_of_the_users_alone(temporary):
    assert default_socket() == default_socket() == temporary / "rtsr.sock"
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700


@pytest.mark.parametrize("others_may", [0o40, 0o20, 0o10, 0o4, 0o2, 0o1])
def test_a_folder_that_others_may_reach_is_refused(temporary, others_may):
    temporary.mkdir()
    temporary.chmod(0o700 | others_may)
    with pytest.raises(ControlFailed, match="not yours alone"):
        default_socket()


def test_a_link_or_a_file_in_the_place_of_the_folder_is_refused(temporary, tmp_path):
    (tmp_path / "elsewhere").mkdir(0o700)
    temporary.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ControlFailed, match="not yours alone"):
        default_socket()
    temporary.unlink()
    temporary.touch(0o600)
    with pytest.raises(ControlFailed, match="not yours alone"):
        default_socket()


def test_a_folder_of_somebody_else_is_refused(temporary, monkeypatch):
    temporary.mkdir(0o700)
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    temporary.rename(temporary.with_name(f"rtsr-{another}"))
    with pytest.raises(ControlFailed, match="not yours alone"):
        default_socket()


WITHOUT_UNIX = """
import os, socket, socketserver, sys
delattr(socket, "AF_UNIX")
for name in ("getuid", "nice", "sched_setscheduler", "sched_param"):
    delattr(os, name)
for name in [n for n in vars(socketserver) if "Unix" in n]:
    delattr(socketserver, name)
"""
STARTS = """
from rtsr.daemon.config import LiveSettings
from rtsr.daemon.service import LiveService
from rtsr.daemon.view import LogView
service = LiveService(LiveSettings(), LogView())
assert service._open_control() is None
from rtsr.daemon.priority import ask_for_real_time, be_less_nice, hurried
be_less_nice()
assert "not on this system" in ask_for_real_time()
with hurried():
    pass
"""


def without_unix(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code where Python lacks what it lacks on Windows."""
    command = [sys.executable, "-c", WITHOUT_UNIX + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_unix_sockets_a_service_starts_and_says_that_it_has_none():
    done = without_unix(STARTS)
    assert done.returncode == 0, done.stderr
    assert "no control socket" in done.stderr


@pytest.mark.parametrize("arguments", [["ctl", "stats"], ["ctl", "stats", "--socket", "s"], ["live", "--socket", "s"]])
def test_without_unix_sockets_what_needs_one_is_one_line(arguments):
    done = without_unix("from rtsr.cli import main; main()", *arguments)
    assert done.returncode == 1
    assert "needs Unix sockets" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert without_unix("from rtsr.cli import main; main()", "live", "--help").returncode == 0
