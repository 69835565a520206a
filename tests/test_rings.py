"""The rings of many streams."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr.pool.rings import Rings
from tests.signals import cut, noise


@pytest.mark.parametrize("sizes", ["random", 40, 7, 320])
def test_rings_give_what_was_written_and_remember_what_was_read(sizes):
    rings, hop, voices = Rings(3, 40), 40, noise(3 * 4000).reshape(3, -1)
    rows, active, blocks = np.array([2, 0]), np.zeros(2, np.bool_), np.zeros((2, hop), np.float32)
    got: list[np.ndarray] = []
    for pieces in zip(*(cut(voice, sizes, most=300) for voice in voices), strict=True):
        for slot, piece in enumerate(pieces):
            if slot != 1:
                assert rings.write(slot, piece) == len(piece)
        while rings.gather(rows, 0, 2, blocks, active):
            assert active.all()
            got.append(blocks.copy())
            if len(got) % 9 == 8:
                rings.rewind(rows, np.array([False, True]), 4, blocks, active)
                assert active.all()
                np.testing.assert_array_equal(blocks, [got[-4][0], got[-5][1]])
    np.testing.assert_array_equal(np.concatenate(got, axis=1), voices[rows, : hop * len(got)])
    assert len(got) == 100
    assert rings.write(1, voices[0]) == 640, "as much as there is room for"
    rings.rewind(rows, np.array([False, False]), 17, blocks, active)
    assert not active.any(), "what was overwritten"
