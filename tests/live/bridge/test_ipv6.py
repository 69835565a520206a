"""Calls where there is no IPv4: through a NAT of IPv6 by STUN, and RTP at an address that is advertised.

me 2001:db8:7::2 ── wan (coturn) ── gate 2001:db8:1::4 ── rtsr fd00:8::2
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.live.bridge.listening import DEMO, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.network import START_S, Namespace, need_network
from tests.live.bridge.peers import Client, Peer, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.live.bridge.test_rtp_on_demand import FFMPEG, open_leg, spoken

pytestmark = pytest.mark.alone

WAN, GATE, ME, RTSR = "2001:db8:1::1", "2001:db8:1::4", "2001:db8:7::2", "fd00:8::2"
WEB, FIRST, LAST = 8_443, 20_000, 20_049
URL, TOKEN = f"http://[{GATE}]:{WEB}", "a-token"
SILENCE = np.zeros(960, np.float32)


def answers() -> bool:
    """Whether the STUN server is there, soon."""
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        try:
            socket.create_connection((WAN, 3_478), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


class Network:
    """The network of the picture above."""

    def __init__(self, folder: Path) -> None:
        names = ("6wan", "6gate", "6rtsr", "6me")
        self.wan, self.gate, self.rtsr, self.me = self._all = [Namespace(name) for name in names]
        self._stun: subprocess.Popen[bytes] | None = None
        try:
            self._build(folder)
        except BaseException:
            self.close()
            raise

    def _build(self, folder: Path) -> None:
        for router, inside, first, second in (
            (self.wan, self.gate, WAN, GATE),
            (self.wan, self.me, "2001:db8:7::1", ME),
            (self.gate, self.rtsr, "fd00:8::1", RTSR),
        ):
            device = inside.name[-2:]
            router.link(inside, device, "uplink")
            router.ip("address", "add", f"{first}/64", "dev", device, "nodad")
            inside.ip("address", "add", f"{second}/64", "dev", "uplink", "nodad")
            inside.ip("route", "add", "default", "via", first)
            router.run(Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text, "1")
        self.gate.nft(f"""
            table ip6 nat {{
                chain come {{
                    type nat hook prerouting priority -100;
                    iifname "uplink" udp dport {FIRST}-{LAST} dnat to {RTSR}
                    iifname "uplink" tcp dport {WEB} dnat to {RTSR}
                }}
                chain out {{ type nat hook postrouting priority 100; oifname "uplink" masquerade; }}
            }}
        """)
        command = ["turnserver", "-n", "--listening-ip", WAN, "--stun-only", "--no-cli", "--no-tls", "--no-dtls"]
        command += ["--log-file", "stdout", "--pidfile", str(folder / "pid"), "--userdb", str(folder / "db")]
        with (folder / "stun.log").open("wb") as log:
            self._stun = self.wan.run(lambda: subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
        assert self.wan.run(answers), (folder / "stun.log").read_text()

    def close(self) -> None:
        """Leave nothing of it."""
        if self._stun:
            self._stun.kill()
            self._stun.wait()
        for one in self._all:
            one.close()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    need_network()
    one = Network(tmp_path_factory.mktemp("ipv6"))
    yield one
    one.close()


@pytest.fixture
def start(net: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bridge]]:
    monkeypatch.setenv("RTSR_BRIDGE_TOKENS", TOKEN)
    started: list[Bridge] = []

    def begin(*more: str) -> Bridge:
        started.append(net.rtsr.run(lambda: Bridge("--listen", f"[{RTSR}]:{WEB}", "--allow-plain-http", *more)))
        return started[-1]

    yield begin
    for one in started:
        assert one.stop() == 0


def check(heard: np.ndarray) -> None:
    voice = demo_voice()
    found = compare(heard, at_48k(voice, 8_000), enhanced(voice, 8_000))
    print(found)
    assert found.pieces >= 3
    assert found.lsd < 0.75 * found.lsd_plain, "nearer to the plain voice than to the enhanced one"


def test_a_call_goes_through_a_nat_of_ipv6_by_stun(net: Network, start: Callable[..., Bridge]):
    start("--stun", f"stun:[{WAN}]")
    voice = at_48k(demo_voice(), 8_000)

    async def call() -> tuple[Peer, list[str]]:
        async with Client(URL, TOKEN) as client:
            listener = await client.call("six", VoiceTrack(SILENCE))
            await client.call("six", VoiceTrack(voice))
            await asyncio.sleep(len(voice) / 48_000 + 0.7)
            sdp = listener.connection.remoteDescription.sdp
            return listener, [line for line in sdp.splitlines() if line.startswith("a=candidate")]

    listener, candidates = net.me.run(asyncio.run, call())
    assert [GATE in line for line in candidates if "typ srflx" in line] == [True], candidates
    check(listener.heard)


def test_an_rtp_leg_is_where_the_bridge_advertises(net: Network, start: Callable[..., Bridge]):
    ports = f"{FIRST}-{LAST}"
    start("--advertise", GATE, "--ice-ports", ports, "--rtp-host", RTSR, "--rtp-ports", ports)

    async def call() -> tuple[np.ndarray, dict[str, Any]]:
        async with Client(URL, TOKEN) as client:
            listener = await client.call("six", VoiceTrack(SILENCE))
            leg = await open_leg(client, "six", codec="g722", remote=ME)
            place = f"rtp://[{leg['address']}]:{leg['port']}?pkt_size=700"
            command = ["ffmpeg", "-v", "error", "-re", "-i", str(DEMO), *FFMPEG["g722"], "-ac", "1"]
            command += ["-f", "rtp", "-rtpflags", "send_bye", place]
            await spoken(await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE))
            await asyncio.sleep(1)
            assert len(await client.room("six")) == 1, "its BYE has not ended the leg"
            return listener.heard, leg

    heard, leg = net.me.run(asyncio.run, call())
    assert leg["address"] == GATE
    check(heard)
