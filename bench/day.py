"""`python -m bench.day`: a call of 24 hours on a scripted clock, with no sockets and no waiting.

Four speakers whose clocks are wrong by up to 500 ppm and whose packets are late and lost share a room: jitter buffers,
playouts, pool, mix and encoders are those of the bridge. Prints what each hour did, and stores one row: how much memory
grew after the first tenth, the least and the most delay, and counters. With --check it ends with 1 over a bar.
"""

from __future__ import annotations

import gc
import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.bars import finish, over_bars
from bench.heard import tone
from rtsr.backend import load
from rtsr.backend.base import Backend
from rtsr.bridge.codec import CODECS, OPUS, PCMU, make_decoder
from rtsr.bridge.jitter import NUMBERS, STAMPS, Packet
from rtsr.bridge.leg import Leg, Speaker
from rtsr.bridge.media import MediaThread

PACKET_S, LEAST_S = 0.02, 0.01
LATE_S, LOSS = 0.01, 0.002
SETTLED_S = 10.0
CALLS = ((OPUS, -500.0), (PCMU, -100.0), (OPUS, 100.0), (PCMU, 500.0))  # codecs, and by how many ppm clocks are fast
HZ = (300.0, 700.0, 1_100.0, 1_300.0)
BARS = {  # what is allowed at most
    **{"grown_mb": 2.0, "most_ms": 35.0, "restarts": 0, "underruns": 0, "refused": 0, "missing": 0, "faults": 0},
    **{"concealed_percent": 1.0, "drift_hops": 60.0},
}


@dataclass
class Sender:
    """Packets of a tone, by a clock that is fast by `ppm`, over a line that delays and loses them by a script."""

    codec: str
    ppm: float
    payloads: list[bytes]
    random: np.random.Generator
    lost: int = 0
    sent: int = 0
    _coming: list[tuple[float, Packet]] = field(default_factory=list)

    def arrived(self, now_s: float) -> list[Packet]:
        """Return the packets that have arrived since the last time."""
        step = round(PACKET_S * CODECS[self.codec].clock)
        while (left_s := self.sent * PACKET_S / (1 + 1e-6 * self.ppm)) <= now_s:
            number, stamp = (NUMBERS - 500 + self.sent) % NUMBERS, (STAMPS - 500 * step + self.sent * step) % STAMPS
            lost, late_s = self.random.random() < LOSS, self.random.uniform(0, LATE_S)
            if lost:
                self.lost += 1
            else:
                payload = self.payloads[self.sent % len(self.payloads)]
                heappush(self._coming, (left_s + late_s, Packet(number, stamp, payload, left_s + late_s)))
            self.sent += 1
        found = []
        while self._coming and self._coming[0][0] <= now_s:
            found.append(heappop(self._coming)[1])
        return found


class Day:
    """A room whose clock is a count of ticks."""

    def __init__(self, model: Backend) -> None:
        self.media = MediaThread(model, len(CALLS), self._send)
        self.senders = [
            Sender(codec, ppm, tone(codec, hz), np.random.default_rng(number))
            for number, ((codec, ppm), hz) in enumerate(zip(CALLS, HZ, strict=True))
        ]
        self.legs = [
            Leg(str(number), "room", Speaker(codec, self.media.frames_per_s, least_s=LEAST_S), print, codec)
            for number, (codec, _) in enumerate(CALLS)
        ]
        for leg in self.legs:
            self.media.join(leg).result()
        self.packets: Counter[str] = Counter()
        self.heard: deque[bytes] = deque(maxlen=50)  # by the first leg
        self.least_ms = [np.inf] * len(CALLS)
        self.most_ms = [0.0] * len(CALLS)

    def _send(self, packets: list[Any]) -> None:
        for leg, packet, _ in packets:
            self.packets[leg.call] += 1
            if leg is self.legs[0]:
                self.heard.append(packet)

    def run(self, seconds: float) -> None:
        """Go on for so long, in the call's time."""
        for _ in range(round(seconds / self.media.hop_s)):
            now_s = (self.media.ticks + 0.25) * self.media.hop_s
            for leg, sender in zip(self.legs, self.senders, strict=True):
                for packet in sender.arrived(now_s):
                    leg.speaker.put(packet)
            self.media.tick(now_s)
            if now_s > SETTLED_S:
                for number, leg in enumerate(self.legs):
                    delay_ms = 1000 * leg.speaker.playout.delay_s
                    self.least_ms[number] = min(self.least_ms[number], delay_ms)
                    self.most_ms[number] = max(self.most_ms[number], delay_ms)

    def levels(self) -> list[float]:
        """Return how loud each speaker was in the last packets that the first leg heard."""
        decoder = make_decoder(self.legs[0].codec)
        sound = np.concatenate([decoder.decode(packet) for packet in self.heard])[decoder.rate // 10 :]
        t = np.arange(len(sound)) / decoder.rate
        return [float(2 * abs(np.mean(sound * np.exp(-2j * np.pi * hz * t)))) for hz in HZ]

    def row(self) -> dict[str, Any]:
        """Return what came of it so far."""
        counts, passed_s = [leg.speaker.playout.counts for leg in self.legs], self.media.ticks * self.media.hop_s
        names = ("received", "restarts", "underruns", "refused", "late", "concealed_hops", "dropped_hops")
        found: dict[str, Any] = {name: sum(getattr(c, name) for c in counts) for name in (*names, "inserted_hops")}
        found["lost"] = sum(c.lost for c in counts)
        found["concealed_percent"] = round(100 * found["concealed_hops"] / (len(counts) * self.media.ticks), 3)
        drifts = [
            count.dropped_hops - count.inserted_hops - 1e-6 * ppm * passed_s / self.media.hop_s
            for count, (_, ppm) in zip(counts, CALLS, strict=True)
        ]
        found["drift_hops"] = round(max(map(abs, drifts)), 1)  # put in or taken out beyond what the clocks need
        due = int(passed_s / PACKET_S)
        found["missing"] = max(due - self.packets[leg.call] for leg in self.legs) - 1
        found["faults"] = sum(self.media.faults.counts.values()) + sum(leg.failed for leg in self.legs)
        found["least_ms"], found["most_ms"] = round(min(self.least_ms), 1), round(max(self.most_ms), 1)
        return found

    def close(self) -> None:
        """End it."""
        self.media.stop()


def resident_mb() -> float:
    """Return this process's resident memory, without what is only waiting to be collected."""
    gc.collect()
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def main(
    hours: Annotated[float, typer.Option(help="How long the call is.")] = 24.0,
    model: str = "voice-16k",
    backend: str = "null",
    check: Annotated[bool, typer.Option("--check", help="End with 1 where a figure is over its bar.")] = False,
    save: Annotated[bool, typer.Option(help="Append the row to bench/results/day.jsonl.")] = True,
) -> None:
    """Let the call pass, print a line for each tenth of it, and store the row."""
    began, day, settled_mb = time.monotonic(), Day(load(model, backend)), 0.0
    for part in range(10):
        day.run(360 * hours)
        settled_mb = settled_mb or resident_mb()
        row = {"hours": hours, "backend": backend, "grown_mb": round(resident_mb() - settled_mb, 2), **day.row()}
        print(f"{(part + 1) * hours / 10:5.1f} h  {row}", flush=True)
    day.close()
    row["wall_s"] = round(time.monotonic() - began)
    finish("day", [row], over_bars(row, BARS), check, save)


if __name__ == "__main__":
    typer.run(main)
