"""What reads bytes that others have written, each as a function that takes any: it reads or refuses them.

Each raises only where something else happens: an exception that its caller does not expect, or a result that cannot
be. `tests/corpus/NAME` holds what each begins with, and what it was once wrong about. `bench/fuzz.py` runs them for
longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rtsr.errors import InvalidSetting, RtsrError

CORPUS = Path(__file__).parent / "corpus"
HOP_S = 0.005
BLOCK = 4096
MOST_BLOCKS = 4  # of an audio file: a few hundred bytes may stand for hours


def rtp(data: bytes) -> None:
    """Datagrams on the port of a plain RTP leg, each behind its length, and what a buffer makes of them."""
    from rtsr.bridge.jitter import ROOM, JitterBuffer, Packet
    from rtsr.bridge.rtp import parse

    buffer, at, now_s = JitterBuffer(8000), 0, 0.0
    while at < len(data):
        size = data[at]
        found = parse(data[at + 1 : at + 1 + size], 0)
        at, now_s = at + 1 + size, now_s + HOP_S
        if found is not None:
            number, stamp, payload = found
            assert 0 <= number < 1 << 16
            assert 0 <= stamp < 1 << 32
            assert payload
            buffer.put(Packet(number, stamp, payload, now_s))
        assert len(buffer) <= ROOM
        assert np.isfinite(buffer.spread_s)
        if buffer.take() is None:
            buffer.skip()


def rtcp(data: bytes) -> None:
    """A peer's reports, which aiortc reads; it expects `ValueError` alone."""
    from aiortc.rtp import RtcpPacket, RtpPacket

    for parse in (RtcpPacket.parse, RtpPacket.parse):
        with contextlib.suppress(ValueError):
            parse(data)


def sdp(data: bytes) -> None:
    """The body of a WHIP or WHEP offer."""
    from rtsr.bridge.codec import CODECS
    from rtsr.bridge.peer import choose_codec

    with contextlib.suppress(InvalidSetting, UnicodeDecodeError):
        assert choose_codec(data.decode()) in CODECS


class Request:
    """As much of a request as reading its body takes."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def json(self) -> Any:
        """Read JSON as aiohttp does."""
        return json.loads(self.body.decode())


def body(data: bytes) -> None:
    """The JSON of an offer, or of a change of how somebody is heard."""
    from rtsr.bridge.service import ids_of, options_of, read_json

    try:
        read = asyncio.run(read_json(Request(data)))  # type: ignore[arg-type]
    except InvalidSetting:
        return
    for take in (options_of, lambda read: ids_of(read.get("plain"))):
        with contextlib.suppress(InvalidSetting):
            take(read)


def stream(data: bytes) -> None:
    """A message of a media stream over WebSocket."""
    from rtsr.bridge.platforms import JsonStream, RawStream

    for one, message in ((JsonStream(), data.decode(errors="replace")), (RawStream(), data.decode(errors="replace"))):
        with contextlib.suppress(InvalidSetting):
            one.read(message)


def leg(data: bytes) -> None:
    """The JSON that asks for an RTP leg."""
    from rtsr.bridge.rtp_legs import RtpOptions

    with contextlib.suppress(ValueError, RecursionError, RtsrError):
        read = json.loads(data)
        if isinstance(read, dict):
            RtpOptions.read(read)


def config(data: bytes) -> None:
    """A configuration file, for `rtsr live` and for `rtsr bridge`."""
    from rtsr.bridge.config import make_settings as of_bridge
    from rtsr.daemon.config import make_settings as of_live

    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        for make in (of_live, of_bridge):
            with contextlib.suppress(InvalidSetting):
                make(Path(file.name), {})


def control(data: bytes) -> None:
    """A line to the control socket; the answer is a line of JSON."""
    from rtsr.daemon.control import answer

    def do(command: str, value: Any) -> Any:
        if command != "echo":
            raise InvalidSetting(f"no command named {command!r}")
        return value

    reply = json.dumps(answer(data, do))
    assert "\n" not in reply
    assert isinstance(json.loads(reply)["ok"], bool)


def audio(data: bytes) -> None:
    """A recording in a file."""
    from rtsr.io.file import MOST_CHANNELS, open_to_read, read_blocks

    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(data)
        file.flush()
        try:
            with open_to_read(Path(file.name)) as opened:
                assert 1 <= opened.channels <= MOST_CHANNELS
                for _, block in zip(range(MOST_BLOCKS), read_blocks(opened, BLOCK), strict=False):
                    assert block.shape[1] == opened.channels
                    assert block.dtype == np.float32
        except RtsrError:
            pass


TARGETS: dict[str, Callable[[bytes], None]] = {
    read.__name__: read for read in (rtp, rtcp, sdp, body, stream, leg, config, control, audio)
}
BRIDGE = ("rtp", "rtcp", "sdp", "body", "stream", "leg")  # those that need the packages of the bridge


def seeds(name: str) -> list[bytes]:
    """Return what lies in a target's corpus; for audio, in that of rtsr-cli too."""
    folders = (name, "wav") if name == "audio" else (name,)
    return [path.read_bytes() for folder in folders for path in sorted((CORPUS / folder).iterdir())]
