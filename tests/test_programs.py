"""The programs in bench/ import what they use: nothing else in the tests opens most of them."""

from __future__ import annotations

import importlib
import struct
from itertools import groupby
from pathlib import Path
from random import Random

import pytest

from bench.line import FAR, MOVED, NEAR, Fault, Losses, packed, readdressed
from tests.speech import missing

UDP = bytes.fromhex("4500002000004000401126310a4d00020a4d00011b591b58000c7a3b") + b"hell"
PROGRAMS = sorted(path.stem for path in (Path(__file__).parents[1] / "bench").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_can_be_opened(name):
    try:
        importlib.import_module(f"bench.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("rtsr", "tests", "bench"):
            raise
        missing(error.name or name)


@pytest.mark.parametrize(("loss", "burst"), [(0.01, 0.0), (0.1, 0.0), (0.05, 5.0)])
def test_as_many_packets_are_lost_and_as_many_in_a_row_as_told(loss, burst):
    losses, fault = Losses(Random(1)), Fault(loss=loss, burst=burst)
    lost = [losses.next(fault) for _ in range(100_000)]
    rows = [len(list(row)) for is_lost, row in groupby(lost) if is_lost]
    assert sum(lost) == pytest.approx(100_000 * loss, rel=0.15)
    assert sum(rows) / len(rows) == pytest.approx(burst or 1 / (1 - loss), rel=0.15)


def test_an_address_is_changed_and_the_header_stays_right():
    def total(header: bytes) -> int:
        found = sum(struct.unpack("!10H", header))
        return (found & 0xFFFF) + (found >> 16)

    moved = readdressed(UDP, MOVED, None)
    assert total(UDP[:20]) == total(moved[:20]) == 0xFFFF
    assert moved[12:16] == packed(MOVED)
    assert moved[26:28] == bytes(2), "no checksum of UDP"
    back = readdressed(moved, FAR, None)
    assert back[:26] == UDP[:26]
    assert back[28:] == UDP[28:]
    assert readdressed(UDP, None, FAR)[16:20] == packed(FAR) != packed(NEAR) == UDP[16:20]
