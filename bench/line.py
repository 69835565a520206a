"""Two network namespaces in this process, and a line between them on which packets are lost, late, double or moved.

Not every kernel has netem, so the faults are made here: each namespace has a TUN device, and a thread carries packets
from one to the other. It needs root. The namespaces end with this process and with those that were started in them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import Any

NEAR, FAR, MOVED = "10.77.0.1", "10.77.0.2", "10.77.0.3"  # the bridge, its peers, and these after they have moved
NETWORK = "10.77.0.0/24"
TUN = Path("/dev/net/tun")
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
LONGEST = 65_536
IDLE_S = 0.2
UDP = 17


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to packets. Loss, delay and doubling are of those on their way to the bridge only."""

    loss: float = 0.0  # share
    burst: float = 0.0  # packets that are lost in a row, in the mean; 0: each is lost by itself
    late_s: float = 0.0  # each packet by anything up to this; they may overtake one another
    held: float = 0.0  # share that is late by `held_s`, so that others overtake it
    held_s: float = 0.03
    doubled: float = 0.0  # share
    cut: bool = False  # nothing passes either way
    moved: bool = False  # the peers' packets come from another address, and those to the old one are lost


def may_be_made() -> bool:
    """Whether this process may make namespaces and TUN devices."""
    return os.geteuid() == 0 and TUN.exists() and os.access(TUN, os.R_OK | os.W_OK)


class Namespace:
    """A network of its own with one device; what `run` calls is in it, and so is every thread or process it starts."""

    def __init__(self, address: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.device = self.run(self._enter, address)

    @staticmethod
    def _enter(address: str) -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot make a network namespace")
        device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"line", IFF_TUN | IFF_NO_PI))
        for words in ("link set lo up", f"address add {address}/24 dev line", "link set line up"):
            subprocess.run(["ip", *words.split()], check=True)
        return device

    def submit(self, do: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call something in the namespace, after what was submitted before."""
        return self._thread.submit(do, *arguments)

    def run(self, do: Callable[..., Any], *arguments: Any) -> Any:
        """Call something in the namespace and return its result."""
        return self.submit(do, *arguments).result()

    def close(self) -> None:
        """Leave the namespace."""
        os.close(self.device)
        self._thread.shutdown()


class Losses:
    """Says of one packet after the other whether it is lost; bursts are those of a chain of Gilbert (1960)."""

    def __init__(self, random: Random) -> None:
        self._random, self._losing = random, False

    def next(self, fault: Fault) -> bool:
        """Whether the next packet is lost; `fault.loss` of all are, `fault.burst` in a row in the mean."""
        stays = begins = fault.loss
        if fault.burst:
            stays, begins = 1 - 1 / fault.burst, fault.loss / ((1 - fault.loss) * fault.burst)
        self._losing = self._random.random() < (stays if self._losing else begins)
        return self._losing


class Line:
    """Carries packets between two namespaces until it is closed; `fault` may be replaced at any time."""

    def __init__(self, seed: int = 1) -> None:
        self.near, self.far = Namespace(NEAR), Namespace(FAR)
        self.fault = Fault()
        self.lost = 0
        self._random = Random(seed)
        self._losses = Losses(self._random)
        self._waiting: list[tuple[float, int, int, bytes]] = []  # when a packet is due, in what order, whereto
        self._count = 0
        self._ending = False
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        near, far = self.near.device, self.far.device
        while not self._ending:
            now_s = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now_s:
                _, _, device, data = heappop(self._waiting)
                os.write(device, data)
            wait_s = min(IDLE_S, self._waiting[0][0] - now_s) if self._waiting else IDLE_S
            for device in select.select([near, far], [], [], max(0.0, wait_s))[0]:
                data = os.read(device, LONGEST)
                if data[0] >> 4 == 4:
                    self._pass(data, self.fault, device == far)

    def _pass(self, data: bytes, fault: Fault, inwards: bool) -> None:
        if fault.cut or (inwards and self._losses.next(fault)):
            self.lost += 1
            return
        if fault.moved and data[9] == UDP:
            source, target = (MOVED, None) if inwards else (None, FAR)
            if not inwards and data[16:20] != packed(MOVED):
                self.lost += 1
                return
            data = readdressed(data, source, target)
        device, late_s = (self.near if inwards else self.far).device, 0.0
        if inwards:
            late_s = self._random.uniform(0, fault.late_s) + fault.held_s * (self._random.random() < fault.held)
        for _ in range(1 + (inwards and self._random.random() < fault.doubled)):
            self._count += 1
            heappush(self._waiting, (time.monotonic() + late_s, self._count, device, data))

    def close(self) -> None:
        """Carry nothing any more."""
        self._ending = True
        self._thread.join()
        self.near.close()
        self.far.close()


def packed(address: str) -> bytes:
    """Return the four bytes of an address."""
    return bytes(map(int, address.split(".")))


def readdressed(data: bytes, source: str | None, target: str | None) -> bytes:
    """Return a UDP packet of IPv4 with other addresses; it has no checksum of UDP then (RFC 768)."""
    size = 4 * (data[0] & 15)
    out = bytearray(data)
    if source:
        out[12:16] = packed(source)
    if target:
        out[16:20] = packed(target)
    out[10:12] = bytes(2)
    total = sum(struct.unpack(f"!{size // 2}H", out[:size]))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    out[10:12] = struct.pack("!H", total ^ 0xFFFF)
    out[size + 6 : size + 8] = bytes(2)
    return bytes(out)
