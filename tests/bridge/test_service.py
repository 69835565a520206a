"""A bridge as one object: what ends it, how healthy it says it is, and the certificates that it takes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtsr.bridge import media as media_module
from rtsr.bridge import service as service_module
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.service import BridgeService
from rtsr.bridge.tls import server_context
from rtsr.errors import InvalidSetting, RtsrError

pytestmark = pytest.mark.realtime


@pytest.fixture
def service() -> BridgeService:
    return BridgeService(BridgeSettings(listen="127.0.0.1:0", backend="null", calls=2))


@pytest.mark.parametrize(("calls", "rows"), [(300, 300), (None, 64)])
def test_the_backend_is_chosen_for_as_many_voices_as_may_call(monkeypatch, calls, rows):
    asked = []

    def load(model: str, backend: str, threads: int = 1, *, rows: int = 1) -> None:
        asked.append((model, backend, rows))
        raise InvalidSetting("that is all that was to be seen")

    monkeypatch.setattr(service_module, "load", load)
    with pytest.raises(InvalidSetting, match="all that was to be seen"):
        BridgeService(BridgeSettings(calls=calls))
    assert asked == [("voice-16k", "auto", rows)]


def test_a_clock_that_dies_ends_the_bridge_with_its_reason(service, monkeypatch):
    monkeypatch.setattr(service.media, "tick", lambda now_s: 1 / 0)
    with pytest.raises(RtsrError, match="ZeroDivisionError"):
        service.run()


def test_a_clock_that_dies_before_its_first_tick_ends_the_bridge_with_its_reason(service, monkeypatch):
    def refused() -> str:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(media_module, "ask_for_real_time", refused)
    with pytest.raises(RtsrError, match="current limit"):
        service.run()


def test_it_is_healthy_while_the_clock_ticks_and_not_while_it_stands_still(service, monkeypatch):
    def health() -> int:
        return asyncio.run(service.health(None)).status

    assert health() == 503
    service.media.start()
    assert health() == 200
    monkeypatch.setattr(service_module, "STALLED_S", 0.05)
    monkeypatch.setattr(service.media, "tick", lambda now_s: None)  # the thread is there, and does nothing
    time.sleep(0.3)
    assert health() == 503
    service.media.stop()
    service.loop.close()


def test_a_key_that_is_encrypted_is_an_error_and_no_question(tmp_path: Path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-passout", "pass:secret", "-subj", "/CN=x")
    command = ["openssl", "req", "-x509", *curve, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(InvalidSetting, match="expected a key that is not encrypted"):
        server_context(cert, key)


def test_the_clock_does_not_wait_long_for_requests_that_compute(service, monkeypatch):
    """An offer takes Python for milliseconds; the clock's thread gets the interpreter within a small part of a hop."""
    intervals = []
    monkeypatch.setattr(service, "_serve", lambda: asyncio.sleep(0, intervals.append(sys.getswitchinterval())))
    before = sys.getswitchinterval()
    try:
        service.run()
    finally:
        sys.setswitchinterval(before)
    assert intervals[0] <= 0.1 * service.media.hop_s
