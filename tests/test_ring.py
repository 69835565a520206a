"""Samples leave the ring in the order they came, none lost and none twice, whoever is faster."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rtsr.errors import InvalidSetting
from rtsr.io.ring import MARKS, READ, WRITTEN, Ring

TOTAL = 10_000_000  # below 2**24, so that every count is a float32
sizes = st.integers(0, 40)


def test_ten_million_samples_in_order_between_two_threads():
    ring, wrong, fullest = Ring(30_011), [], [0]

    def write() -> None:
        rng, done = np.random.default_rng(1), 0
        while done < TOTAL and not wrong:
            size = min(int(rng.integers(1, 9000)), TOTAL - done)
            block = np.arange(done, done + size, dtype=np.float32)
            sent = 0
            while sent < size and not wrong:
                sent += ring.write(block[sent:])
                if sent < size:
                    time.sleep(0)
            done += sent

    def read() -> None:
        rng, done = np.random.default_rng(2), 0
        out = np.empty(9000, np.float32)
        while done < TOTAL and not wrong:
            fullest[0] = max(fullest[0], len(ring))
            count = ring.read(out[: int(rng.integers(1, 9000))])
            if not np.array_equal(out[:count], np.arange(done, done + count, dtype=np.float32)):
                wrong.append(done)
            done += count
            if not count:
                time.sleep(0)

    threads = [threading.Thread(target=job, daemon=True) for job in (write, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong, f"out of order within the block that began with sample {wrong[0]}"
    assert 0 < fullest[0] <= 30_011
    assert len(ring) == 0


class RingAgainstDeque(RuleBasedStateMachine):
    """Any sequence of writes, reads and clears does what a bounded queue does."""

    @initialize(capacity=st.integers(1, 33))
    def make(self, capacity: int) -> None:
        self.ring, self.model, self.capacity, self.next = Ring(capacity), deque(), capacity, 0

    @rule(size=sizes)
    def write(self, size: int) -> None:
        block = np.arange(self.next, self.next + size, dtype=np.float32)
        count = self.ring.write(block)
        assert count == min(size, self.capacity - len(self.model))
        self.model.extend(block[:count])
        self.next += count

    @rule(size=sizes)
    def read(self, size: int) -> None:
        out = np.full(size, -1, np.float32)
        count = self.ring.read(out)
        assert count == min(size, len(self.model))
        assert list(out[:count]) == [self.model.popleft() for _ in range(count)]
        assert (out[count:] == -1).all()

    @rule()
    def clear(self) -> None:
        self.ring.clear()
        self.model.clear()

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "ring"):
            assert len(self.ring) == len(self.model) <= self.capacity
            assert self.ring.room == self.capacity - len(self.model)


TestRingAgainstDeque = RingAgainstDeque.TestCase
TestRingAgainstDeque.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.lists(sizes, max_size=40), st.integers(0, 2**32))
def test_a_write_never_changes_what_was_not_read(capacity, blocks, seed):
    ring, rng = Ring(capacity), np.random.default_rng(seed)
    sent: list[float] = []
    got: list[float] = []
    for size in blocks:
        block = rng.random(size, np.float32)
        sent.extend(block[: ring.write(block)])
        out = np.empty(int(rng.integers(0, 20)), np.float32)
        got.extend(out[: ring.read(out)])
    rest = np.empty(capacity, np.float32)
    got.extend(rest[: ring.read(rest)])
    assert got == sent


def test_a_full_ring_takes_nothing_and_an_empty_one_gives_nothing():
    ring, block = Ring(4), np.ones(4, np.float32)
    assert ring.read(np.empty(4, np.float32)) == 0
    assert ring.write(block) == 4
    assert ring.write(block) == 0
    assert (len(ring), ring.room) == (4, 0)


def test_the_layout_that_native_code_relies_on():
    ring = Ring(8)
    ring.write(np.zeros(5, np.float32))
    ring.read(np.zeros(2, np.float32))
    assert ring.marks.dtype == np.int64
    assert len(ring.marks) == MARKS
    assert (ring.marks[WRITTEN], ring.marks[READ]) == (5, 2)
    assert (READ - WRITTEN) * 8 >= 64  # a cache line apart
    assert ring.samples.dtype == np.float32
    assert ring.samples.flags.c_contiguous


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_ring_without_room_is_refused(capacity):
    with pytest.raises(InvalidSetting, match="at least one sample"):
        Ring(capacity)
