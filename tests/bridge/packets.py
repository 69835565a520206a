"""An in-memory transport: packets of a recording, some lost, each late by as much as a script says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from rtsr.bridge.codec import CODECS, make_encoder
from rtsr.bridge.jitter import Counts, Packet
from rtsr.bridge.playout import Playout
from rtsr.speech import g711

HOP_S = 0.005
PACKET_S = 0.02
SETTLED_S = 5.0


@dataclass
class Script:
    """What happens to packets on their way. `late_s` takes a packet's number and when it left."""

    loss: float = 0.0
    late_s: Callable[[int, float], float] = lambda number, left_s: 0.0
    faster_ppm: float = 0.0  # of the sender's clock
    pauses: Callable[[float], bool] = lambda left_s: False  # a sender that says nothing sends nothing (DTX)
    seed: int = 0
    first_number: int = 65_500  # both counters begin anew within a second
    first_stamp: int = 2**32 - 9_600


@dataclass
class Through:
    """What came of it."""

    sound: np.ndarray
    delay_ms: np.ndarray
    target_ms: np.ndarray
    lost: list[int] = field(default_factory=list)


def packets(sound_48: np.ndarray, codec: str, script: Script) -> Iterator[tuple[int, Packet]]:
    """Yield number and packet, in the order of leaving; `arrived_s` says when each arrives."""
    rng, encoder = np.random.default_rng(script.seed), make_encoder(codec, 20)
    block = round(48_000 * PACKET_S)
    spent = 0  # numbers
    for number in range(len(sound_48) // block):
        payload = encoder.encode(sound_48[number * block : (number + 1) * block])
        left_s = (number + 1) * PACKET_S / (1 + script.faster_ppm * 1e-6)
        if script.pauses(left_s):
            continue
        spent += 1
        if rng.random() < script.loss or not payload:
            continue
        stamp = script.first_stamp + number * round(CODECS[codec].clock * PACKET_S)
        arrived_s = left_s + script.late_s(number, left_s)
        yield number, Packet((script.first_number + spent - 1) % 65_536, stamp % 2**32, payload, arrived_s)


def play(playout: Playout, sound_48: np.ndarray, codec: str, script: Script) -> Through:
    """Send a sound through a playout, which is read every hop; returns what it said."""
    sent = list(packets(sound_48, codec, script))
    coming = sorted((packet for _, packet in sent), key=lambda packet: packet.arrived_s)
    hops, delays, targets = [], [], []
    for tick in range(round(len(sound_48) / 48_000 / HOP_S)):
        now_s = (tick + 0.25) * HOP_S
        while coming and coming[0].arrived_s <= now_s:
            playout.put(coming.pop(0))
        hops.append(playout.read(now_s))
        delays.append(1000 * playout.delay_s)
        targets.append(1000 * playout.target_s)
    there = {number for number, _ in sent}
    lost = [number for number in range(len(sound_48) // 960) if number not in there]
    return Through(np.concatenate(hops), np.array(delays), np.array(targets), lost)


@dataclass
class Long:
    """What came of a stream of many minutes, and the delays in ms that were seen once it had settled."""

    counts: Counts
    least_ms: float
    most_ms: float
    last: np.ndarray


def play_long(playout: Playout, seconds: float, script: Script) -> Long:
    """Send a tone of 300 Hz in PCMU, whose packets are all the same, through a playout that is read every hop."""
    block = (0.3 * np.sin(2 * np.pi * 300 * np.arange(160) / 8_000)).astype(np.float32)
    payload = g711.encode(block, "mu").tobytes()
    coming: list[tuple[float, int]] = []  # in the order of arrival
    leaving, least_ms, most_ms = 0, np.inf, -np.inf
    step_s = PACKET_S / (1 + script.faster_ppm * 1e-6)
    hop = np.zeros(0)
    for tick in range(round(seconds / HOP_S)):
        now_s = (tick + 0.25) * HOP_S
        while leaving * step_s <= now_s:
            heappush(coming, (leaving * step_s + script.late_s(leaving, leaving * step_s), leaving))
            leaving += 1
        while coming and coming[0][0] <= now_s:
            arrived_s, number = heappop(coming)
            stamp = script.first_stamp + number * 160
            playout.put(Packet((script.first_number + number) % 65_536, stamp % 2**32, payload, arrived_s))
        hop = playout.read(now_s)
        if now_s > SETTLED_S:
            least_ms, most_ms = min(least_ms, 1000 * playout.delay_s), max(most_ms, 1000 * playout.delay_s)
    return Long(playout.counts, least_ms, most_ms, hop)


def uniform(most_s: float, seed: int = 1) -> Callable[[int, float], float]:
    """Late by anything up to `most_s`."""
    rng = np.random.default_rng(seed)
    return lambda number, left_s: float(rng.uniform(0, most_s))


def burst(at_s: float, for_s: float) -> Callable[[int, float], float]:
    """Nothing arrives for a while, then all at once."""
    return lambda number, left_s: max(0.0, at_s + for_s - left_s) if at_s < left_s < at_s + for_s else 0.0
