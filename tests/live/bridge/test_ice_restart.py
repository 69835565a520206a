"""ICE restarts within a call that an offer began: a browser's second offer, and offers that are none."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest

from tests.live.bridge.chromium import chromium
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge

pytestmark = pytest.mark.alone

RESTART = """async () => {
  const until = async (what) => { while (!(await what())) await new Promise((done) => setTimeout(done, 20)); };
  const peer = new RTCPeerConnection();
  peer.addTrack((await navigator.mediaDevices.getUserMedia({ audio: true })).getTracks()[0]);
  const offer = async () => {
    await peer.setLocalDescription();
    await until(() => peer.iceGatheringState === "complete");
    return { sdp: peer.localDescription.sdp };
  };
  const ask = async (method, place) => {
    const headers = { "Content-Type": "application/json" }, body = JSON.stringify(await offer());
    const reply = await fetch(place, { method, headers, body });
    const { sdp, error } = await reply.json();
    if (error) throw new Error(error);
    await peer.setRemoteDescription({ type: "answer", sdp });
    return [reply.headers.get("Location"), reply.status, sdp];
  };
  const [place] = await ask("POST", "/rooms/again/offer");
  await until(() => peer.connectionState === "connected");
  const found = [];
  for (let i = 0; i < 2; i++) {
    peer.restartIce();
    const [, status, sdp] = await ask("PATCH", place);
    await until(async () => {
      const all = await peer.getStats();
      const way = [...all.values()].find((one) => one.type === "transport");
      const pair = all.get(way.selectedCandidatePairId);
      return pair && sdp.includes(` ${all.get(pair.remoteCandidateId).port} typ`);
    });
    found.push(status);
  }
  window.peer = peer;
  return [found, peer.connectionState];
}"""
RECEIVED = "async () => (await (await fetch('/rooms/again')).json()).calls.map((one) => one.speaker.received)"


def test_a_browser_restarts_ice_by_another_offer_and_its_call_goes_on(bridge: Bridge, tmp_path: Path):
    with chromium(tmp_path) as browser:
        page = browser.new_page()
        page.goto(bridge.url)
        assert page.evaluate(RESTART) == [[200, 200], "connected"]
        bridge.wait_for("event=restarted .*room=again")
        before = page.evaluate(RECEIVED)
        page.wait_for_timeout(500)
        after = page.evaluate(RECEIVED)
        assert len(before) == len(after) == 1
        assert after[0] > before[0] + 10
        page.close()


def test_offers_that_change_more_than_ice_are_refused(bridge: Bridge):
    async def call() -> None:
        async with Client(bridge.url) as client:
            peer = await client.call("other", VoiceTrack(np.zeros(960, np.float32)))
            mine = peer.connection.localDescription.sdp
            other = re.sub("a=ice-ufrag:.*", "a=ice-ufrag:abcd", mine)
            for sdp, why in (
                (mine, "another a=ice-ufrag"),
                (await client.offer(), "fingerprint"),
                (other + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n", "sections"),
                (other.replace("a=mid:0", "a=mid:1"), "sections"),
                ("a=ice-ufrag:abcd", "sections"),
                (re.sub("a=ice-pwd:.*", "a=ice-pwd:short", other), "a=ice-pwd"),
            ):
                async with client.http.patch(peer.location, json={"sdp": sdp}) as reply:
                    assert (reply.status, why in await reply.text()) == (400, True), (sdp, await reply.text())
            async with client.http.post("/rooms/other/rtp", json={}) as reply:
                leg = (await reply.json())["call"]
            async with client.http.patch(f"/rooms/other/calls/{leg}", json={"sdp": other}) as reply:
                assert (reply.status, "WebRTC" in await reply.text()) == (400, True)
            assert len(await client.room("other")) == 2

    asyncio.run(call())
