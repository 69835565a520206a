"""rtpengine as the proxy of media beside kamailio, without its module of the kernel."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.live.bridge.sipp import free_port
from tests.speech import missing

START_S = 10.0


class MediaProxy:
    """A running rtpengine, told of calls at the port `control`."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("rtpengine") is None:
            missing("rtpengine")
        self.control, self.log = free_port(), folder / "rtpengine.log"
        command = ["rtpengine", "--foreground", "--table=-1", "--interface=127.0.0.1", "--log-stderr", "--log-level=6"]
        command += [f"--listen-ng=127.0.0.1:{self.control}", f"--pidfile={folder / 'rtpengine.pid'}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*command, "--delete-delay=0"], stdout=log, stderr=log)
        ends = time.monotonic() + START_S
        while "Startup complete" not in self.log.read_text():
            assert time.monotonic() < ends, self.log.read_text()
            time.sleep(0.05)

    def passed(self) -> list[int]:
        """How many packets of RTP came from each side of its calls that have ended."""
        audio = r"Port +127\.0\.0\.1:\d+ +<> +127\.0\.0\.1:\d+ *, SSRC \w+, (\d+) p,"
        return [int(count) for count in re.findall(audio, self.log.read_text())]

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
