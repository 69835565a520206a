"""What reads bytes that others have written, each as a function that takes any: it reads or refuses them.

Each raises only where something else happens: an exception that its caller does not expect, or a result that cannot
be. `tests/corpus/NAME` holds what each begins with, and what it was once wrong about. `bench/fuzz.py` runs them for
longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rtsr.errors import InvalidSetting, RtsrError

CORPUS = Path(__file__).parent / "corpus"
HOP_S = 0.005
MOST_LEVEL = 2.5  # of a hop: what was made up, and a step that is evened out
BLOCK = 4096
MOST_BLOCKS = 4  # of an audio file: a few hundred bytes may stand for hours


def rtp(data: bytes) -> None:
    """Datagrams on the port of a plain RTP leg, each behind its length, and what a buffer makes of them."""
    from rtsr.bridge.jitter import ROOM, JitterBuffer, Packet
    from rtsr.bridge.rtp import parse

    buffer, at, now_s = JitterBuffer(8000), 0, 0.0
    while at < len(data):
        size = data[at]
        found = parse(data[at + 1 : at + 1 + size])
        at, now_s = at + 1 + size, now_s + HOP_S
        if found is not None:
            assert 0 <= found.number < 1 << 16
            assert 0 <= found.stamp < 1 << 32
            assert 0 <= found.source < 1 << 32
            buffer.put(Packet(found.number, found.stamp, found.payload, now_s))
        assert len(buffer) <= ROOM
        assert np.isfinite(buffer.spread_s)
        if buffer.take() is None:
            buffer.skip()


def voice(data: bytes) -> None:
    """Packets that one speaker's playout is given, each a length, a step of numbers, one of stamps, and a payload."""
    from rtsr.bridge.codec import OPUS, PCMU, make_decoder
    from rtsr.bridge.jitter import ROOM, Packet
    from rtsr.bridge.playout import MOST_TARGET_S, Playout

    playout, number, stamp, at, ticks = Playout(make_decoder((OPUS, PCMU)[len(data) % 2]), 200), 0, 0, 0, 0
    while at + 3 <= len(data):
        size, steps, tens = data[at : at + 3]
        payload, at = data[at + 3 : at + 3 + size], at + 3 + size
        number, stamp = (number + steps) % 65_536, (stamp + 10 * (tens - 128) * playout.rate // 1000) % 2**32
        playout.put(Packet(number, stamp, payload, ticks * HOP_S))
        for _ in range(1 + steps % 3):
            ticks += 1
            hop = playout.read(ticks * HOP_S)
            assert hop.shape == (playout.hop,)
            assert np.abs(hop).max() < MOST_LEVEL
        assert len(playout.buffer) <= ROOM
        assert playout.target_s <= MOST_TARGET_S


def rtcp(data: bytes) -> None:
    """A peer's reports."""
    from rtsr.bridge.rtcp import parse_report
    from rtsr.bridge.rtp import parse

    report = parse_report(data)
    assert report is None or (0 <= report.source < 1 << 32 and parse(data) is None)


def candidate(data: bytes) -> None:
    """Where a candidate is; checks are sent to the public internet alone where that is asked for."""
    from aiortc.sdp import candidate_from_sdp

    from rtsr.bridge.limits import AddressPolicy

    try:
        found = candidate_from_sdp(data.decode())
    except (ValueError, AssertionError):  # of which the peer makes an error of its own
        return
    AddressPolicy(loopback=True).admits(found.ip, found.port)
    if AddressPolicy(private=False).admits(found.ip, found.port):
        address = ipaddress.ip_address(found.ip)
        address = getattr(address, "ipv4_mapped", None) or address
        assert address.is_global
        assert not address.is_multicast
        assert found.port >= 1_024 or found.port in (80, 443)


def text(data: bytes) -> None:
    """A request's Content-Type, and behind the first line's end its body."""
    from aiohttp import StreamReader
    from aiohttp.base_protocol import BaseProtocol
    from aiohttp.test_utils import make_mocked_request

    from rtsr.bridge.whip import read_text

    head, _, body = data.partition(b"\n")
    kind = head.decode("latin-1").translate(dict.fromkeys(range(32)))

    async def read() -> str:
        loop = asyncio.get_running_loop()
        payload = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        payload.feed_data(body)
        payload.feed_eof()
        return await read_text(make_mocked_request("POST", "/", {"Content-Type": kind}, payload=payload))

    with contextlib.suppress(InvalidSetting):
        assert asyncio.run(read()).encode() == body


def sdp(data: bytes) -> None:
    """The body of a WHIP or WHEP offer."""
    from rtsr.bridge.codec import CODECS
    from rtsr.bridge.offers import choose_codec

    with contextlib.suppress(InvalidSetting, UnicodeDecodeError):
        assert choose_codec(data.decode()) in CODECS


class Request:
    """As much of a request as reading its body takes."""

    content_type, charset = "application/json", None
    headers: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def read(self) -> bytes:
        """Return the whole body."""
        return self.body


def body(data: bytes) -> None:
    """The JSON of an offer, or of a change of how somebody is heard."""
    from rtsr.bridge.bodies import ids_of, options_of, read_json

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


def sip(data: bytes) -> None:
    """A message of SIP: what is read is written and read again as the same."""
    from rtsr.bridge.codec import CODECS
    from rtsr.bridge.sip.digest import Authenticator
    from rtsr.bridge.sip.message import Request, answer, parse, received_from
    from rtsr.bridge.sip.sdp import Description, choose, read
    from rtsr.bridge.sip.session_timer import TooShort, taken

    found = parse(data)
    if found is None:
        return
    again = parse(found.write())
    assert again is not None
    assert (again.headers, again.body) == ([*found.headers, *again.headers[len(found.headers) :]], found.body)
    if not isinstance(found, Request):
        return
    request = received_from(found, ("192.0.2.1", 5060))
    assert parse(answer(request, 401, Authenticator("r", {"a": "b"}).challenges(), tag="t").write()) is not None
    assert Authenticator("r", {"a": "b"}).user_of(request)[0] is None
    with contextlib.suppress(TooShort):
        taken(request, 1_800)
    try:
        sections = read(request.body)
        voice = choose(sections, tuple(CODECS))
    except InvalidSetting:
        return
    written = Description(("192.0.2.2", 10_000), 20, 1).answer(sections, voice)
    assert len(read(written)) == len(sections)


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
    read.__name__: read
    for read in (rtp, voice, rtcp, sdp, candidate, text, body, stream, leg, sip, config, control, audio)
}
BRIDGE = (
    "rtp",
    "voice",
    "rtcp",
    "sdp",
    "candidate",
    "text",
    "body",
    "stream",
    "leg",
    "sip",
)  # need the bridge's packages


def seeds(name: str) -> list[bytes]:
    """Return what lies in a target's corpus; for audio, in that of rtsr-cli too."""
    folders = (name, "wav") if name == "audio" else (name,)
    return [path.read_bytes() for folder in folders for path in sorted((CORPUS / folder).iterdir())]
