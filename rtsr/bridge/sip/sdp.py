"""SDP of calls with one voice (RFC 8866): offers and answers (RFC 3264) over the bridge's table of codecs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...errors import InvalidSetting
from ..codec import CODECS, COMFORT_NOISE_TYPE, EVENT_TYPE, G722, L16, L16_8K, LAST_DYNAMIC, OPUS, PCMA, PCMU
from ..recorder import RECORDED
from ..rtp import PayloadTypes
from ..srtp import Crypto

MOST_LINES, MOST_SECTIONS, MOST_TYPES = 512, 16, 64
ENCODINGS = {OPUS: "opus", G722: "G722", PCMU: "PCMU", PCMA: "PCMA", L16: "L16", L16_8K: "L16"}
EVENTS = "telephone-event"
PLAIN, SECURE = ("RTP/AVP", "RTP/AVPF"), ("RTP/SAVP", "RTP/SAVPF")
SENDING, RECEIVING = ("sendrecv", "sendonly"), ("sendrecv", "recvonly")
OPPOSITE = {"sendonly": "recvonly", "recvonly": "sendonly"}


@dataclass(frozen=True, slots=True)
class Section:
    """A media section of the peer's."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    host: str = ""
    lines: tuple[str, ...] = ()  # its attributes, and before them those of the session

    def values(self, name: str) -> list[str]:
        """Return the values of an attribute."""
        return [line.removeprefix(f"{name}:").strip() for line in self.lines if line.startswith(f"{name}:")]

    @property
    def direction(self) -> str:
        """Which way audio goes, as the peer sees it."""
        named = [line for line in self.lines if line in ("sendrecv", "sendonly", "recvonly", "inactive")]
        found = named[-1] if named else "sendrecv"
        on_hold = self.host in ("0.0.0.0", "::") and found in RECEIVING  # as RFC 2543 had hold
        return {"sendrecv": "sendonly", "recvonly": "inactive"}[found] if on_hold else found


@dataclass(frozen=True, slots=True)
class Voice:
    """What an offer and its answer agree on."""

    types: PayloadTypes
    place: tuple[str, int]  # where the peer's audio port is
    direction: str = "sendrecv"  # as the peer sees it
    crypto: Crypto | None = None  # of the peer's packets
    events: bool = True  # whether the peer takes telephone events
    index: int = 0  # of its section
    protocol: str = PLAIN[0]

    @property
    def peer_listens(self) -> bool:
        """Whether it wants the room's audio now."""
        return self.direction in RECEIVING

    @property
    def peer_speaks(self) -> bool:
        """Whether it is to be heard now."""
        return self.direction in SENDING


def read(body: bytes) -> list[Section]:
    """Return the media sections; raises `InvalidSetting` for what is no SDP."""
    lines = body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if len(lines) > MOST_LINES or not lines[0].startswith("v=0"):
        raise InvalidSetting("expected SDP")
    host, common, found = "", list[str](), list[Section]()
    for line in lines:
        key, _, value = line.partition("=")
        if key == "m":
            if len(found) == MOST_SECTIONS:
                raise InvalidSetting(f"expected at most {MOST_SECTIONS} media sections")
            found.append(replace(_section(value), host=host, lines=tuple(common)))
        elif key == "c" and found:
            found[-1] = replace(found[-1], host=_host(value))
        elif key == "c":
            host = _host(value)
        elif key == "a" and found:
            found[-1] = replace(found[-1], lines=(*found[-1].lines, value.strip()))
        elif key == "a":
            common.append(value.strip())
    return found


def _section(value: str) -> Section:
    words = value.split()
    if len(words) < 3:
        raise InvalidSetting("expected m=KIND PORT PROTOCOL FORMAT ... in SDP")
    port = words[1].partition("/")[0]
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or int(port) >= 1 << 16:
        raise InvalidSetting("expected a port in m= of SDP")
    return Section(words[0], int(port), words[2], tuple(words[3 : 3 + MOST_TYPES]))


def _host(value: str) -> str:
    """Return the numeric address of a connection line; names are not looked up."""
    words = value.split()
    try:
        return str(ipaddress.ip_address(words[2].partition("/")[0]))
    except (IndexError, ValueError):
        raise InvalidSetting("expected c=IN IP4 ADDRESS or c=IN IP6 ADDRESS in SDP, with a numeric address") from None


def choose(sections: Sequence[Section], codecs: Sequence[str], *, secure: bool = True) -> Voice:
    """Return the first voice that fits, in the codec that the peer names first; raises `InvalidSetting`."""
    for index, section in enumerate(sections):
        if section.kind != "audio" or not section.port or not section.host:
            continue
        if section.protocol not in (*PLAIN, *SECURE) or (section.protocol in SECURE and not secure):
            continue
        crypto = _crypto(section) if section.protocol in SECURE else None
        types = _types(section, codecs)
        if types is None or (section.protocol in SECURE and crypto is None):
            continue
        place, events = (section.host, section.port), EVENTS in _names(section)[0].values()
        return Voice(types, place, section.direction, crypto, events, index, section.protocol)
    raise InvalidSetting(f"expected a voice over RTP in one of {', '.join(codecs)}")


