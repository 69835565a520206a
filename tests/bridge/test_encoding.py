"""Encoding on a thread of its own: the same packets in the same order, and a bound on what waits."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from rtsr.bridge.codec import OPUS, PCMU
from rtsr.bridge.encoding import MOST_WAITING, Encoding
from rtsr.bridge.faults import Faults
from rtsr.bridge.leg import Leg
from rtsr.bridge.mix import Block, Delivery, Outlet
from rtsr.bridge.work import Work

pytestmark = pytest.mark.realtime

HOP, HOPS = 240, 4


def blocks(codec: str, count: int) -> list[Block]:
    """Blocks of one outlet with one listener."""
    outlet = Outlet(None, codec, HOP, HOPS, 0, Faults())
    outlet.listeners.append(Leg(codec, "r", None, lambda *_: None, codec))
    rng = np.random.default_rng(1)
    hops = [(0.1 * rng.standard_normal(HOP)).astype(np.float32) for _ in range(count * HOPS)]
    return [block for tick, hop in enumerate(hops) if (block := outlet.put(hop, tick))]


@pytest.mark.parametrize("codec", [OPUS, PCMU])
def test_the_thread_gives_the_packets_that_the_caller_gives(codec):
    sent: dict[bool, list[tuple[bytes, int]]] = {}
    threads = set()
    for threaded in (False, True):
        here: list[Delivery] = []

        def send(packets: list[Delivery], here: list[Delivery] = here) -> None:
            threads.add(threading.current_thread())
            here.extend(packets)

        work = Work()
        encoding = Encoding(send, work, Faults())
        if threaded:
            encoding.start()
        for block in blocks(codec, 50):
            encoding.put([block])
        encoding.stop()
        sent[threaded] = [(packet, stamp) for _, packet, stamp in here]
        assert (work.encoder_s > 0) == threaded
    assert len(threads) == 2
    assert len(sent[True]) == 50
    assert sent[True] == sent[False]


def test_no_more_waits_than_a_few_ticks(monkeypatch):
    """Or memory would grow where encoding takes longer than the ticks do."""
    goes_on, sent = threading.Event(), list[Delivery]()
    encoding = Encoding(sent.extend, Work(), Faults())
    given = blocks(PCMU, MOST_WAITING + 3)
    encode = given[0].outlet.encode
    monkeypatch.setattr(given[0].outlet, "encode", lambda *taken: goes_on.wait(5) and encode(*taken))
    encoding.start()
    putting = threading.Thread(target=lambda: [encoding.put([block]) for block in given])
    putting.start()
    putting.join(0.2)
    assert putting.is_alive()
    assert encoding._waiting.qsize() == MOST_WAITING
    goes_on.set()
    putting.join(5)
    encoding.stop()
    assert [stamp for _, _, stamp in sent] == [160 * n for n in range(len(given))]


def test_a_block_that_cannot_be_encoded_leaves_the_thread_going(monkeypatch):
    sent, faults = list[Delivery](), Faults()
    encoding = Encoding(sent.extend, Work(), faults)
    bad, *good = blocks(PCMU, 3)
    encoding.start()
    encoding.put([bad._replace(samples=None), *good[:1]])
    encoding.put(good[1:])
    encoding.stop()
    assert len(sent) == 2
