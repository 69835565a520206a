"""SRTP by SDES: lines as SDP has them, packets of libsrtp, and what is not authentic."""

from __future__ import annotations

import base64
import random

import pytest

from rtsr.bridge.rtp import write
from rtsr.bridge.srtp import MOST_SOURCES, SUITES, Crypto, Srtp
from rtsr.errors import InvalidSetting

SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY = base64.b64encode(bytes(range(30))).decode()


@pytest.mark.parametrize(
    ("line", "tag"),
    [(f"{SUITE} inline:{KEY}", "1"), (f"1 {SUITE} inline:{KEY}", "1"), (f"22 {SUITE} inline:{KEY}|2^20", "22")],
)
def test_a_line_is_read(line, tag):
    found = Crypto.parse(line)
    assert (found.suite, found.key, found.tag, found.answer().tag) == (SUITE, bytes(range(30)), tag, tag)
    assert found.line == f"{tag} {SUITE} inline:{KEY}"
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    "line",
    [
        None,
        7,
        "",
        SUITE,
        f"{SUITE} inline:",
        f"{SUITE} inline:short",
        f"{SUITE} inline:{KEY[:-4]}",
        f"{SUITE} inline:{KEY}|2^20|1:4",
        f"{SUITE} inline:{KEY}|1:4",
        f"{SUITE} inline:{KEY};inline:{KEY}",
        f"{SUITE} inline:{KEY} UNENCRYPTED_SRTP",
        f"F8_128_HMAC_SHA1_80 inline:{KEY}",
        f"{SUITE} inline:{KEY}" + " " * 1_000,
        f"{SUITE} inline:\u00e9{KEY}",
    ],
)
def test_another_line_is_refused(line):
    with pytest.raises(InvalidSetting, match="crypto"):
        Crypto.parse(line)


@pytest.mark.parametrize("suite", SUITES)
def test_two_ends_understand_each_other_and_nobody_else(suite):
    offered = Crypto.parse(f"{suite} inline:{base64.b64encode(bytes(SUITES[suite][1])).decode()}")
    answered = offered.answer()
    assert (answered.suite, len(answered.key)) == (suite, len(offered.key))
    assert answered.key != offered.key
    near, far = Srtp(answered, offered), Srtp(offered, answered)
    packet = write(0, 1, 160, 7, b"voice")
    sent = far.protect(packet)
    assert b"voice" not in sent
    assert near.unprotect(sent) == packet
    assert near.unprotect(sent) is None, "a packet that came before is taken again"
    assert near.unprotect(packet) is None
    report = b"\x80\xc9\x00\x01" + (7).to_bytes(4)
    assert near.unprotect(far.protect(report, report=True), report=True) == report


@pytest.mark.parametrize("report", [False, True])
def test_a_peer_that_names_ever_new_sources_is_remembered_by_the_last_of_them(report):
    """libsrtp keeps a stream a source: one that is forgotten does not know that a packet came before."""
    offered = Crypto.parse(f"{SUITE} inline:{KEY}")
    answered = offered.answer()
    near, far = Srtp(answered, offered), Srtp(offered, answered)
    plain = [
        b"\x80\xc9\x00\x01" + source.to_bytes(4) if report else write(0, 1, 160, source, b"voice")
        for source in range(100)
    ]
    sent = [far.protect(packet, report=report) for packet in plain]
    for packet, expected in zip(sent, plain, strict=True):
        assert near.unprotect(packet, report=report) == expected
        assert near.unprotect(packet, report=report) is None
    came_before = [near.unprotect(packet, report=report) is None for packet in reversed(sent)]
    assert came_before == [True] * MOST_SOURCES + [False] * (100 - MOST_SOURCES)


def test_any_bytes_are_refused():
    offered = Crypto.parse(f"{SUITE} inline:{KEY}")
    near, rng = Srtp(offered.answer(), offered), random.Random(1)
    for _ in range(2_000):
        data = bytes([0x80]) + rng.randbytes(rng.randrange(1_600))
        assert near.unprotect(data) is None
        assert near.unprotect(data, report=True) is None
