"""A systemd user unit for an `rtsr live` that starts with the session and stays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NAME = "rtsr-live.service"
UNIT = """[Unit]
Description=rtsr live: real-time speech super-resolution
After=pipewire-pulse.service pulseaudio.service

[Service]
ExecStart={command}
Restart=on-failure
RestartSec=2
# asked for by the worker thread, granted by limits or rtkit
LimitRTPRIO=10

[Install]
WantedBy=default.target
"""
ESCAPES = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "%": "%%"}
)  # in double quotes, as systemd.syntax(7) and systemd.unit(5) say


def install(arguments: list[str]) -> str:
    """Write the unit that runs `rtsr` with these arguments and return what to do next; raises nothing of ours.

    It runs the Python that runs now. The unit starts in another folder: paths among the arguments are to be absolute.
    """
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    program = _quote(os.path.abspath(sys.executable))  # not resolved: a virtual environment's is a link
    path.write_text(UNIT.format(command=" ".join([program, *(_quote_argument(a) for a in ["-m", "rtsr", *arguments])])))
    return f"wrote {path}\nnow:  systemctl --user daemon-reload && systemctl --user enable --now {NAME}"


def _quote(word: str) -> str:
    """Quote a word for a unit file, where % means something too."""
    return f'"{word.translate(ESCAPES)}"'


def _quote_argument(argument: str) -> str:
    """Quote an argument of a command, where $ means something too (systemd.service(5))."""
    return _quote(argument.replace("$", "$$"))
