"""The cutoff tracker as one kernel: the counterpart of `device_path.CutoffTracker`, which is the oracle.

All of it is float64. A constant meets such a tensor in a binary operation only: there it becomes float64 itself, while
functions that take several tensors would round it to float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ...dsp import band
from .layers import rows_of

PLACES = tl.constexpr(len(band.STATE))
LOUDEST, CANDIDATE = tl.constexpr(band.LOUDEST), tl.constexpr(band.CANDIDATE)
STANDING, CUTOFF = tl.constexpr(band.STANDING), tl.constexpr(band.CUTOFF)
SETTLED, FLOOR, CLICK = tl.constexpr(band.SETTLED), tl.constexpr(band.FLOOR), tl.constexpr(band.CLICK)
ACTIVE, OF_LOUDEST = tl.constexpr(10 ** (band.ACTIVE_DB / 10)), tl.constexpr(1e-4)
EMPTY, EMPTY_BELOW = tl.constexpr(10 ** (band.EMPTY_DB / 10)), tl.constexpr(10 ** (band.EMPTY_BELOW_DBFS / 10))
CLIFF, FULL = tl.constexpr(10 ** (band.CLIFF_DB / 10)), tl.constexpr(10 ** (band.FULL_DB / 10))
REMEMBERED = tl.constexpr(10 ** (band.REMEMBERED_DB / 10))
LEAK_BANDS, OCCUPIED, TONE = tl.constexpr(band.LEAK_BANDS), tl.constexpr(band.OCCUPIED), tl.constexpr(band.TONE)
CLICK_BANDS, CLICK_END = tl.constexpr(band.CLICK_BANDS), tl.constexpr(band.CLICK_END)
BAND_HZ, SAME_HZ = tl.constexpr(band.BAND_HZ), tl.constexpr(band.SAME_HZ)


@triton.jit
def at_least(x, least):
    """x, or a constant where it is less."""
    return tl.where(x < least, tl.zeros_like(x) + least, x)


@triton.jit
def neighbour(x, b, away, BANDS: tl.constexpr):
    """The value `away` bands further, or that of the last one."""
    place = tl.minimum(tl.maximum(b + away, 0), BANDS - 1)
    return tl.gather(x, tl.zeros(x.shape, tl.int32) + place[None, :], 1)


@triton.jit
def edge_of(held, strongest, floor, b, BANDS: tl.constexpr):
    """How many bands were received, or minus the highest where there is no steep end; and whether most are full."""
    top = tl.max(tl.where(held > floor[:, None], b[None, :] + 1, 0), 1)
    near = (b[None, :] >= tl.maximum(top - LEAK_BANDS, 1)[:, None]) & (b[None, :] <= top[:, None])
    near = near & (b < BANDS)[None, :]
    drop = neighbour(held, b, -1, BANDS) / (neighbour(held, b, 1, BANDS) + 1e-20)
    drop = tl.where(near, drop, tl.zeros_like(drop))
    steepest = tl.max(drop, 1)
    edge = tl.min(tl.where(drop == steepest[:, None], b[None, :], BANDS), 1)
    edge = tl.where(top == BANDS, BANDS, tl.where(steepest > CLIFF, edge, -top))
    least = tl.maximum(floor, strongest * FULL)
    full = tl.sum(((held > least[:, None]) & (b[None, :] < edge[:, None])).to(tl.int32), 1)
    return edge, full.to(tl.float64) >= edge.to(tl.float64) * OCCUPIED


@triton.jit
def is_tone(smoothed, b, BANDS: tl.constexpr):
    """Whether three neighbouring bands hold nearly all power of late."""
    three = smoothed + neighbour(smoothed, b, 1, BANDS) + neighbour(smoothed, b, 2, BANDS)
    three = tl.where((b < BANDS - 2)[None, :], three, tl.zeros_like(three))
    return tl.max(three, 1) > tl.sum(smoothed, 1) * TONE


@triton.jit
def powers_of(spectrum, r, b, here, STRIDE: tl.constexpr, PER_BAND: tl.constexpr, FULL_SCALE: tl.constexpr):
    """The power of each band."""
    power = tl.zeros(here.shape, tl.float64)
    for k in tl.static_range(PER_BAND):
        at = spectrum + r[:, None] * STRIDE + 2 * (1 + b * PER_BAND + k)[None, :]
        real = tl.load(at, mask=here, other=0).to(tl.float64)
        imaginary = tl.load(at + 1, mask=here, other=0).to(tl.float64)
        power += real * real + imaginary * imaginary
    return power / FULL_SCALE


@triton.jit(do_not_specialize=["rows"])
def track_kernel(
    spectrum, active, fixed, smoothed, before, held, known, cutoff, rows,
    STRIDE: tl.constexpr, BANDS: tl.constexpr, PER_BAND: tl.constexpr, FULL_SCALE: tl.constexpr,
    FORGET: tl.constexpr, HISS: tl.constexpr, SETTLE: tl.constexpr, WIDEN: tl.constexpr, NARROW: tl.constexpr,
    LEAST_HZ: tl.constexpr, MOST_HZ: tl.constexpr, BEYOND_HZ: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    """One frame of `CutoffTracker.push`, and the choice of the cutoff for the network: cutoff (rows,) float32.

    spectrum (rows, at least 1 + BANDS * PER_BAND, 2) with STRIDE between rows; fixed (rows,) float32, NaN where the
    cutoff is detected; smoothed, before, held (rows, BANDS) and known (rows, PLACES) float64. HISS to NARROW: frames.
    """
    r, there = rows_of(rows, BLOCK_M)
    b = tl.arange(0, BLOCK_B)
    here = there[:, None] & (b < BANDS)[None, :]
    moves = tl.load(active + r, mask=there, other=0) != 0
    power = powers_of(spectrum, r, b, here, STRIDE, PER_BAND, FULL_SCALE)
    total = tl.sum(power, 1)
    memory = known + r * PLACES
    was_candidate = tl.load(memory + CANDIDATE, mask=there, other=0)
    was_cutoff = tl.load(memory + CUTOFF, mask=there, other=0)
    was_settled = tl.load(memory + SETTLED, mask=there, other=0)
    lasting = tl.load(memory + CLICK, mask=there, other=0)
    level = tl.load(memory + FLOOR, mask=there, other=0)
    loudest = tl.maximum(tl.load(memory + LOUDEST, mask=there, other=0) * FORGET, total)
    standing = tl.load(memory + STANDING, mask=there, other=0)
    at = r[:, None] * BANDS + b[None, :]
    smooth = tl.load(smoothed + at, mask=here, other=0)
    loud = tl.load(held + at, mask=here, other=0)
    earlier = tl.load(before + at, mask=here, other=0)
    smooth = tl.where(moves[:, None], smooth + (power - smooth) * 0.25, smooth)
    # clicks
    level = tl.where(lasting > 0, level * CLICK_END, level)
    sounding = tl.sum(((power > level[:, None]) & here).to(tl.int32), 1)
    full = sounding.to(tl.float64) >= CLICK_BANDS * BANDS
    tl.store(before + at, loud, mask=here & (moves & full & (lasting == 0))[:, None])
    over = moves & (full == 0) & (lasting > 0) & (lasting < HISS)
    loud = tl.where(over[:, None], tl.minimum(loud, earlier), loud)
    smooth = tl.where(over[:, None], tl.minimum(smooth, loud), smooth)
    click = tl.where(moves, tl.where(full, lasting + 1, tl.zeros_like(lasting)), lasting)
    # what is held, and where it ends
    speaks = moves & (total >= at_least(loudest * OF_LOUDEST, ACTIVE))
    loud = tl.where(speaks[:, None], tl.maximum(loud * FORGET, smooth), loud)
    strongest = tl.max(loud, 1)
    floor = at_least(strongest * EMPTY, EMPTY_BELOW)
    edge, filled = edge_of(loud, strongest, floor, b, BANDS)
    found = edge.to(tl.float64) * BAND_HZ
    evident = ((edge > 0) & (found >= LEAST_HZ) & filled) | ((edge <= 0) & (-found > was_cutoff + SAME_HZ))
    found = tl.where((edge <= 0) | (found > MOST_HZ), tl.zeros_like(found) + BANDS * BAND_HZ, found)
    evident = evident & speaks & ((click <= 0) | (click >= HISS)) & (strongest >= loudest * REMEMBERED)
    evident = evident & ((is_tone(smooth, b, BANDS) == 0) | (found >= was_cutoff))
    # whether it stood long enough
    other = tl.abs(found - was_candidate) > SAME_HZ
    candidate = tl.where(other, found, was_candidate)
    standing = tl.where(other, tl.zeros_like(standing), standing) + 1
    later = tl.where(candidate > was_cutoff, standing >= WIDEN, standing >= NARROW)
    believed = evident & tl.where(was_settled > 0, later, standing >= SETTLE)
    now = tl.where(believed & (tl.abs(candidate - was_cutoff) > SAME_HZ), candidate, was_cutoff)
    tl.debug_barrier()  # a row's memory is read by several threads, and written by one of them
    tl.store(smoothed + at, smooth, mask=here)
    tl.store(held + at, loud, mask=here)
    tl.store(memory + LOUDEST, loudest, mask=there & moves)
    tl.store(memory + CANDIDATE, candidate, mask=there & evident)
    tl.store(memory + STANDING, standing, mask=there & evident)
    tl.store(memory + CUTOFF, now, mask=there)
    tl.store(memory + SETTLED, tl.zeros_like(now) + 1, mask=there & believed)
    tl.store(memory + FLOOR, floor, mask=there & speaks)
    tl.store(memory + CLICK, click, mask=there)
    chosen = tl.load(fixed + r, mask=there, other=0)
    chosen = tl.where(chosen == chosen, chosen, now.to(tl.float32))
    chosen = tl.where(chosen <= MOST_HZ, chosen, tl.zeros_like(chosen) + BEYOND_HZ)
    tl.store(cutoff + r, chosen, mask=there)
