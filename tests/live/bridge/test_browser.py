"""The page in a real browser: headless Chromium, with a recorded voice as its microphone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.live.bridge.chromium import chromium, high_share_db, join, record, wait_for
from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.server import Bridge

pytestmark = pytest.mark.alone

MUTE = """{
  const media = navigator.mediaDevices, take = media.getUserMedia.bind(media);
  media.getUserMedia = async (wish) => {
    const stream = await take(wish);
    stream.getTracks().forEach((track) => (track.enabled = false));
    return stream;
  };
}"""
HANG_UP = """async (room) => {
  const { calls } = await (await fetch(`/rooms/${room}`)).json();
  await Promise.all(calls.map((one) => fetch(`/rooms/${room}/calls/${one.id}`, { method: "DELETE" })));
}"""
RESTART = """async (room) => {
  const gathered = (peer) => new Promise((done) => {
    const look = () => peer.iceGatheringState === "complete" && done();
    peer.onicegatheringstatechange = look;
    look();
  });
  const lines = (sdp, start) => sdp.split(/\\r?\\n/).filter((line) => line.startsWith(start));
  const until = async (what) => { while (!(await what())) await new Promise((done) => setTimeout(done, 20)); };
  const peer = new RTCPeerConnection();
  peer.addTrack((await navigator.mediaDevices.getUserMedia({ audio: true })).getTracks()[0]);
  await peer.setLocalDescription();
  await gathered(peer);
  const headers = { "Content-Type": "application/sdp" };
  const made = await fetch(`/whip/${room}`, { method: "POST", headers, body: peer.localDescription.sdp });
  const sdp = await made.text(), place = made.headers.get("Location"), tag = made.headers.get("ETag");
  await peer.setRemoteDescription({ type: "answer", sdp });
  await until(() => peer.connectionState === "connected");
  peer.restartIce();
  await peer.setLocalDescription();
  await gathered(peer);
  const mine = peer.localDescription.sdp;
  const wanted = ["a=ice-ufrag", "a=ice-pwd", "m=audio", "a=mid", "a=candidate"];
  const body = wanted.flatMap((start) => lines(mine, start)).join("\\r\\n") + "\\r\\n";
  const more = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag };
  const reply = await fetch(place, { method: "PATCH", headers: more, body });
  const theirs = await reply.text();
  const kept = sdp.split("\\r\\n").filter((line) => !/^a=(candidate|end-of-candidates|ice-)/.test(line) && line);
  const news = ["a=ice-ufrag", "a=ice-pwd", "a=candidate"].flatMap((start) => lines(theirs, start));
  await peer.setRemoteDescription({ type: "answer", sdp: [...kept, ...news, ""].join("\\r\\n") });
  await until(async () => {
    const all = await peer.getStats();
    const ways = [...all.values()].filter((one) => one.type === "transport");
    const pair = all.get(ways[0].selectedCandidatePairId);
    const port = pair && all.get(pair.remoteCandidateId).port;
    return pair && lines(theirs, "a=candidate").some((one) => one.includes(` ${port} `));
  });
  window.restarted = peer;
  return [reply.status, tag !== reply.headers.get("ETag"), place, peer.connectionState];
}"""
STRETCHES = 4  # that are listened to, at most
WIDE, PHONE = {"width": 800, "height": 600}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Chromium, whose microphone says the bundled telephone prompt over and over."""
    with chromium(tmp_path_factory.mktemp("voice")) as one:
        yield one


