"""Networks with NAT between them, made of namespaces; they need root, and nothing of them stays.

me 192.168.7.2 ── home 203.0.113.5 ──┐            a symmetric NAT: each destination sees another port
                                      ├── wan ──── turn 203.0.113.3
rtsr 10.8.0.2 ─── gate 203.0.113.4 ──┘            a 1:1 NAT for some ports, closed for all others
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.speech import missing

CLONE_NEWNET = 0x40000000
PREFIX = f"rtsr{os.getpid()}"
TURN, GATE, HOME, HOME_MOVED = "203.0.113.3", "203.0.113.4", "203.0.113.5", "203.0.113.6"
NOWHERE = "203.0.113.1"  # the way to all other addresses: what goes there is lost, as private ones are on the internet
RTSR, ME, ME_MOVED = "10.8.0.2", "192.168.7.2", "192.168.7.3"
WEB, FIRST, LAST = 8_443, 20_000, 20_049  # the ports that the gate lets in
SECRET = "shared with coturn"
START_S = 20.0


def sh(*words: str) -> None:
    """Run a command; its error is raised with what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr}")


def need_network() -> None:
    """Skip where namespaces cannot be made, or fail where everything has to be there."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux, to make network namespaces")
    for program in ("ip", "nft", "turnserver"):
        if shutil.which(program) is None:
            missing(program)


class Namespace:
    """A network of its own; what `run` calls is in it, and so is every process that it starts."""

    def __init__(self, name: str) -> None:
        self.name = f"{PREFIX}{name}"
        sh("ip", "netns", "add", self.name)
        self._thread = ThreadPoolExecutor(1)
        self.run(self._enter)
        self.ip("link", "set", "lo", "up")

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{self.name}").open() as place:
            if libc.setns(place.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot enter a network namespace")

    def run(self, do: Callable[..., Any], *arguments: Any) -> Any:
        """Call something in the namespace and return its result."""
        return self._thread.submit(do, *arguments).result()

    def ip(self, *words: str) -> None:
        """Run `ip` in it."""
        sh("ip", "-n", self.name, *words)

    def nft(self, rules: str) -> None:
        """Add rules to its packet filter."""
        command = ["ip", "netns", "exec", self.name, "nft", "-f", "-"]
        done = subprocess.run(command, input=rules, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr

    def link(self, other: Namespace, mine: str, theirs: str) -> None:
        """Lay a cable to another namespace, with a device named `mine` here and `theirs` there."""
        self.ip("link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", other.name)
        self.ip("link", "set", mine, "up")
        other.ip("link", "set", theirs, "up")

    def close(self) -> None:
        """Leave nothing of it."""
        self._thread.shutdown()
        sh("ip", "netns", "delete", self.name)


class Network:
    """The network of the picture above, with a TURN server in it."""

    def __init__(self, folder: Path) -> None:
        names = ("wan", "turn", "gate", "rtsr", "home", "me")
        self._all = {name: Namespace(name) for name in names}
        self.wan, self.turn, self.gate, self.rtsr, self.home, self.me = self._all.values()
        self._coturn: subprocess.Popen[bytes] | None = None
        try:
            self._build(folder)
        except BaseException:
            self.close()
            raise

    def _build(self, folder: Path) -> None:
        self.wan.ip("link", "add", "switch", "type", "bridge")
        self.wan.ip("link", "set", "switch", "up")
        self.wan.ip("address", "add", f"{NOWHERE}/24", "dev", "switch")
        for name, address in (("turn", TURN), ("gate", GATE), ("home", HOME)):
            self.wan.link(self._all[name], name, "out")
            self.wan.ip("link", "set", name, "master", "switch")
            self._all[name].ip("address", "add", f"{address}/24", "dev", "out")
            self._all[name].ip("route", "add", "default", "via", NOWHERE)
        for router, inside, first, client in (
            (self.home, self.me, "192.168.7.1", ME),
            (self.gate, self.rtsr, "10.8.0.1", RTSR),
        ):
            router.link(inside, "inside", "uplink")
            router.ip("address", "add", f"{first}/24", "dev", "inside")
            router.run(Path("/proc/sys/net/ipv4/ip_forward").write_text, "1")
            inside.ip("address", "add", f"{client}/24", "dev", "uplink")
            inside.ip("route", "add", "default", "via", first)
        self.masquerade("", HOME)
        self._open_gate()
        self._coturn = self.turn.run(self._start_turn, folder)

    def move_me(self, old: str, new: str) -> None:
        """Give the machine another address, as another Wi-Fi does."""
        self.me.ip("address", "del", f"{old}/24", "dev", "uplink")
        self.me.ip("address", "add", f"{new}/24", "dev", "uplink")
        self.me.ip("route", "replace", "default", "via", "192.168.7.1")

    def masquerade(self, old: str, public: str) -> None:
        """Let the home have this public address, and another port for each destination (RFC 4787: symmetric)."""
        if old:
            self.home.ip("address", "del", f"{old}/24", "dev", "out")
            self.home.ip("address", "add", f"{public}/24", "dev", "out")
            self.home.ip("link", "set", "out", "down")  # mappings are forgotten by that alone
            self.home.ip("link", "set", "out", "up")
            self.home.ip("route", "replace", "default", "via", NOWHERE)
        self.home.nft("""
            table ip nat
            delete table ip nat
            table ip nat {
                chain out {
                    type nat hook postrouting priority 100;
                    oifname "out" masquerade fully-random
                }
            }
        """)

    def _open_gate(self) -> None:
        self.gate.nft(f"""
            table ip nat {{
                chain come {{
                    type nat hook prerouting priority -100;
                    iifname "out" udp dport {FIRST}-{LAST} dnat to {RTSR}
                    iifname "out" tcp dport {WEB} dnat to {RTSR}
                }}
                chain out {{ type nat hook postrouting priority 100; oifname "out" masquerade; }}
            }}
        """)

    def close_gate(self, to_udp: bool) -> None:
        """Let nothing in but the page; and, `to_udp`, no UDP out either, as many a company does."""
        refuse = "meta l4proto udp counter drop" if to_udp else f'iifname "out" udp dport {FIRST}-{LAST} drop'
        self.gate.nft(f"table ip wall {{ chain pass {{ type filter hook forward priority 0; {refuse}; }}; }}")

    def open_gate(self) -> None:
        """Undo `close_gate`."""
        self.gate.nft("table ip wall\ndelete table ip wall")

    def _start_turn(self, folder: Path) -> subprocess.Popen[bytes]:
        command = [
            *("turnserver", "-n", "--listening-ip", TURN, "--relay-ip", TURN, "--realm", "test", "--fingerprint"),
            *("--use-auth-secret", "--static-auth-secret", SECRET, "--no-cli", "--no-dtls", "--log-file", "stdout"),
            *("--cert", str(folder / "cert.pem"), "--pkey", str(folder / "key.pem"), "--userdb", str(folder / "db")),
            *("--pidfile", str(folder / "pid"), "--min-port", "49152", "--max-port", "49407"),
        ]
        with (folder / "turn.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            try:
                socket.create_connection((TURN, 5_349), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return process
        process.kill()
        raise AssertionError("no TURN server:\n" + (folder / "turn.log").read_text())

    def close(self) -> None:
        """Leave nothing of it."""
        if self._coturn:
            self._coturn.kill()
            self._coturn.wait()
        for one in self._all.values():
            one.close()
