"""When a backend fails under many voices, another goes on: with what they remember, or with one faded hop."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import BackendFailed, Pool
from tests.backends import open_backend
from tests.signals import noise, voice_like

ROWS, TICKS, FAULT = 3, 80, 40
BOUND = 1e-4  # another backend's rounding


class Faulty:
    """A backend that raises at its n-th step, and from then on; `gone` takes the memory along."""

    name = "faulty"

    def __init__(self, inner, at: int, gone: bool) -> None:
        self.inner, self.left, self.gone = inner, at, gone
        self.spec, self.model = inner.spec, inner.model
        self.new_state, self.write_row = inner.new_state, inner.write_row

    def step(self, spectrum, cutoff, state, out, active=None) -> None:
        self.left -= active is None or bool(active.any())
        if self.left < 0:
            out[:] = np.nan
            raise OSError("the device fell off the bus")
        self.inner.step(spectrum, cutoff, state, out, active)

    def read_row(self, state, row):
        if self.gone and self.left < 0:
            raise OSError("the device is gone")
        return self.inner.read_row(state, row)


class Joined(Faulty):
    """The same, for a backend that steps several states at once."""

    def step_together(self, steps) -> None:
        if self.left <= 0:
            self.left = -1
            raise OSError("the device fell off the bus")
        self.left -= 1
        for step in steps:
            self.inner.step(*step)


def run(pool: Pool, voices: np.ndarray, rates_out: tuple[int, ...] = (16_000,)) -> np.ndarray:
    """All rows' output, (rows, samples); row by row at one of `rates_out`, as every n-th sample."""
    to = [rates_out[n % len(rates_out)] for n in range(len(voices))]
    rows = [pool.open(8000, rate, cutoff=2000.0) for rate in to]
    out = []
    for hops in voices.reshape(len(voices), -1, 40).transpose(1, 0, 2):
        for row, hop in zip(rows, hops, strict=True):
            pool.push(row, hop)
        outputs = pool.tick()
        out.append([outputs[row][:: rate // 16_000].copy() for row, rate in zip(rows, to, strict=True)])
    return np.concatenate(out, axis=1)


@pytest.fixture
def voices() -> np.ndarray:
    return np.stack([voice_like(TICKS * 0.005, 8000, seed) + noise(TICKS * 40, seed, 1e-2) for seed in range(ROWS)])


@pytest.fixture
def expected(model_path, voices) -> np.ndarray:
    return run(Pool(open_backend(model_path, "ort"), ROWS), voices)


@pytest.mark.parametrize("spare", ["ort", "eager"])
def test_what_rows_remember_is_carried_over(model_path, voices, expected, spare):
    pool = Pool(Faulty(open_backend(model_path, "ort"), FAULT, False), ROWS, spare=open_backend(model_path, spare))
    got = run(pool, voices)
    assert pool.running_on == [spare]
    assert pool.counters.failures == 1
    assert np.abs(got - expected).max() <= BOUND


def test_batches_that_are_stepped_together_fall_back_each(model_path, voices):
    ort, rates_out = open_backend(model_path, "ort"), (16_000, 48_000)
    joined = Joined(ort, FAULT, False)
    pool = Pool(joined, ROWS, spare=open_backend(model_path, "eager"))
    got = run(pool, voices, rates_out)
    assert joined.left == -3, "both batches tried on their own, after one step of both"
    assert pool.running_on == ["eager"]
    assert pool.counters.failures == 2
    assert np.abs(got - run(Pool(ort, ROWS), voices, rates_out)).max() <= BOUND


def test_without_memory_the_received_band_goes_on_and_the_rest_fades_in(model_path, null, voices, expected):
    ort = open_backend(model_path, "ort")
    pool = Pool(Faulty(ort, FAULT, True), ROWS, spare=ort)
    got = run(pool, voices)
    plain = run(Pool(null, ROWS), voices)
    fault = FAULT * 80
    np.testing.assert_array_equal(got[:, :fault], expected[:, :fault])
    steps = np.abs(np.diff(got - plain, axis=1))
    assert np.isfinite(got).all()
    assert np.abs(got[:, fault] - plain[:, fault]).max() < 0.02 * np.abs(expected - plain).max()
    assert np.abs((got - plain)[:, fault + 80 :]).max() > 0.3 * np.abs(expected - plain).max()
    assert steps[:, fault : fault + 80].max() <= 2 * steps[:, :fault].max()


def test_without_a_spare_the_failure_is_told(model_path, voices):
    pool = Pool(Faulty(open_backend(model_path, "ort"), 2, False), ROWS)
    with pytest.raises(BackendFailed, match=r"faulty failed and there is no other.*fell off the bus"):
        run(pool, voices)


def test_a_spare_that_fails_too_is_not_tried_for_ever(model_path, voices):
    broken = Faulty(open_backend(model_path, "ort"), 2, False)
    pool = Pool(broken, ROWS, spare=Faulty(broken.inner, 3, False))
    with pytest.raises(BackendFailed, match="no other"):
        run(pool, voices)


@pytest.mark.parametrize("lost", ["new_state", "write_row"])
def test_a_stream_that_joins_a_lost_device_is_carried_by_the_spare(model_path, voices, expected, lost):
    broken = Faulty(open_backend(model_path, "ort"), TICKS, True)
    setattr(broken, lost, _lose)
    pool = Pool(broken, ROWS, spare=broken.inner)
    np.testing.assert_array_equal(run(pool, voices), expected)
    assert pool.running_on == ["ort"]
    assert [type(error) for error in pool.failures] == [OSError]


def test_a_stream_that_joins_a_lost_device_without_a_spare_is_refused(model_path):
    broken = Faulty(open_backend(model_path, "ort"), TICKS, True)
    broken.new_state = _lose
    with pytest.raises(BackendFailed, match=r"faulty failed and there is no other.*fell off the bus"):
        Pool(broken, ROWS).open(8000)


def test_a_stream_can_leave_a_lost_device(model_path, null):
    broken = Faulty(null, TICKS, False)
    pool = Pool(broken, ROWS, spare=null)
    rows = [pool.open(8000) for _ in range(ROWS)]
    broken.write_row = _lose
    pool.close(rows[0])
    assert pool.running_on == ["null"]


def _lose(*_: object) -> None:
    raise OSError("the device fell off the bus")
