"""A bridge with three lines of SIP: open, locked by a password, and encrypted."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rtsr.speech.g711 import encode
from tests.live.bridge.listening import demo_voice
from tests.live.bridge.peers import Client
from tests.live.bridge.server import Bridge

SECRET = "correct-horse"
SILENCE = np.zeros(960, np.float32)


class Lines:
    """A bridge with some lines, and their ports."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def port(self, name: str) -> int:
        return int(self.bridge.wait_for(rf"event=sip name={name} address=127.0.0.1:(\d+)"))


def write_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    folder = tmp_path_factory.mktemp("sip")
    certificate, key = write_certificate(folder)
    config = folder / "bridge.toml"
    config.write_text(f"""
[bridge]
rtp_silent_s = 3.0
peers = 32
[[bridge.sip]]
name = "open"
listen = "127.0.0.1:0"
rooms = {{ "00(.*)" = "abroad-\\\\1", "[a-z0-9-]+" = "\\\\g<0>" }}
sources = ["127.0.0.0/8"]
ring_s = 5
[[bridge.sip]]
name = "locked"
listen = "127.0.0.1:0"
accounts = {{ alice = "{SECRET}" }}
[[bridge.sip]]
name = "encrypted"
listen = "127.0.0.1:0"
transport = "tls"
tls_cert = "{certificate}"
tls_key = "{key}"
tls_ca = "{certificate}"
accounts = {{ alice = "{SECRET}" }}
""")
    one = Bridge("--config", str(config), calls=32)
    yield Lines(one)
    assert one.stop() == 0, "\n".join(one.lines)
    assert not [line for line in one.lines if "Traceback" in line]


async def gone(client: Client, room: str, limit_s: float = 5.0) -> None:
    """Wait until nobody of SIP is in a room."""
    ends = time.monotonic() + limit_s
    while [one for one in await client.room(room) if one["kind"] == "sip"]:
        assert time.monotonic() < ends, await client.room(room)
        await asyncio.sleep(0.05)


def voice_file(folder: Path, law: str = "mu") -> Path:
    path = folder / f"voice.{law}"
    path.write_bytes(encode(demo_voice(), law).tobytes())
    return path
