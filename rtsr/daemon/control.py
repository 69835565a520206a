"""The control socket: one JSON object a line in, one a line out, for the user it belongs to alone.

    {"do": "gain", "value": -3}        ->  {"ok": true, "value": {"voice": -3.0}}
    {"do": "gain", "value": "loud"}    ->  {"ok": false, "error": "gain: expected -120 to 24 dB, got 'loud'"}

The answer holds one value for each path that runs. docs/operations.md lists the commands. A system without Unix
sockets, as Windows is to Python, has no control socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import socketserver
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import AlreadyRunning, ControlFailed, RtsrError

SUPPORTED = hasattr(socket, "AF_UNIX")
UNSUPPORTED = "the control socket needs Unix sockets, which this system or its Python lacks"
LONGEST = 65_536  # of a request, in bytes
DEEPEST = 8  # of the objects and arrays in a request
TIMEOUT_S = 15.0
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"?')  # a string of JSON, or what may be one that does not end
TEMPORARY = Path("/tmp")

Do = Callable[[str, Any], Any]


def default_socket() -> Path:
    """Return $XDG_RUNTIME_DIR/rtsr.sock, or without that one in a folder in /tmp that is this user's alone.

    Makes that folder. Raises `ControlFailed` where another user has made it or may write there, or where this system
    has no Unix sockets.
    """
    if not SUPPORTED:
        raise ControlFailed(UNSUPPORTED)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "rtsr.sock"
    folder = TEMPORARY / f"rtsr-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o700)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise ControlFailed(f"{folder} is not yours alone: set XDG_RUNTIME_DIR, or choose another place with --socket")
    return folder / "rtsr.sock"


class _Handler(socketserver.StreamRequestHandler):
    """Answers the lines of one connection."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client did not wait
            while line := self.rfile.readline(LONGEST):
                reply = json.dumps(answer(line, self.server.do))  # type: ignore[attr-defined]  # set by `Control`
                self.wfile.write(reply.encode() + b"\n")
                if len(line) == LONGEST:
                    return  # what follows is the rest of this line


def _nesting(line: bytes) -> int:
    """Return how deep the objects and arrays of a line of JSON lie in one another."""
    depth = deepest = 0
    for bracket in re.findall(rb"[\[\]{}]", TEXT.sub(b"", line)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def answer(line: bytes, do: Do) -> dict[str, Any]:
    """Return what is answered to one line; never raises."""
    if _nesting(line) > DEEPEST:  # json.loads would go as deep as the line does
        return {"ok": False, "error": f"expected at most {DEEPEST} objects and arrays in one another"}
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
    except Exception as error:  # a fault of ours must still be answered
        return {"ok": False, "error": f"a fault in rtsr itself: {error!r}"}


if SUPPORTED:

    class _Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        do: Do


class Control:
    """A listening control socket; requests are answered on threads of their own, by `do(command, value)`."""

    def __init__(self, path: Path, do: Do) -> None:
        """Bind; raises `AlreadyRunning` where another process listens there, `ControlFailed` where it cannot be made.

        Changes the umask of the process for a moment.
        """
        if not SUPPORTED:
            raise ControlFailed(UNSUPPORTED)
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
    """Remove a socket that no process listens on any more."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(1.0)
        try:
            trial.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):  # FileNotFoundError: it has just gone
            path.unlink(missing_ok=True)
            return
        except (BlockingIOError, TimeoutError):
            pass  # more are waiting to be answered there than fit
        except OSError as error:
            raise ControlFailed(
                f"the socket {path} cannot be used ({error.strerror or error}): choose another place with --socket"
            ) from error
    raise AlreadyRunning(f"another rtsr live listens on {path}: end it (rtsr ctl stop), or pass another --socket")


def request(path: Path, do: str, value: Any = None, timeout_s: float = TIMEOUT_S) -> Any:
    """Ask a running rtsr and return the answer's value; raises `ControlFailed` with its error, or where none runs.

    `timeout_s` bounds each wait for it, to connect, to send and to receive.
    """
    if not SUPPORTED:
        raise ControlFailed(UNSUPPORTED)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
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
    try:
        reply = json.loads(line)
        done, value = reply["ok"], reply["value" if reply["ok"] else "error"]
    except (ValueError, TypeError, KeyError):
        raise ControlFailed(f"what listens on {path} is no rtsr live: name another --socket") from None
    if not done:
        raise ControlFailed(value)
    return value
