"""A systemd user unit for an `rtsr live` that starts with the session and stays."""

from __future__ import annotations

import os
import shlex
import shutil
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


def install(arguments: list[str]) -> str:
    """Write the unit that runs `rtsr` with these arguments and return what to do next; raises nothing of ours."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which("rtsr")
    command = [program] if program else [sys.executable, "-m", "rtsr"]
    path = folder / NAME
    path.write_text(UNIT.format(command=" ".join(_quote(a) for a in [*command, *arguments])))
    return f"wrote {path}\nnow:  systemctl --user daemon-reload && systemctl --user enable --now {NAME}"


def _quote(argument: str) -> str:
    """Quote for a unit file, where % and $ mean something too."""
    return shlex.quote(argument.replace("%", "%%").replace("$", "$$"))
