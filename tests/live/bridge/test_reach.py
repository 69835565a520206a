"""Calls through NAT, firewalls and TURN (coturn), in network namespaces, and with no network at all."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.live.bridge.chromium import chromium, high_share_db, join, launch, record, wait_for
from tests.live.bridge.network import (
    FIRST,
    GATE,
    HOME,
    HOME_MOVED,
    LAST,
    ME,
    ME_MOVED,
    RTSR,
    SECRET,
    TURN,
    WEB,
    Namespace,
    Network,
    need_network,
)
from tests.live.bridge.server import Bridge

pytestmark = pytest.mark.alone

TOKEN = "a-token"
URL = f"http://{GATE}:{WEB}"
UP_S, AGAIN_S = 3.0, 3.0  # bars: until a call is up, and until there is sound again
PLAIN_DB = -45.0  # of what is above the band of a telephone, where nothing is generated
WATCHED_S = 6.0
LOOPBACK = "--allow-loopback-in-peer-connection"  # without a network, Chromium sends nothing at all otherwise
WRAP = """{
  const Native = RTCPeerConnection;
  window.peers = [];
  window.RTCPeerConnection = class extends Native {
    constructor(given) {
      super({ ...given, ...WISH });
      window.peers.push(this);
    }
  };
}"""
PAIR = """async () => {
  const all = await window.peers.at(-1).getStats();
  const transport = [...all.values()].find((one) => one.type === "transport");
  const pair = all.get(transport.selectedCandidatePairId);
  const ends = [pair.localCandidateId, pair.remoteCandidateId].map((id) => all.get(id));
  return ends.map((one) => [one.candidateType, one.address, one.relayProtocol || ""]);
}"""
LONGEST_GAP = """(seconds) => {
  window.gap = (async () => {
    const began = performance.now(), known = new Map();
    let last = began, longest = 0;
    while (performance.now() < began + 1000 * seconds) {
      for (const peer of window.peers) {
        for (const one of (await peer.getStats()).values()) {
          if (one.type !== "inbound-rtp" || !(one.totalAudioEnergy > (known.get(peer) || 0) + 1e-9)) continue;
          known.set(peer, one.totalAudioEnergy);
          last = performance.now();
        }
      }
      longest = Math.max(longest, performance.now() - last);
      await new Promise((done) => setTimeout(done, 20));
    }
    return longest / 1000;
  })();
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate of the TURN server."""
    one = tmp_path_factory.mktemp("network")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    name = ("-subj", "/CN=turn", "-addext", f"subjectAltName=IP:{TURN}", "-keyout", "key.pem", "-out", "cert.pem")
    subprocess.run(["openssl", "req", "-x509", *curve, *name], check=True, capture_output=True, cwd=one)
    return one


@pytest.fixture(scope="module")
def net(folder: Path) -> Iterator[Network]:
    need_network()
    one = Network(folder)
    yield one
    one.close()


@pytest.fixture(scope="module")
def browser(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Chromium behind a symmetric NAT."""
    secure = f"--unsafely-treat-insecure-origin-as-secure={URL}"
    with chromium(tmp_path_factory.mktemp("voice"), secure, namespace=net.me.name) as one:
        yield one


@pytest.fixture
def start(net: Network, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Callable[..., Bridge]]:
    """Call it: a bridge behind the gate, which lets in its page and the ports for calls."""
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
    monkeypatch.setenv("RTSR_BRIDGE_TOKENS", TOKEN)
    started: list[Bridge] = []

    def begin(*more: str) -> Bridge:
        place = ("--listen", f"{RTSR}:{WEB}", "--allow-plain-http", "--advertise", GATE)
        started.append(net.rtsr.run(lambda: Bridge(*place, "--ice-ports", f"{FIRST}-{LAST}", *more)))
        return started[-1]

    yield begin
    for one in started:
        one.stop()


def turn(url: str) -> tuple[str, ...]:
    return ("--turn", url, "--turn-secret", SECRET)


@contextmanager
def page_of(browser, url: str = URL, **wish: object) -> Iterator[object]:
    """A page of the bridge, alone in its context, whose peer connections are made as is wished."""
    context = browser.new_context(permissions=["microphone"])
    try:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(WRAP.replace("WISH", json.dumps(wish)))
        page.goto(url)
        yield page
    finally:
        context.close()


def enter(page, room: str) -> float:
    """Join a room and return how long it took, in seconds."""
    page.fill("#token", TOKEN)
    began = time.monotonic()
    join(page, room)
    wait_for(page, "#status:text('In room')")
    return time.monotonic() - began


def test_a_bridge_behind_a_1_to_1_nat_is_called_from_behind_a_symmetric_one(browser, start):
    start("--backend", "null")
    with page_of(browser, iceServers=[]) as page:
        up_s = enter(page, "direct")
        _, (kind, address, _) = page.evaluate(PAIR)
        print(f"up {up_s:.2f} s")
        assert (kind, address) == ("host", GATE)
        assert up_s < UP_S


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_calls_over_a_relay_alone_are_enhanced_both_ways(browser, start, transport: str):
    start(*turn(f"turn:{TURN}?transport={transport}"))
    relay = {"iceTransportPolicy": "relay"}
    with page_of(browser, **relay) as one, page_of(browser, **relay) as other:
        up_s = [enter(page, "relayed") for page in (one, other)]
        for page in (one, other):
            (kind, address, protocol), _ = page.evaluate(PAIR)
            assert (kind, address, protocol) == ("relay", TURN, transport)
            wait_for(page, "#speakers li:has-text('enhanced above') >> nth=1")
        shares = [high_share_db(record(page, 3.0)) for page in (one, other)]
        print(f"{transport}: up {np.round(up_s, 2)} s, above the telephone's band {np.round(shares)} dB")
        assert min(up_s) < UP_S  # the first call of a browser also waits for its sound to start
        assert min(shares) > PLAIN_DB


def test_a_bridge_that_may_send_no_udp_is_called_over_its_own_relay_by_tls(browser, start, net: Network):
    net.close_gate(to_udp=True)
    try:
        start("--backend", "null", "--stun", f"stun:{TURN}", *turn(f"turns:{TURN}"))
        with page_of(browser) as page:
            up_s = enter(page, "shut")
            _, (kind, address, _) = page.evaluate(PAIR)
            print(f"up {up_s:.2f} s")
            assert (kind, address) == ("relay", TURN)  # after STUN, which cannot answer the bridge, was waited for
    finally:
        net.open_gate()


class Watch:
    """Reads in a namespace, until it is left, how long nothing of a speaker came to the bridge at a time."""

    def __init__(self, where: Namespace, room: str) -> None:
        self.longest_s = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=where.run, args=(self._watch, room))

    def _watch(self, room: str) -> None:
        last_s, known = time.monotonic(), {}
        request = urllib.request.Request(f"{URL}/rooms/{room}")
        request.add_header("Authorization", f"Bearer {TOKEN}")
        while not self._ending.wait(0.05):
            with urllib.request.urlopen(request, timeout=5) as reply:
                calls = json.load(reply)["calls"]
            received = {call["id"]: call["speaker"]["received"] for call in calls}
            if any(count > known.get(one, 0) for one, count in received.items()):
                last_s = time.monotonic()
            known = received
            self.longest_s = max(self.longest_s, time.monotonic() - last_s)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


