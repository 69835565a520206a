"""A voice in a pool gives the samples that it gives alone in a stream, whatever its neighbours do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from rtsr import InvalidAudio, InvalidSetting, Pool, PoolFull, Stream
from tests.signals import noise, voice_like

BOUND = 1e-5
RATES = [(8000, 16000), (16000, 16000), (48000, 16000), (8000, 48000), (16000, 48000)]
TICKS = 150


@dataclass
class Caller:
    """One voice in the pool, and the stream that it is compared with."""

    row: int
    alone: Stream
    said: np.ndarray
    hops: int = 0
    got: list[np.ndarray] = field(default_factory=list)
    expected: list[np.ndarray] = field(default_factory=list)


class Platform:
    """Random callers over a pool: they join, leave, stall, reset and turn their knobs."""

    def __init__(self, pool: Pool, seed: int, rates: list[tuple[int, int]] = RATES) -> None:
        self.pool, self.rng, self.rates = pool, np.random.default_rng(seed), rates
        self.reference = pool.model  # that the streams run on
        self.callers: dict[int, Caller] = {}
        self.compared = 0
        self.worst = 0.0
        self.generated = 0.0

    def join(self) -> None:
        rate, rate_out = self.rates[self.rng.integers(len(self.rates))]
        cutoff = "auto" if self.rng.random() < 0.3 else float(self.rng.uniform(1000, 7000))
        gain_db = float(self.rng.choice([0.0, -6.0, -np.inf]))
        row = self.pool.open(rate, rate_out, cutoff=cutoff, gain_db=gain_db)
        alone = Stream(self.reference, rate, rate_out, cutoff=cutoff, gain_db=gain_db)
        seed = int(self.rng.integers(1 << 30))
        seconds = TICKS * alone.spec.hop_ms / 1000
        said = voice_like(seconds, rate, seed) + noise(round(seconds * rate), seed, 1e-3)
        said[self.rng.integers(len(said))] = np.nan
        self.callers[row] = Caller(row, alone, said)

    def leave(self, caller: Caller) -> None:
        self.pool.close(caller.row)
        del self.callers[caller.row]

    def turn_a_knob(self, caller: Caller) -> None:
        match self.rng.integers(4):
            case 0:
                gain_db = float(self.rng.uniform(-20, 3))
                self.pool.set(caller.row, gain_db=gain_db, bypass=False)
                caller.alone.set_gain(gain_db)
            case 1:
                cutoff = float(self.rng.uniform(1000, 8000))
                self.pool.set(caller.row, cutoff=cutoff)
                caller.alone.set_cutoff(cutoff)
            case 2:
                self.pool.set(caller.row, bypass=True)
                caller.alone.set_gain(-np.inf)
            case 3:
                self.pool.reset(caller.row)
                caller.alone.reset()

    def tick(self) -> None:
        if len(self.callers) < self.pool.limit and self.rng.random() < 0.2:
            self.join()
        for caller in list(self.callers.values()):
            if self.rng.random() < 0.01:
                self.leave(caller)
            elif self.rng.random() < 0.03:
                self.turn_a_knob(caller)
        speaking = {row for row in self.callers if self.rng.random() < 0.8}
        for row in speaking:
            caller = self.callers[row]
            start = caller.hops * caller.alone.hop
            block = caller.said[start : start + caller.alone.hop]
            cut = self.rng.integers(caller.alone.hop)
            assert self.pool.push(row, block[:cut]) + self.pool.push(row, block[cut:]) == len(block)
            caller.hops += 1
        outputs = self.pool.tick()
        assert set(outputs) == speaking
        for row in speaking:
            self.compare(self.callers[row], outputs[row], outputs.plain(row))

    def compare(self, caller: Caller, got: np.ndarray, plain: np.ndarray) -> None:
        start = (caller.hops - 1) * caller.alone.hop
        expected = caller.alone.process(caller.said[start : start + caller.alone.hop])
        self.worst = max(self.worst, float(np.abs(got - expected).max()))
        self.worst = max(self.worst, float(np.abs(plain - caller.alone.path.received[0].clip(-1, 1)).max()))
        self.generated = max(self.generated, float(np.abs(caller.alone.path.structure.generated).max()))
        self.compared += 1


@pytest.mark.parametrize(("threads", "seed"), [(1, 0), (3, 1)])
def test_rows_give_what_they_give_alone_in_a_stream(opened, seed, threads):
    with Pool(opened, limit=19, threads=threads) as pool:
        platform = Platform(pool, seed)
        for _ in range(TICKS):
            platform.tick()
    assert platform.compared > 700
    assert platform.worst <= BOUND
    if opened.name != "null":
        assert platform.generated > 0.1


def test_the_comparison_hears_a_wrong_cutoff(generating):
    with Pool(generating, limit=4) as pool:
        platform = Platform(pool, 3)
        platform.join()
        for caller in platform.callers.values():
            caller.alone.set_cutoff(1500.0)
            pool.set(caller.row, cutoff=1700.0, gain_db=0.0)
            caller.alone.set_gain(0.0)
        for _ in range(100):
            platform.tick()
    assert platform.worst > 100 * BOUND


def test_the_shipped_model_in_a_full_pool(null):
    from rtsr import load

    with Pool(load("voice-16k"), limit=24, threads=2) as pool:
        platform = Platform(pool, 5, [(8000, 16000)])
        while len(platform.callers) < 24:
            platform.join()
        for _ in range(60):
            platform.tick()
    assert platform.worst <= BOUND


def test_the_plain_voice_is_what_bypass_gives_and_outlasts_a_leaver(generating):
    """Rows that move when another leaves take both of their hops along."""
    pool = Pool(generating, limit=4)
    leaver, voice, bypassed = (pool.open(8000, 48000, cutoff=2000.0, bypass=bypass) for bypass in (False, False, True))
    added = 0.0
    for hop in voice_like(0.2, 8000).reshape(-1, 40):
        for row in (leaver, voice, bypassed):
            pool.push(row, hop)
        outputs = pool.tick()
        np.testing.assert_array_equal(outputs.plain(voice), outputs[bypassed])
        added = max(added, float(np.abs(outputs[voice] - outputs.plain(voice)).max()))
    assert added > 0.05
    plain = outputs.plain(bypassed)
    pool.open(8000, 48000)
    pool.close(leaver)
    np.testing.assert_array_equal(outputs.plain(bypassed), plain)
    pool.close(voice)
    np.testing.assert_array_equal(outputs.plain(bypassed), plain)


def test_a_stalled_row_waits_and_is_counted(null):
    pool = Pool(null, limit=4)
    first, second = pool.open(8000), pool.open(8000)
    pool.push(first, noise(40))
    outputs = pool.tick()
    assert (first in outputs, second in outputs, len(outputs)) == (True, False, 1)
    for ask in (outputs.__getitem__, outputs.plain):
        with pytest.raises(KeyError):
            ask(second)
    assert (pool.counters.hops, pool.counters.stalls, pool.counters.ticks) == (1, 1, 1)


def test_a_full_ring_refuses_and_counts(null):
    pool = Pool(null, limit=1)
    row = pool.open(8000)
    assert pool.push(row, noise(1000)) == 640
    assert pool.counters.overruns == 360
    for _ in range(16):
        assert row in pool.tick()
    assert row not in pool.tick()


def test_a_pool_takes_no_more_than_its_limit(null):
    pool = Pool(null, limit=3)
    rows = [pool.open() for _ in range(3)]
    assert sorted(rows) == [0, 1, 2]
    with pytest.raises(PoolFull, match="at most 3"):
        pool.open()
    pool.close(rows[1])
    assert pool.open(8000) == rows[1]
    assert len(pool) == 3


def test_a_closed_row_is_no_row(null):
    pool = Pool(null, limit=3)
    row = pool.open()
    pool.close(row)
    for use in (pool.close, pool.reset, lambda r: pool.push(r, noise(80)), lambda r: pool.set(r, bypass=True)):
        with pytest.raises(InvalidSetting, match="open stream"):
            use(row)
    assert row not in pool.tick()


@pytest.mark.parametrize("wrong", [{"rate": 44100}, {"rate_out": 8000}, {"cutoff": 500.0}, {"gain_db": 30.0}])
def test_a_row_that_cannot_be_is_refused_and_takes_no_slot(null, wrong):
    pool = Pool(null, limit=1)
    with pytest.raises(InvalidSetting, match="expected"):
        pool.open(**wrong)
    assert len(pool) == 0
    pool.open(8000)


def test_wrong_blocks_are_refused(null):
    pool = Pool(null, limit=1)
    with pytest.raises(InvalidAudio, match="one channel"):
        pool.push(pool.open(), np.zeros((80, 2), np.float32))


def test_a_late_tick_is_counted(null):
    class Slow(type(null)):
        def step(self, *args, **kwargs):
            import time

            time.sleep(0.006)
            super().step(*args, **kwargs)

    pool = Pool(Slow(null.spec), limit=1)
    row = pool.open()
    for _ in range(3):
        pool.push(row, noise(80))
        pool.tick()
    assert pool.counters.late == 3
    assert pool.counters.percentiles_ms(50)[0] > 6


def test_hops_of_many_rows_go_in_and_out_at_once(generating):
    with Pool(generating, limit=7, threads=2) as one, Pool(generating, limit=7, threads=2) as many:
        for pool in (one, many):
            for i in range(6):
                pool.open(8000 if i % 3 else 16000, cutoff=1500.0 + 500 * i)
        rows = np.array([5, 1, 4])  # of 8 kHz
        out, moved = np.zeros((3, 80), np.float32), np.zeros(3, np.bool_)
        for i in range(20):
            hops = np.stack([voice_like(0.005, 8000, i + 20 * int(r)) for r in rows])
            speaking = rows if i % 2 else rows[:2]
            assert many.push_hops(speaking, hops[: len(speaking)]) == hops[: len(speaking)].size
            for row, hop in zip(speaking, hops, strict=False):
                one.push(row, hop)
            many.tick()
            many.take_hops(rows, out, moved)
            outputs = one.tick()
            np.testing.assert_array_equal(moved, [r in outputs for r in rows])
            for row, hop in zip(speaking, out, strict=False):
                np.testing.assert_array_equal(hop, outputs[row])
        assert np.abs(out).max() > 0.01
        with pytest.raises(InvalidAudio, match="3 open streams"):
            many.push_hops(np.array([5, 1, 6]), hops)
        with pytest.raises(InvalidAudio, match="3 open streams"):
            many.push_hops(np.array([5, 1, 0]), hops)
        for no_handle in (-1, 7, 1 << 40):
            with pytest.raises(InvalidAudio, match="3 open streams"):
                many.push_hops(np.array([5, 1, no_handle]), hops)
        with pytest.raises(InvalidAudio, match="3 open streams"):
            many.take_hops(rows, np.zeros((3, 40), np.float32), moved)


def test_several_threads_push_and_take(null):
    streams, rounds, parts = 40, 30, 4
    voices = np.stack([noise(40 * rounds, r) for r in range(streams)]).reshape(streams, rounds, 40)
    with Pool(null, limit=streams) as pool, Pool(null, limit=streams) as alone, ThreadPoolExecutor(parts) as threads:
        handles = np.array([pool.open(8000) for _ in range(streams)])
        for _ in handles:
            alone.open(8000)
        out, expected = np.zeros((2, streams, 80), np.float32)
        moved = np.zeros(streams, np.bool_)
        part = [slice(k, streams, parts) for k in range(parts)]
        for i in range(rounds):
            list(threads.map(lambda p: pool.push_hops(handles[p], voices[p, i].copy()), part))  # noqa: B023
            pool.tick()
            for p, (hops, which) in zip(part, threads.map(lambda p: taken(pool, handles[p]), part), strict=True):
                out[p], moved[p] = hops, which
            alone.push_hops(handles, voices[:, i].copy())
            alone.tick()
            alone.take_hops(handles, expected, moved.copy())
            assert moved.all()
            np.testing.assert_array_equal(out, expected)
        list(threads.map(lambda p: [pool.push_hops(handles[p], voices[p, 0].copy()) for _ in range(20)], part))
    assert pool.counters.overruns == 4 * streams * 40  # of 20 hops a ring has room for 16


def taken(pool: Pool, handles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    out, moved = np.zeros((len(handles), 80), np.float32), np.zeros(len(handles), np.bool_)
    pool.take_hops(handles, out, moved)
    return out, moved
