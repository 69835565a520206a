"""`rtsr live` that starts with the user's session and stays: a systemd unit, without systemd an autostart entry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import RtsrError

NAME = "rtsr-live.service"
UNIT = """[Unit]
Description=rtsr live: real-time speech super-resolution
After=pipewire-pulse.service wireplumber.service pulseaudio.service

[Service]
ExecStart={command}
Restart=on-failure
RestartSec=2
# asked for by the worker thread, granted by limits or rtkit
LimitRTPRIO=10

[Install]
WantedBy=default.target
"""
WANTED = "default.target.wants"
RUNS_ON = "what it started runs until `rtsr ctl stop`"
ENTRY_NAME = "rtsr-live.desktop"
ENTRY = """[Desktop Entry]
Type=Application
Name=rtsr live
Comment=Real-time speech super-resolution
Exec={command}
NoDisplay=true
"""
ESCAPES = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "%": "%%"}
)  # in double quotes, as systemd.syntax(7) and systemd.unit(5) say
ENTRY_ESCAPES = str.maketrans({"\\": "\\\\\\\\", '"': '\\\\"', "`": "\\\\`", "$": "\\\\$", "\n": "\\n", "%": "%%"})
ANSWER_S = 20.0


def install(arguments: list[str]) -> list[str]:
    """Let `rtsr` with these arguments run now and at each login of this user; returns what was done, line by line.

    It runs the Python that runs now, in another folder: paths among the arguments are to be absolute. An earlier
    installation is replaced. Raises `RtsrError` where systemd refuses the unit.
    """
    program = os.path.abspath(sys.executable)  # not resolved: a virtual environment's is a link
    words = [program, "-m", "rtsr", *arguments]
    if has_systemd():
        path = _write(_unit(), UNIT.format(command=" ".join([_quote(program), *map(_quote_argument, words[1:])])))
        _entry().unlink(missing_ok=True)
        _systemctl("daemon-reload")
        _systemctl("enable", NAME)
        _systemctl("restart", NAME)
        return [f"wrote {path}", f"started {NAME}; its log: journalctl --user -u {NAME}"]
    path = _write(_entry(), ENTRY.format(command=" ".join(f'"{word.translate(ENTRY_ESCAPES)}"' for word in words)))
    return [f"wrote {path}", "it starts at the next login: this session has no systemd for users"]


def uninstall() -> list[str]:
    """Stop and remove what `install` installed; returns what was done, line by line; [] where nothing was."""
    done = []
    if _unit().exists():
        stops = has_systemd()
        if stops:
            _systemctl("disable", "--now", NAME)
        _unit().unlink()
        (_unit().parent / WANTED / NAME).unlink(missing_ok=True)  # `disable` removes it, where systemd answers
        if stops:
            _systemctl("daemon-reload")
        done.append(f"stopped it and removed {_unit()}" if stops else f"removed {_unit()}; {RUNS_ON}")
    if _entry().exists():
        _entry().unlink()
        done.append(f"removed {_entry()}; {RUNS_ON}")
    return done


def has_systemd() -> bool:
    """Whether systemd answers for this user."""
    if not shutil.which("systemctl"):
        return False
    asked = _run("show-environment")
    return asked is not None and asked.returncode == 0


def _run(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    command = ["systemctl", "--user", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        return None


def _systemctl(*arguments: str) -> None:
    done = _run(*arguments)
    if done is None or done.returncode:
        said = "no answer" if done is None else done.stderr.strip()
        raise RtsrError(f"expected systemctl --user {' '.join(arguments)} to succeed: {said}")


def _folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _unit() -> Path:
    return _folder() / "systemd" / "user" / NAME


def _entry() -> Path:
    return _folder() / "autostart" / ENTRY_NAME


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _quote(word: str) -> str:
    """Quote a word for a unit file, where % means something too."""
    return f'"{word.translate(ESCAPES)}"'


def _quote_argument(argument: str) -> str:
    """Quote an argument of a command, where $ means something too (systemd.service(5))."""
    return _quote(argument.replace("$", "$$"))
