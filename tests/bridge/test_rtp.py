"""RTP packets read from bytes: those that are any, and everything else."""

from __future__ import annotations

import random

import pytest

from rtsr.bridge import rtp
from rtsr.bridge.calls import Calls
from rtsr.bridge.config import Settings
from rtsr.bridge.engine import Engine
from rtsr.bridge.rtp import HEADER, RtpLeg, parse

PLAIN = HEADER.pack(0x80, 0, 7, 1_600, 9) + b"voice"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        HEADER.pack(0x80, 0x80, 7, 1_600, 9) + b"voice",  # marked
        HEADER.pack(0x82, 0, 7, 1_600, 9) + bytes(8) + b"voice",  # two contributing sources
        HEADER.pack(0x90, 0, 7, 1_600, 9) + b"\xbe\xde\x00\x01abcd" + b"voice",  # an extension
        HEADER.pack(0xA0, 0, 7, 1_600, 9) + b"voice" + b"\x00\x00\x03",  # padded
    ],
)
def test_a_packet_is_read_whatever_is_around_its_payload(data):
    assert parse(data, 0) == (7, 1_600, b"voice")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:11],
        PLAIN[:12],
        b"\x00" + PLAIN[1:],
        HEADER.pack(0x80, 8, 7, 1_600, 9) + b"another codec",
        HEADER.pack(0x8F, 0, 7, 1_600, 9) + b"fewer sources than said",
        HEADER.pack(0x90, 0, 7, 1_600, 9) + b"\xbe\xde\xff\xff",
        HEADER.pack(0x90, 0, 7, 1_600, 9) + b"\xbe",
        HEADER.pack(0xA0, 0, 7, 1_600, 9) + b"\xff",
    ],
)
def test_what_is_none_is_none(data):
    assert parse(data, 0) is None


def test_any_bytes_are_read_or_refused():
    rng = random.Random(1)
    for _ in range(20_000):
        found = parse(bytes([rng.choice([0x80, 0x90, 0xA0, 0xBF]), 0]) + rng.randbytes(rng.randrange(60)), 0)
        assert found is None or found[2]


def test_a_caller_is_heard_also_just_after_the_machine_started(null, monkeypatch):
    said: list[object] = []
    leg = RtpLeg(Settings(), Calls(Engine(null, 2, print), Settings(), 2))
    monkeypatch.setattr(leg._leg.speaker, "put", said.append)
    monkeypatch.setattr(rtp.time, "monotonic", lambda: 1.0)
    leg.datagram_received(PLAIN, ("127.0.0.1", 9))
    leg.datagram_received(PLAIN, ("127.0.0.1", 10))  # another, while one speaks
    assert len(said) == 1
