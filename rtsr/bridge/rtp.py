"""RTP packets as bytes (RFC 3550, section 5): read and written, as far as a telephone's audio needs it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import InvalidSetting, UnknownName
from .codec import CODECS, COMFORT_NOISE_TYPE, EVENT_TYPE, FIRST_DYNAMIC, LAST_DYNAMIC

HEADER = struct.Struct("!BBHII")
VERSION = 2
REPORTS = range(192, 224)  # the second byte of RTCP where it shares a port with RTP (RFC 5761, section 4)
MARK = 0x80  # in the second byte


class Read(NamedTuple):
    """The fields of an RTP packet."""

    kind: int  # payload type
    number: int
    stamp: int
    source: int  # SSRC
    payload: bytes  # empty: no more than that the sender is there (RFC 6263)


@dataclass(frozen=True, slots=True)
class PayloadTypes:
    """The codec of a stream, and which payload types its packets have."""

    codec: str
    audio: int
    events: int | None  # telephone-event (RFC 4733), by the clock of the codec, where agreed on
    noise: int | None  # comfort noise (RFC 3389), where the clock is 8 kHz

    @classmethod
    def of(cls, codec: str, audio: int | None = None, events: int = EVENT_TYPE) -> PayloadTypes:
        """Return those of a codec; raises `UnknownName`, and `InvalidSetting` for types that do not fit."""
        if codec not in CODECS:
            raise UnknownName("codec", codec, CODECS)
        row = CODECS[codec]
        audio = row.payload_type if audio is None else audio
        if row.has_fixed_type and audio != row.payload_type:
            raise InvalidSetting(f"payload_type: expected {row.payload_type} for {codec}, got {audio}")
        for name, kind in (("event_type", events), *((("payload_type", audio),) if not row.has_fixed_type else ())):
            if not FIRST_DYNAMIC <= kind <= LAST_DYNAMIC:
                raise InvalidSetting(f"{name}: expected {FIRST_DYNAMIC} to {LAST_DYNAMIC}, got {kind}")
        if audio == events:
            raise InvalidSetting(f"event_type: expected another than payload_type, got {events} for both")
        return cls(codec, audio, events, noise_type(codec))


def noise_type(codec: str) -> int | None:
    """Return the payload type of comfort noise beside a codec, None where its clock is another (RFC 3389)."""
    return COMFORT_NOISE_TYPE if CODECS[codec].clock == CODECS["pcmu"].clock else None


def is_report(data: bytes) -> bool:
    """Whether a datagram would be RTCP, where it is anything."""
    return len(data) > 1 and data[1] in REPORTS


def parse(data: bytes) -> Read | None:
    """Return the fields of an RTP packet; None for anything else."""
    if len(data) < HEADER.size:
        return None
    first, second, number, stamp, source = HEADER.unpack_from(data)
    if first >> 6 != VERSION or second in REPORTS:
        return None
    start, end = HEADER.size + 4 * (first & 0x0F), len(data)
    if first & 0x10:  # an extension
        if end < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
    if first & 0x20:  # padding, whose last byte says how much
        end -= data[-1]
    return Read(second & 0x7F, number, stamp, source, data[start:end]) if start <= end else None


def write(
    kind: int, number: int, stamp: int, source: int, payload: bytes, *, marked: bool = False, extension: bytes = b""
) -> bytes:
    """Return an RTP packet; counters begin anew where their bits end. `extension` is one of its header, whole."""
    first = VERSION << 6 | 0x10 if extension else VERSION << 6
    second = kind | MARK if marked else kind
    return HEADER.pack(first, second, number % (1 << 16), stamp % (1 << 32), source) + extension + payload