@pytest.fixture
def open_page(browser, bridge: Bridge) -> Iterator[object]:
    """Call it: a new page of the bridge, alone in its context. Every page has to be free of errors in the end."""
    contexts, troubles, asked = [], [], []

    def make(viewport: dict[str, int] = WIDE, silent: bool = False):
        contexts.append(browser.new_context(viewport=viewport, permissions=["microphone"]))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.add_init_script(MUTE if silent else "")
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda line: troubles.append(line.text) if is_trouble(line) else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(bridge.url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not troubles
    assert all(url.startswith(bridge.url) for url in asked), "the page asks others"


def is_trouble(line) -> bool:
    """Whether a line of the console is an error of the page; the browser itself notes that a call was hung up (410)."""
    return line.type == "error" and "status of 410" not in line.text


def button_of(page, codec: str):
    """The button of the speaker with a codec."""
    wait_for(page, f"#speakers li:has-text('in {codec}')")
    return page.locator("#speakers li", has_text=f"in {codec}").locator("button")


@pytest.mark.parametrize("codec", ["", "pcmu"])
def test_the_far_browser_hears_the_voice_enhanced_and_bypass_toggles_it(
    open_page, bridge: Bridge, codec: str, pictures: Path
):
    room = f"browser-{codec or 'opus'}"
    speaker, listener = open_page(), open_page()
    join(speaker, room, codec)
    join(listener, room)
    connected_ms = int(bridge.wait_for(rf"event=joined .*room={room} after_ms=(\d+)"))
    assert connected_ms < 2_000
    wait_for(listener, "#speakers li >> nth=1")
    prompt = demo_voice()
    twice = np.tile(as_g711(prompt, codec) if codec else prompt, 2)
    plainly, offline = at_48k(twice, 8_000), enhanced(twice, 8_000)
    for _ in range(STRETCHES):  # a busy machine tears a stretch into pieces that cannot be aligned
        heard = record(listener, 5.0)
        found = compare(heard, plainly, offline)
        if found.pieces >= 3:
            break
    listener.screenshot(path=pictures / f"{room}.png")
    print(codec, connected_ms, found.pieces, found.lsd, found.lsd_plain, found.high_db)
    assert found.pieces >= 3
    assert found.lsd < 0.75 * found.lsd_plain, "nearer to the plain voice than to the enhanced one"
    assert found.high_db > -8, "the generated band is missing"
    row = listener.locator("#speakers li", has_text=f"in {codec or 'opus'}").filter(has_not_text="(you)")
    row.locator("button").click()
    wait_for(listener, "#speakers button:text-is('plain')")
    plain = record(listener, 2.5)
    listener.screenshot(path=pictures / f"{room}-plain.png")
    assert high_share_db(plain) < high_share_db(heard) - 6
    listener.click("#leave")
    wait_for(listener, "#status:text('Left')")


def test_two_listeners_hear_the_same_speaker_as_each_of_them_chose(open_page, bridge: Bridge, pictures: Path):
    pages = {name: open_page(silent=name != "speaker") for name in ("speaker", "first", "second")}
    for name, page in pages.items():
        join(page, "choice", "pcmu" if name == "speaker" else "")
    buttons = {name: button_of(pages[name], "pcmu") for name in ("first", "second")}

    def shares() -> tuple[float, float]:
        first, second = (high_share_db(record(pages[name], 2.5)) for name in buttons)
        return first, second

    assert buttons["first"].inner_text() == buttons["second"].inner_text() == "enhanced"
    assert not button_of(pages["speaker"], "pcmu").is_visible(), "nobody hears itself in a room"
    buttons["first"].click()
    wait_for(pages["first"], "#speakers button:text-is('plain')")
    plain, enhanced = shares()
    assert plain < enhanced - 6
    assert buttons["second"].inner_text() == "enhanced"
    buttons["first"].click()
    buttons["second"].click()
    wait_for(pages["second"], "#speakers button:text-is('plain')")
    wait_for(pages["first"], "#speakers button:text-is('enhanced') >> nth=0")
    pages["second"].screenshot(path=pictures / "choice.png")
    enhanced, plain = shares()
    assert plain < enhanced - 6


def test_who_leaves_or_is_hung_up_on_leaves_no_error_in_any_page(open_page, bridge: Bridge):
    """Clicks and polls race the end of a call: of another's, which changes nothing, and of one's own, which is told."""
    stays, leaves = open_page(), open_page()
    for page in (leaves, stays):
        join(page, "races")
    wait_for(stays, "#speakers li >> nth=1")
    button = stays.locator("#speakers li", has_not_text="(you)").locator("button").element_handle()
    button.click()
    leaves.click("#leave")
    for _ in range(20):
        button.evaluate("button => button.click()")
    stays.wait_for_selector("#speakers li >> nth=1", state="detached")
    assert "In room" in stays.inner_text("#status")
    stays.evaluate(HANG_UP, "races")
    wait_for(stays, "#status:text('The call has ended: hung up')")
    stays.wait_for_selector("#call", state="hidden")
    join(stays, "races")
    stays.reload()
    wait_for(stays, "#join")


def test_a_user_who_leaves_has_hung_up_also_where_the_request_is_slow(browser, bridge: Bridge):
    page = browser.new_page()
    page.goto(bridge.url)
    join(page, "slow")

    def delay(route) -> None:
        time.sleep(0.5)
        route.continue_()

    page.route("**/calls/*", delay)
    page.click("#leave")
    wait_for(page, "#status:text('Left')")
    bridge.wait_for("event=ended .*room=slow why='?\"?hung up")
    page.close()


def test_a_page_calls_again_where_its_bridge_has_ended_and_begun_anew(browser, start_bridge):
    first = start_bridge("--backend", "null")
    page = browser.new_page()
    page.goto(first.url)
    join(page, "restart", "pcmu")
    first.close()
    wait_for(page, "#status:text('The bridge does not answer. Calling again')")
    second = start_bridge("--backend", "null", "--listen", first.url.removeprefix("http://"))
    began = time.monotonic()
    second.wait_for("event=joined .*room=restart")
    assert time.monotonic() - began < 3
    wait_for(page, "#status:text('In room')")
    assert "in pcmu (you)" in page.inner_text("#speakers")
    assert np.abs(record(page, 0.5)).size
    page.click("#leave")
    second.wait_for("event=ended .*room=restart why='?\"?hung up")
    page.close()


def test_a_page_whose_answer_was_lost_joins_again_without_leaving_a_call(browser, bridge: Bridge):
    page = browser.new_page()
    page.goto(bridge.url)

    def lose(route) -> None:
        assert route.fetch().status == 201
        route.abort()

    page.route("**/offer", lose)
    page.fill("#room", "lost")
    page.click("#join")
    wait_for(page, "#status:text('The bridge does not answer')")
    page.unroute("**/offer")
    page.click("#join")
    wait_for(page, "#speakers li")
    assert page.evaluate("async () => (await (await fetch('/rooms/lost')).json()).calls.length") == 1
    bridge.wait_for("event=ended .*room=lost .*called again")
    page.close()


def test_an_ice_restart_keeps_the_session(open_page, bridge: Bridge):
    page = open_page()
    status, new_tag, place, state = page.evaluate(RESTART, "restarted")
    assert (status, new_tag, state) == (200, True, "connected")
    bridge.wait_for("event=restarted .*room=restarted")
    received = "async () => (await (await fetch('/rooms/restarted')).json()).calls.map((c) => c.speaker.received)"
    before = page.evaluate(received)
    page.wait_for_timeout(500)
    after = page.evaluate(received)
    assert len(before) == len(after) == 1
    assert after[0] > before[0] + 10
    assert page.evaluate("async (place) => (await fetch(place, { method: 'DELETE' })).status", place) == 200


@pytest.mark.parametrize("narrow", [8_000, 4_000])
def test_one_alone_on_a_phone_hears_itself(open_page, narrow: int, pictures: Path):
    page = open_page(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.fill("#room", f"own-{narrow}")
    page.check("#headphones")
    page.click(f"[data-narrow='{narrow}']")
    wait_for(page, "#speakers li")
    wait_for(page, f"#speakers small:text(', {narrow // 1000} kHz')")
    heard = record(page, 2.5)
    page.screenshot(path=pictures / f"phone-{narrow}.png", full_page=True)
    assert np.sqrt(np.mean(heard**2)) > 0.003
    page.click("#speakers button")
    wait_for(page, "#speakers button:text-is('plain')")
    assert high_share_db(record(page, 2.5)) < high_share_db(heard) - 6
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.inner_text("#figures").count("ms") >= 4


def test_a_page_says_what_went_wrong(browser, start_bridge):
    shut = start_bridge("--token", "a secret")
    page = browser.new_page()
    page.goto(shut.url)
    page.click("#join")
    wait_for(page, "#status:text('token')")
    page.fill("#token", "a secret")
    page.click("#join")
    wait_for(page, "#speakers li")
    page.close()
