"""RTP and RTCP packets read from bytes: those that are any, and everything else."""

from __future__ import annotations

import random
import struct

import pytest

from rtsr.bridge.rtcp import BYE, RECEIVER_REPORT, SENDER_REPORT, Report, parse_report
from rtsr.bridge.rtp import HEADER, PayloadTypes, Read, is_report, parse, write
from rtsr.errors import RtsrError

PLAIN = HEADER.pack(0x80, 0, 7, 1_600, 9) + b"voice"


def rtcp(kind: int, source: int, more: bytes = b"", count: int = 0) -> bytes:
    return struct.pack("!BBHI", 0x80 | count, kind, 1 + len(more) // 4, source) + more


REPORT = rtcp(RECEIVER_REPORT, 9)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        HEADER.pack(0x80, 0x80, 7, 1_600, 9) + b"voice",  # marked
        HEADER.pack(0x83, 0, 7, 1_600, 9) + bytes(12) + b"voice",  # three contributing sources
        HEADER.pack(0x90, 0, 7, 1_600, 9) + b"\xbe\xde\x00\x01abcd" + b"voice",  # an extension
        HEADER.pack(0xA0, 0, 7, 1_600, 9) + b"voice" + b"\x00\x00\x03",  # padded
    ],
)
def test_a_packet_is_read_whatever_is_around_its_payload(data):
    assert parse(data) == Read(0, 7, 1_600, 9, b"voice")


def test_a_packet_of_another_kind_and_one_without_a_payload_are_read():
    assert parse(HEADER.pack(0x80, 101, 7, 1_600, 9) + b"tone").kind == 101
    assert parse(PLAIN[:12]).payload == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:11],
        b"\x00" + PLAIN[1:],
        HEADER.pack(0x8F, 0, 7, 1_600, 9) + b"fewer sources than said",
        HEADER.pack(0x90, 0, 7, 1_600, 9) + b"\xbe\xde\xff\xff",
        HEADER.pack(0x90, 0, 7, 1_600, 9) + b"\xbe",
        HEADER.pack(0xA0, 0, 7, 1_600, 9) + b"\xff",
        REPORT + bytes(8),
    ],
)
def test_what_is_none_is_none(data):
    assert parse(data) is None


@pytest.mark.parametrize(("second", "is_sound"), [(0, True), (191, True), (192, False), (223, False), (224, True)])
def test_the_second_byte_tells_reports_from_sound(second, is_sound):
    """RFC 5761, section 4: types of RTCP are 192 to 223."""
    data = bytes([0x80, second]) + PLAIN[2:]
    assert (parse(data) is not None, is_report(data)) == (is_sound, not is_sound)


def test_less_than_two_bytes_are_no_report():
    assert [is_report(data) for data in (b"", b"\xc8", b"\xc8\xc8")] == [False, False, True]


@pytest.mark.parametrize(
    ("given", "types"),
    [
        (("pcmu",), (0, 101, 13)),
        (("pcma", 8, 127), (8, 127, 13)),
        (("opus", 96), (96, 101, None)),
        (("opus", 127, 96), (127, 96, None)),
    ],
)
def test_payload_types_are_those_of_the_codec_or_agreed_on(given, types):
    found = PayloadTypes.of(*given)
    assert (found.codec, found.audio, found.events, found.noise) == (given[0], *types)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("pcmu", 8), "payload_type: expected 0 for pcmu, got 8"),
        (("opus", 95), "payload_type: expected 96 to 127, got 95"),
        (("opus", 128), "payload_type: expected 96 to 127, got 128"),
        (("pcmu", 0, 95), "event_type: expected 96 to 127, got 95"),
        (("opus", 96, 128), "event_type: expected 96 to 127, got 128"),
        (("opus", 101), "another than payload_type, got 101 for both"),
        (("mp3",), "mp3"),
    ],
)
def test_payload_types_that_do_not_fit_are_refused(given, said):
    with pytest.raises(RtsrError, match=said):
        PayloadTypes.of(*given)


def test_a_header_extension_is_written_and_read_over():
    packet = write(96, 1, 2, 3, b"payload", extension=b"\xbe\xde\0\1\x100\0\0")
    assert packet[0] == 0x90
    assert parse(packet) == (96, 1, 2, 3, b"payload")


def test_any_bytes_are_read_or_refused():
    rng = random.Random(1)
    for _ in range(20_000):
        data = bytes([rng.choice([0x80, 0x90, 0xA0, 0xBF]), rng.choice([0, 200, 201])]) + rng.randbytes(
            rng.randrange(60)
        )
        assert (parse(data) is None) or (parse_report(data) is None)


def test_what_is_written_is_read():
    assert parse(write(8, 65_537, 2**32 + 3, 5, b"x")) == Read(8, 1, 3, 5, b"x")


@pytest.mark.parametrize(
    ("data", "report"),
    [
        (REPORT, Report(9, leaves=False)),
        (rtcp(SENDER_REPORT, 9, bytes(20)), Report(9, leaves=False)),
        (REPORT + rtcp(202, 9, b"\x01\x00\x00\x00") + rtcp(BYE, 9, count=1), Report(9, leaves=True)),
        (REPORT + rtcp(BYE, 10, count=1), Report(9, leaves=False)),
        (rtcp(BYE, 9, count=1), None),  # a compound packet begins with a report
        (REPORT + b"\x80", None),
        (REPORT[:-1], None),
        (PLAIN, None),
        (b"", None),
    ],
)
def test_reports_are_read(data, report):
    assert parse_report(data) == report
