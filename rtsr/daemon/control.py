"""The control socket: one JSON object a line in, one a line out, for the user it belongs to and nobody else.

    {"do": "gain", "value": -3}        ->  {"ok": true, "value": {"voice": -3.0}}
    {"do": "gain", "value": "loud"}    ->  {"ok": false, "error": "gain: expected -120 to 24 dB, got 'loud'"}

The answer holds one value for each path that runs. docs/operations.md lists the commands.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import AlreadyRunning, ControlFailed, RtsrError

LONGEST = 65_536  # of a request, in bytes
TIMEOUT_S = 15.0

Do = Callable[[str, Any], Any]


class _Handler(socketserver.StreamRequestHandler):
    """Answers the lines of one connection."""

    def handle(self) -> None:
        while line := self.rfile.readline(LONGEST):
            reply = json.dumps(answer(line, self.server.do))  # type: ignore[attr-defined]  # set by `Control`
            try:
                self.wfile.write(reply.encode() + b"\n")
            except (BrokenPipeError, ConnectionResetError):
                return  # whoever asked did not wait


def answer(line: bytes, do: Do) -> dict[str, Any]:
    """Return what is answered to one line; never raises for what others have written."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {"ok": False, "error": "expected one JSON object a line"}
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        return {"ok": False, "error": 'expected an object with the text "do"'}
    try:
        return {"ok": True, "value": do(request["do"], request.get("value"))}
    except RtsrError as error:
        return {"ok": False, "error": str(error)}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    do: Do


class Control:
    """A listening control socket; requests are answered on threads of their own, by `do(command, value)`."""

    def __init__(self, path: Path, do: Do) -> None:
        """Bind; raises `AlreadyRunning` where somebody listens there, `ControlFailed` where it cannot be made."""
        self.path = path
        _clear(path)
        before = os.umask(0o177)
        try:
            self.server = _Server(str(path), _Handler)
        except OSError as error:
            raise ControlFailed(
                f"cannot make the socket {path} ({error.strerror or error}): choose another place with --socket"
            ) from error
        finally:
            os.umask(before)
        self.server.do = do
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.1,), name="rtsr control", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self.server.shutdown()
        self.server.server_close()
        self.path.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on any more."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(1.0)
        try:
            trial.connect(str(path))
        except PermissionError as error:
            raise ControlFailed(f"the socket {path} is not yours: choose another place with --socket") from error
        except OSError:
            path.unlink()
            return
    raise AlreadyRunning(f"another rtsr live listens on {path}: end it (rtsr ctl stop), or pass another --socket")


def request(path: Path, do: str, value: Any = None) -> Any:
    """Ask a running rtsr and return the answer's value; raises `ControlFailed` with its words, or where none runs."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps({"do": do, "value": value}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        except OSError as error:
            raise ControlFailed(
                f"no rtsr live answers on {path} ({error.strerror or error}): start one, or name its --socket"
            ) from error
    if not line:
        raise ControlFailed(f"the rtsr on {path} ended before it answered")
    reply = json.loads(line)
    if not reply["ok"]:
        raise ControlFailed(reply["error"])
    return reply["value"]
