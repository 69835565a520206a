"""A browser and a telephone of a PBX: baresip, through kamailio, in either direction, each hears the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rtsr.dsp.resample import Resampler
from tests.live.bridge.baresip import Telephone
from tests.live.bridge.chromium import chromium, join, record, wait_for
from tests.live.bridge.kamailio import Proxy
from tests.live.bridge.listening import Likeness, as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.server import Bridge
from tests.live.bridge.sipp import free_port
from tests.live.bridge.test_sip_proxy import SECRET, settings

pytestmark = pytest.mark.alone

TIMES = 2  # that a voice is said: a busy machine tears a stretch into pieces that cannot be aligned
DIAL = """async () => {
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch("/rooms/desk/sip", { method: "POST", headers, body: '{"to": "bob"}' });
  return [reply.status, reply.headers.get("Location")];
}"""
HANG_UP = "async (place) => (await fetch(place, { method: 'DELETE' })).status"


def telephone(folder: Path, proxy: Proxy, codec: str, rate: int) -> Telephone:
    """One that is registered as bob, speaks a narrowband voice, and answers by itself."""
    account = f'<sip:bob@127.0.0.1>;auth_user=bob;auth_pass={SECRET};outbound="sip:127.0.0.1:{proxy.port}"'
    account += f";audio_codecs={codec};regint=60;answermode=auto"
    voice = np.tile(demo_voice(), TIMES)
    spoken = voice if rate == 8_000 else Resampler(8_000, rate, 160).process(voice)
    return Telephone(folder, spoken, rate, account, f"127.0.0.1:{free_port()}")


def in_background(one: Telephone, seconds: float, dial: str | None = None) -> threading.Thread:
    thread = threading.Thread(target=lambda: asyncio.run(one.run(seconds, dial)))
    thread.start()
    return thread


def at_the_browser(page, sent: np.ndarray) -> Likeness:
    """What the browser hears of the telephone."""
    wait_for(page, "#speakers li >> nth=1")
    for _ in range(TIMES):
        found = compare(record(page, 5.0), at_48k(sent, 8_000), enhanced(sent, 8_000))
        if found.pieces >= 3:
            break
    return found


def at_the_telephone(one: Telephone, offline: np.ndarray, plain: np.ndarray) -> Likeness:
    return compare(at_48k(one.heard(), one.rate), plain, offline)


def test_a_browser_and_baresip_hear_each_other_through_kamailio(
    start_bridge: Callable[..., Bridge], tmp_path: Path, pictures: Path
):
    proxy, voice = Proxy(tmp_path, SECRET), np.tile(demo_voice(), 2)
    narrow = telephone(tmp_path / "narrow", proxy, "pcmu", 8_000)
    wide = telephone(tmp_path / "wide", proxy, "g722", 16_000)
    seconds = TIMES * len(demo_voice()) / 8_000
    try:
        bridge = start_bridge(settings=settings(proxy))
        bridge.wait_for(r"event=\"?sip registered\"? name=pbx")
        with chromium(tmp_path) as browser:
            page = browser.new_page()
            page.goto(bridge.url)
            join(page, "desk")
            calling = in_background(narrow, seconds, f"sip:room@127.0.0.1:{proxy.port}")
            first = at_the_browser(page, as_g711(voice, "pcmu"))
            page.screenshot(path=pictures / "telephone.png")
            calling.join()
            page.wait_for_selector("#speakers li >> nth=1", state="detached")
            answering = in_background(wide, seconds + 2)
            page.wait_for_timeout(2_000)  # it registers
            status, place = page.evaluate(DIAL)
            assert status == 201
            second = at_the_browser(page, voice)
            assert page.evaluate(HANG_UP, place) == 200
            answering.join()
        assert bridge.stop() == 0
    finally:
        proxy.stop()
    plainly, offline = at_48k(voice, 8_000), enhanced(voice, 8_000)
    back = at_the_telephone(narrow, plainly, offline), at_the_telephone(wide, offline, plainly)
    print(first, second, *back, sep="\n")
    assert min(found.pieces for found in (first, second, *back)) >= 3
    for found in (first, second, back[1]):
        assert found.lsd < 0.75 * found.lsd_plain, "nearer to the plain voice than to the enhanced one"
        assert found.high_db > -8, "the generated band is missing"
