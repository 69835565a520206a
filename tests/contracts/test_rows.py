"""Rows of one batch are strangers: each gives what it gives alone, and stands still while it is masked."""

from __future__ import annotations

import numpy as np

from tests.contracts import oracle
from tests.signals import noise, voice_like

ROWS, FRAMES = 5, 60


def frames(model, rows: int = ROWS, count: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Spectra (frames, rows, bins_in, 2) of as many voices, and a cutoff for each."""
    hop = model.spec.hop
    voices = [voice_like(count * hop / 16000 + 0.5, seed=r) + noise(count * hop + 8000, r, 1e-3) for r in range(rows)]
    heard = np.stack([oracle.spectra(v[8000:], model.spec, 16000)[:count] for v in voices], axis=1)
    return heard, np.linspace(1400, 5000, rows).astype(np.float32)


def run(model, heard, cutoff, active=None) -> np.ndarray:
    """Step through all frames with one state; `active` (frames, rows) or None."""
    state = model.new_state(heard.shape[1])
    out = np.full((*heard.shape[:2], model.spec.bands), 7, np.float32)
    for i, spectrum in enumerate(heard):
        model.step(spectrum, cutoff, state, out[i], None if active is None else active[i])
    return out


def alike(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether they differ by rounding."""
    return np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_rows_give_what_they_give_alone(opened):
    heard, cutoff = frames(opened)
    together = run(opened, heard, cutoff)
    for r in range(ROWS):
        alone = run(opened, heard[:, r : r + 1], cutoff[r : r + 1])[:, 0]
        if opened.name != "null":
            assert np.ptp(alone) > 0.1
        assert alike(together[:, r], alone)


def test_all_rows_active_is_the_same_as_no_mask(opened):
    heard, cutoff = frames(opened)
    np.testing.assert_array_equal(run(opened, heard, cutoff, np.ones((FRAMES, ROWS), bool)), run(opened, heard, cutoff))


def test_a_masked_row_gives_zeros_and_stands_still(opened):
    heard, cutoff = frames(opened)
    expected = run(opened, heard, cutoff)
    pause, row = 10, 1
    # the same frames, with ten of something else for the masked row in the middle
    junk = frames(opened, ROWS, pause)[0] * 3 + 1
    paused = np.concatenate([heard[:20], junk, heard[20:]])
    paused[20 : 20 + pause, [r for r in range(ROWS) if r != row]] = heard[20 : 20 + pause, [0, 2, 3, 4]]
    active = np.ones((len(paused), ROWS), bool)
    active[20 : 20 + pause, row] = False
    got = run(opened, paused, cutoff, active)
    assert not got[20 : 20 + pause, row].any()
    moved = np.concatenate([got[:20, row], got[20 + pause :, row]])
    np.testing.assert_array_equal(moved, expected[:, row])


def test_what_a_masked_row_hears_reaches_nobody(opened):
    heard, cutoff = frames(opened)
    active = np.random.default_rng(0).random((FRAMES, ROWS)) < 0.6
    other = heard.copy()
    other[~active] = 1e3
    np.testing.assert_array_equal(run(opened, heard, cutoff, active), run(opened, other, cutoff, active))


def test_a_row_is_not_moved_by_its_neighbours(opened):
    heard, cutoff = frames(opened)
    other = heard.copy()
    other[:, 0] *= 30
    np.testing.assert_array_equal(run(opened, heard, cutoff)[:, 1:], run(opened, other, cutoff)[:, 1:])


def test_the_first_rows_of_a_larger_state_give_what_they_give_alone(opened):
    heard, cutoff = frames(opened, 3)
    state, out = opened.new_state(8), np.zeros((FRAMES, 3, opened.spec.bands), np.float32)
    for spectrum, envelope in zip(heard, out, strict=True):
        opened.step(spectrum, cutoff, state, envelope)
    expected = run(opened, heard, cutoff)
    assert alike(out, expected)


def test_a_row_goes_on_elsewhere_with_what_it_remembered(opened):
    heard, cutoff = frames(opened, 3)
    expected = run(opened, heard, cutoff)
    first, second = opened.new_state(3), opened.new_state(5)
    out, moved = np.zeros_like(expected[0]), np.zeros((5, *expected.shape[2:]), np.float32)
    junk, cutoffs = np.repeat(heard[:, :1], 5, axis=1) * 2, np.full(5, cutoff[1])
    for i in range(20):
        opened.step(heard[i], cutoff, first, out)
        opened.step(junk[i], cutoffs, second, moved)
    opened.write_row(second, 4, opened.read_row(first, 1))
    opened.write_row(second, 0)
    for i in range(20, FRAMES):
        junk[i, 4], junk[i, 0] = heard[i, 1], heard[i - 20, 1]
        opened.step(junk[i], cutoffs, second, moved)
        assert alike(moved[4], expected[i, 1])
        assert alike(moved[0], expected[i - 20, 1])
