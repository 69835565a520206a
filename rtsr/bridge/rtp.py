"""RTP and RTCP packets as bytes (RFC 3550): read and written, as far as a telephone's sound needs it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .codec import PCMA, PCMU

HEADER = struct.Struct("!BBHII")  # RFC 3550, section 5.1
VERSION = 2
TYPES = {PCMU: 0, PCMA: 8}  # RFC 3551
REPORTS = range(192, 224)  # the second byte of RTCP where it shares a port with RTP (RFC 5761, section 4)
SENDER_REPORT, RECEIVER_REPORT, BYE = 200, 201, 203
FEEDBACK = (205, 206)  # RFC 4585: requests to send packets, or a picture, again


class Read(NamedTuple):
    """The fields of an RTP packet."""

    kind: int  # payload type
    number: int
    stamp: int
    source: int  # SSRC
    payload: bytes  # empty: no more than that the sender is there (RFC 6263)


class Report(NamedTuple):
    """Who sent an RTCP packet, and whether it leaves."""

    source: int
    leaves: bool


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


def parse_report(data: bytes) -> Report | None:
    """Return who sent a compound RTCP packet (RFC 3550, A.2); None for anything else."""
    parts = list(_parts(data))
    if not parts or parts[0][0] not in (SENDER_REPORT, RECEIVER_REPORT) or sum(len(p) for _, p in parts) != len(data):
        return None
    source = int.from_bytes(parts[0][1][4:8])
    leaves = any(kind == BYE and int.from_bytes(part[4:8]) == source for kind, part in parts)
    return Report(source, leaves)


def without_feedback(data: bytes) -> bytes:
    """Return what is whole of a compound RTCP packet, without requests to send something again."""
    return b"".join(part for kind, part in _parts(data) if kind not in FEEDBACK)


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and bytes of each packet of a compound one, until one is not whole."""
    while len(data) >= 8 and data[0] >> 6 == VERSION and data[1] in REPORTS:
        size = 4 + 4 * int.from_bytes(data[2:4])
        if not 8 <= size <= len(data):
            return
        yield data[1], data[:size]
        data = data[size:]


def write(kind: int, number: int, stamp: int, source: int, payload: bytes) -> bytes:
    """Return an RTP packet; counters begin anew where their bits end."""
    return HEADER.pack(VERSION << 6, kind, number % (1 << 16), stamp % (1 << 32), source) + payload
