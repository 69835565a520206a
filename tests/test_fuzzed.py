"""Whatever others send or leave in a file is read or refused, and nothing else happens."""

from __future__ import annotations

import importlib.util
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzed import BRIDGE, TARGETS, seeds

REPEATED = (b"[", b"{", b"(", b'{"a":', b"\x00", b"\xff", b"9", b"a.", b"\r\n", b"\x80\xc8")
HAS_BRIDGE = all(map(importlib.util.find_spec, ("aiortc", "aiohttp")))


@pytest.fixture(params=TARGETS)
def target(request) -> str:
    """The name of each target in turn; with CI=true the bridge's packages have to be there."""
    if request.param in BRIDGE and not HAS_BRIDGE and os.environ.get("CI") != "true":
        pytest.skip("needs rtsr[webrtc]")
    return request.param


@st.composite
def near(draw: st.DrawFn, known: list[bytes]) -> bytes:
    """Bytes that differ from known ones in a few places."""
    data = bytearray(draw(st.sampled_from(known)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.sampled_from((0, len(data))) | st.integers(0, len(data)))
        repeated = st.builds(lambda part, count: part * count, st.sampled_from(REPEATED), st.integers(1, 5_000))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8) | repeated)
    return bytes(data)


def test_the_corpus(target):
    known = seeds(target)
    assert known
    for data in known:
        TARGETS[target](data)


def test_any_bytes_are_read_or_refused(target):
    @settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(near([*seeds(target), b""]) | st.binary(max_size=300))
    def check(data: bytes) -> None:
        TARGETS[target](data)

    check()
