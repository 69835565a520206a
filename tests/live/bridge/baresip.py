"""baresip as a telephone: it dials, speaks a recording, and keeps what it hears."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.speech import missing

MODULES = "stdio g711 g722 aufile sndfile srtp uuid"


@dataclass
class Telephone:
    """A telephone with a folder of its own."""

    folder: Path
    voice: np.ndarray
    rate: int = 8_000
    account: str = "<sip:alice@127.0.0.1>;regint=0;audio_codecs=pcmu"
    listen: str = "127.0.0.1:0"
    more: str = ""  # lines of its configuration
    log: str = ""

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(self.folder / "voice.wav", self.voice, self.rate, subtype="PCM_16")
        modules = [f"module {name}.so" for name in MODULES.split()] + ["module_app account.so", "module_app menu.so"]
        found = next(Path("/usr/lib").rglob("baresip/modules"))
        (self.folder / "config").write_text(
            "\n".join(
                [
                    *(
                        "poll_method epoll",
                        f"sip_listen {self.listen}",
                        "net_interface 127.0.0.1",
                        f"module_path {found}",
                    ),
                    *(f"audio_source aufile,{self.folder}/voice.wav", f"snd_path {self.folder}"),
                    *("audio_alert aufile,/dev/null", "audio_path /usr/share/baresip", "rtp_timeout 0"),
                    *("call_local_timeout 60", "call_max_calls 2"),
                    *modules,
                    self.more,
                    "",
                ]
            )
        )
        (self.folder / "accounts").write_text(self.account + "\n")
        (self.folder / "contacts").write_text("")

    async def run(self, seconds: float, dial: str | None = None) -> str:
        """Dial, or wait, for some seconds; returns what it wrote."""
        if shutil.which("baresip") is None:
            missing("baresip")
        self.write()
        command = ["baresip", "-f", str(self.folder), "-t", str(round(seconds))]
        process = await asyncio.create_subprocess_exec(
            *(*command, *(["-e", f"/dial {dial}"] if dial else [])),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder,
        )
        try:
            reading = asyncio.ensure_future(self._read(process))
            await asyncio.wait([reading], timeout=seconds + 5)
            assert reading.done(), self.log
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading
        return self.log

    def heard(self) -> np.ndarray:
        """What came in its last call, at `rate`."""
        sound, rate = soundfile.read(max(self.folder.glob("dump-*-dec.wav")), dtype="float32")
        assert rate == self.rate
        return sound

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while data := await process.stdout.read(4_096):
            self.log += data.decode(errors="replace")
