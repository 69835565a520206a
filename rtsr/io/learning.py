"""The fill of the output ring that is never needed, learnt in the first second of flow."""

from __future__ import annotations

from numba import njit

from . import layout
from .compiled import drop_stale
from .layout import LEARNING, LOW_WATER, MORE_SPARE, MOST_SPARE, RATE, SPARE
from .ring import IntArray

drop_stale(__file__, layout.__file__)

LEARNT_PARTS = 4  # of the second of learning


@njit(nogil=True, cache=True)
def learn(head: IntArray, spare: int, n: int) -> int:
    """Note that a block of `n` samples leaves `spare` samples in the output ring; `head` as in `layout`.

    Returns 0 until the second is over, then how many samples are never needed. The least of each part of the second
    counts, and of those the second most: how a device takes blocks shows in every part, while a stall of the machine
    shows in one or two and must not add latency for the rest of the session.
    """
    part = head[RATE] // LEARNT_PARTS
    before = (head[LEARNING] - 1) // part
    head[LEARNING] = max(0, head[LEARNING] - n)
    head[SPARE] = min(head[SPARE], spare)
    if head[LEARNING] and (head[LEARNING] - 1) // part == before:
        return 0
    if head[SPARE] > head[MOST_SPARE]:
        head[MORE_SPARE], head[MOST_SPARE] = head[MOST_SPARE], head[SPARE]
    else:
        head[MORE_SPARE] = max(head[MORE_SPARE], head[SPARE])
    head[SPARE] = spare
    over = 0 if head[LEARNING] else max(0, head[MORE_SPARE] - head[LOW_WATER])
    if over > spare:  # just now it has less: at the next block
        head[LEARNING], over = 1, 0
    return over
