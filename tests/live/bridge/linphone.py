"""linphone as a telephone: it dials, speaks a recording, and keeps what it hears."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import numpy as np
import soundfile

from tests.live.bridge.sipp import free_port
from tests.speech import missing

SETTINGS = """
[sip]
sip_port=PORT
sip_tcp_port=0
sip_tls_port=0
guess_hostname=0
contact=sip:linphone@127.0.0.1
use_ipv6=0
[misc]
store_friends=0
[rtp]
audio_rtp_port=MEDIA
"""


async def call(folder: Path, voice: np.ndarray, uri: str) -> tuple[np.ndarray, int, str]:
    """Call and speak a voice at 8 kHz; returns what was heard, its rate, and what linphone wrote."""
    if shutil.which("linphonec") is None:
        missing("linphonec")
    (folder / ".local" / "share" / "linphone").mkdir(parents=True)
    soundfile.write(folder / "voice.wav", voice, 8_000, subtype="PCM_16")
    ports = {"PORT": free_port(), "MEDIA": free_port()}
    text = SETTINGS
    for name, port in ports.items():
        text = text.replace(name, str(port))
    (folder / "settings").write_text(text)
    process = await asyncio.create_subprocess_exec(
        *("linphonec", "-c", str(folder / "settings")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
    )
    assert process.stdin
    steps = (
        ("soundcard use files", 0.5),
        (f"play {folder}/voice.wav", 0.1),
        (f"record {folder}/heard.wav", 0.1),
        (f"call {uri}", len(voice) / 8_000 + 1),
        ("terminate", 0.5),
        ("quit", 0.0),
    )
    try:
        for step, pause_s in steps:
            process.stdin.write(f"{step}\n".encode())
            await asyncio.sleep(pause_s)
        said, _ = await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    heard, rate = soundfile.read(folder / "heard.wav", dtype="float32", always_2d=True)
    return heard[:, 0], rate, said.decode(errors="replace")