@pytest.mark.parametrize("whose", ["the machine's", "the router's"])
def test_after_a_change_of_address_there_is_sound_again(browser, start, net: Network, whose: str):
    start("--backend", "null")
    with ExitStack() as undo, page_of(browser, iceServers=[]) as page:
        page.fill("#token", TOKEN)
        page.click("[data-narrow='8000']")  # it hears itself
        wait_for(page, "#speakers li")
        page.evaluate("() => new Promise((done) => setTimeout(done, 1000))")
        room = page.input_value("#room")
        with Watch(net.turn, room) as heard:
            page.evaluate(LONGEST_GAP, WATCHED_S)
            if whose == "the machine's":
                net.move_me(ME, ME_MOVED)
                undo.callback(net.move_me, ME_MOVED, ME)
            else:
                net.masquerade(HOME, HOME_MOVED)
                undo.callback(net.masquerade, HOME_MOVED, HOME)
            longest_s = page.evaluate("() => window.gap")
        print(f"{whose} address: {longest_s:.2f} s without sound there, {heard.longest_s:.2f} s here")
        assert "Connected" in page.inner_text("#status")
        assert page.locator("#speakers li").count() == 1
        assert longest_s < AGAIN_S
        assert heard.longest_s < AGAIN_S
        if whose == "the machine's":  # the other change is over with the browser's next check of its way
            assert longest_s > 0.3, "the address has not changed"


def test_a_machine_without_a_network_calls_itself(browser, tmp_path: Path):
    alone = Namespace("alone")
    try:
        bridge = alone.run(lambda: Bridge("--backend", "null"))
        inside = launch(browser.browser_type, tmp_path, LOOPBACK, namespace=alone.name)
        with closing(inside), page_of(inside, bridge.url) as page:
            enter(page, "alone")
            assert page.evaluate(PAIR)[1][1] == "127.0.0.1"
        assert bridge.stop() == 0
    finally:
        alone.close()
