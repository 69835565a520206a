"""The clock of the media thread: its load, its orders, its end."""

from __future__ import annotations

import pytest

from rtsr.bridge.codec import OPUS
from rtsr.bridge.leg import Leg
from rtsr.bridge.media import BUSY_WINDOW
from rtsr.bridge.mix import MIX_RATE
from tests.bridge.test_media import Played

pytestmark = pytest.mark.realtime


def test_the_first_ticks_are_slow_and_no_load(null):
    media = Played(null).media
    media.tick_s.extend([3 * media.hop_s] * 3)
    assert media.load == 0
    media.tick_s.extend([0.5 * media.hop_s] * BUSY_WINDOW)
    media.tick_s.extend([9 * media.hop_s] * 3)
    assert media.load == pytest.approx(0.5)
    media.tick_s.extend([3 * media.hop_s] * BUSY_WINDOW)
    assert media.load == pytest.approx(3)


def test_an_order_whose_client_went_away_stops_nobody(null):
    played = Played(null)
    leg = played.leg("x")
    media = played.media
    media._ticking = True  # as if the clock ran: orders wait for the next tick
    gone, stays = media.bypass(leg, True), media.bypass(leg, False)
    fails = media.leave(Leg("y", "nowhere", None, None, OPUS))
    fails.cancel()
    assert gone.cancel()
    media.tick(0.0)
    assert stays.done()
    assert stays.exception() is None
    assert media.failed is None


def test_orders_are_executed_when_the_clock_has_stopped(null, monkeypatch):
    media = Played(null).media
    monkeypatch.setattr(media, "tick", lambda now_s: 1 / 0)
    media.start()
    media._thread.join(5)
    assert isinstance(media.failed, ZeroDivisionError)
    media.leave(Leg("x", "r", None, None, OPUS)).result(1)


def test_a_clock_that_dies_before_its_first_tick_executes_orders_and_ends(null, monkeypatch):
    from rtsr.bridge import media as module

    def refused() -> str:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(module, "ask_for_real_time", refused)
    media = Played(null).media
    media.start()
    media.leave(Leg("x", "r", None, None, OPUS)).result(5)
    media._thread.join(5)
    assert not media.alive
    assert isinstance(media.failed, ValueError)
    media.leave(Leg("y", "r", None, None, OPUS)).result(1)
    media.stop()


def test_a_clock_that_cannot_start_executes_orders(null, monkeypatch):
    media = Played(null).media

    def no_thread() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(media._thread, "start", no_thread)
    with pytest.raises(RuntimeError, match="thread"):
        media.start()
    media.leave(Leg("x", "r", None, None, OPUS)).result(1)


def test_the_clock_keeps_time_and_its_thread_ends(null):
    import threading
    import time

    one = Played(null)
    one.media.start()
    leg = Leg("x", "r", None, lambda *_: None, OPUS)
    one.media.join(leg).result(2)
    before, began = one.media.ticks, time.monotonic()
    time.sleep(0.5)
    ticked, passed = one.media.ticks - before, time.monotonic() - began
    assert ticked == pytest.approx(passed * 200, abs=15)
    one.media.leave(leg).result(2)
    one.media.stop()
    assert not [t for t in threading.enumerate() if t.name == "rtsr bridge clock"]
    assert MIX_RATE == 48_000