def _names(section: Section) -> tuple[dict[int, str], dict[int, int]]:
    """Return the encodings of the payload types, in lower case, and their clocks."""
    names = {codec.payload_type: codec.name for codec in CODECS.values() if codec.has_fixed_type}
    clocks = {codec.payload_type: codec.clock for codec in CODECS.values() if codec.has_fixed_type}
    for value in section.values("rtpmap"):
        if found := re.fullmatch(r"(\d{1,3})\s+([A-Za-z0-9._-]{1,32})/(\d{1,6})(?:/\d{1,2})?", value, re.A):
            names[int(found[1])], clocks[int(found[1])] = found[2].lower(), int(found[3])
    listed = [int(one) for one in section.formats if re.fullmatch(r"\d{1,3}", one, re.A)]
    return {kind: names[kind] for kind in listed if kind in names}, clocks


def _types(section: Section, codecs: Sequence[str]) -> PayloadTypes | None:
    names, clocks = _names(section)
    for kind, name in names.items():
        for codec in (CODECS[one] for one in codecs):
            if name != ENCODINGS[codec.name].lower() or clocks[kind] != codec.clock:
                continue
            events = [one for one, other in names.items() if other == EVENTS and clocks[one] == codec.clock]
            free = EVENT_TYPE if kind != EVENT_TYPE else LAST_DYNAMIC
            try:
                return PayloadTypes.of(codec.name, kind, events[0] if events else free)
            except InvalidSetting:
                continue
    return None


def _crypto(section: Section) -> Crypto | None:
    for value in section.values("crypto"):
        try:
            return Crypto.parse(value)
        except InvalidSetting:
            continue
    return None


@dataclass(slots=True)
class Description:
    """Our own side of a session: what does not change while it lasts, and its version."""

    place: tuple[str, int]  # that the peer is to send to
    packet_ms: int
    number: int
    crypto: Crypto | None = None  # of our packets
    recorded: bool = False  # what we receive
    version: int = field(default=0, init=False)

    def answer(self, sections: Sequence[Section], voice: Voice) -> bytes:
        """Return the answer to an offer: one voice, and every other section refused."""
        parts: list[str] = []
        for index, section in enumerate(sections):
            if index != voice.index:
                refused = section.formats[0] if section.formats else "0"
                parts.append(f"m={section.kind} 0 {section.protocol} {refused}")
                continue
            direction = OPPOSITE.get(voice.direction, voice.direction)
            kinds = [(voice.types.audio, voice.types.codec)]
            parts += self._section(kinds, voice.types.events if voice.events else None, direction, voice.protocol)
        return self._session(parts)

    def offer(self, types: Sequence[PayloadTypes], direction: str = "sendrecv") -> bytes:
        """Return an offer of codecs, the best one first."""
        protocol = SECURE[0] if self.crypto else PLAIN[0]
        kinds = [(one.audio, one.codec) for one in types]
        return self._session(self._section(kinds, types[0].events, direction, protocol))

    def _section(
        self, kinds: Sequence[tuple[int, str]], events: int | None, direction: str, protocol: str
    ) -> list[str]:
        clocks = {codec: CODECS[codec].clock for _, codec in kinds}
        formats, lines = [str(kind) for kind, _ in kinds], []
        for kind, codec in kinds:
            stereo = "/2" if codec == OPUS else ""  # RFC 7587, section 7: always, whatever is in it
            lines.append(f"a=rtpmap:{kind} {ENCODINGS[codec]}/{clocks[codec]}{stereo}")
            if codec == OPUS:
                lines.append(f"a=fmtp:{kind} useinbandfec=1")
        narrow = 8_000 in clocks.values()
        if events is not None:
            clock = 8_000 if narrow else next(iter(clocks.values()))
            formats.append(str(events))
            lines += [f"a=rtpmap:{events} {EVENTS}/{clock}", f"a=fmtp:{events} 0-15"]
        if narrow:
            formats.append(str(COMFORT_NOISE_TYPE))
            lines.append(f"a=rtpmap:{COMFORT_NOISE_TYPE} CN/8000")
        if self.crypto:
            lines.append(f"a=crypto:{self.crypto.line}")
        if self.recorded:
            lines.append(RECORDED)
        return [
            f"m=audio {self.place[1]} {protocol} {' '.join(formats)}",
            *lines,
            f"a=ptime:{self.packet_ms}",
            f"a={direction}",
        ]

    def _session(self, parts: Sequence[str]) -> bytes:
        self.version += 1
        host = self.place[0]
        family = "IP6" if ":" in host else "IP4"
        lines = [
            "v=0",
            f"o=rtsr {self.number} {self.version} IN {family} {host}",
            "s=-",
            f"c=IN {family} {host}",
            "t=0 0",
        ]
        return "\r\n".join([*lines, *parts, ""]).encode()
