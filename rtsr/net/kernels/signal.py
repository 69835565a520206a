"""The stages around the network as kernels: the counterpart of `device_path` and `structure`, which are the oracle.

As in `layers`, a program takes BLOCK_M rows, and what lies beyond a size is masked. Everything linear of the samples
heard is one matrix product: the analysed spectrum, the received band at the output's rate, and the short spectrum.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ...dsp import structure
from .layers import rows_of

POWER_FLOOR, CEILING = tl.constexpr(structure.POWER_FLOOR), tl.constexpr(structure.ENVELOPE_CEILING)
LEAST, LEAST_NOISE = tl.constexpr(structure.LEAST), tl.constexpr(structure.LEAST_NOISE)
MORE_NOISE = tl.constexpr(structure.MOST_NOISE - structure.LEAST_NOISE)
NOISE_FROM = tl.constexpr(structure.NOISE_FROM)
NOISE_RISE = tl.constexpr(1 / (structure.NOISE_TO - structure.NOISE_FROM))
MASK = tl.constexpr(0xFFFFFFFF)


@triton.jit(do_not_specialize=["rows"])
def hear_kernel(
    hops, ring, counter, matrix, starts, out, rows,
    HOP: tl.constexpr, SLOTS: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Clean hops (rows, HOP), remember them, and write what was heard times `matrix`: out (rows, N).

    ring (rows, SLOTS, HOP): a row's newest hop goes into the slot counter % SLOTS, which is not read here; matrix
    (SLOTS * HOP, N), from the oldest sample to the newest; starts: for each BLOCK_N columns, the first sample that
    counts in them. Programs with the same rows lie beside each other and share what they read.
    """
    COLUMNS: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    column = tl.program_id(0) % COLUMNS
    r, there = rows_of(rows, BLOCK_M, COLUMNS)
    n = column * BLOCK_N + tl.arange(0, BLOCK_N)
    frame = tl.load(counter + r, mask=there, other=0)
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for begin in range(tl.load(starts + column), SLOTS * HOP, BLOCK_K):
        k = begin + tl.arange(0, BLOCK_K)
        t = k % HOP
        new = k >= (SLOTS - 1) * HOP
        place = (frame[:, None] + 1 + (k // HOP)[None, :]) % SLOTS * HOP + t[None, :]
        known = there[:, None] & (k < SLOTS * HOP)[None, :]
        older = tl.load(ring + r[:, None] * (SLOTS * HOP) + place, mask=known & (new == 0)[None, :], other=0)
        newest = tl.load(hops + r[:, None] * HOP + t[None, :], mask=known & new[None, :], other=0)
        newest = tl.where(newest == newest, tl.minimum(tl.maximum(newest, -1.0), 1.0), 0.0)
        weight = tl.load(
            matrix + k[:, None] * N + n[None, :], mask=(k < SLOTS * HOP)[:, None] & (n < N)[None, :], other=0
        )
        total = tl.dot(older + newest, weight, total, input_precision=PRECISION)
    tl.store(out + r[:, None] * N + n[None, :], total, mask=there[:, None] & (n < N)[None, :])
    if column == 0:
        for begin in range(0, HOP, BLOCK_K):
            t = begin + tl.arange(0, BLOCK_K)
            known = there[:, None] & (t < HOP)[None, :]
            newest = tl.load(hops + r[:, None] * HOP + t[None, :], mask=known, other=0)
            newest = tl.where(newest == newest, tl.minimum(tl.maximum(newest, -1.0), 1.0), 0.0)
            place = (frame % SLOTS * HOP)[:, None] + t[None, :]
            tl.store(ring + r[:, None] * (SLOTS * HOP) + place, newest, mask=known)


@triton.jit
def phase_of(frame, k):
    """The integer hash of `structure.phase_index`: int64 frames and bins to numbers below 256."""
    h = (frame * 0x9E3779B1 + k * 0x85EBCA77) & MASK
    h = ((h ^ (h >> 16)) * 0x45D9F3B) & MASK
    h = ((h ^ (h >> 16)) * 0x45D9F3B) & MASK
    return (h ^ (h >> 16)) >> 24


@triton.jit(do_not_specialize=["rows"])
def generate_kernel(
    short, envelope, cutoff, counter, measure, interpolate, table, out, rows,
    STRIDE: tl.constexpr, SHORT: tl.constexpr, BINS: tl.constexpr, BANDS: tl.constexpr,
    BIN_HZ: tl.constexpr, SILENCE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    """`Structure.generate`: out (rows, 2, BINS), real parts and then imaginary ones.

    short (rows, SHORT, 2) with STRIDE between rows; envelope (rows, BANDS); cutoff (rows,) in Hz; counter (rows,) of
    int64; measure (BINS, BANDS); interpolate (BANDS, BINS); table (256, 2).
    """
    r, there = rows_of(rows, BLOCK_M)
    k = tl.arange(0, BLOCK_K)
    b = tl.arange(0, BLOCK_B)
    hz = tl.load(cutoff + r, mask=there, other=BIN_HZ)
    hz = tl.maximum(hz, BIN_HZ)
    # Rounded as on the CPU: the usual division may miss a whole number from below.
    edge = tl.minimum(tl.div_rn(hz, tl.zeros_like(hz) + BIN_HZ), BINS * 1.0).to(tl.int32)
    start = edge // 2
    copied = k[None, :] >= edge[:, None]
    ahead = tl.maximum(k[None, :] - edge[:, None], 0) % (edge - start)[:, None]
    source = tl.where(copied, start[:, None] + ahead, k[None, :])
    inside = there[:, None] & (k < BINS)[None, :]
    at = short + r[:, None] * STRIDE + 2 * source
    given = inside & (source < SHORT)
    real = tl.load(at, mask=given, other=0)
    imaginary = tl.load(at + 1, mask=given, other=0)
    heard = short + r[:, None] * STRIDE + 2 * k[None, :]
    given = there[:, None] & (k < SHORT)[None, :]
    own_real = tl.load(heard, mask=given, other=0)
    own_imaginary = tl.load(heard + 1, mask=given, other=0)
    audible = tl.minimum(tl.sum(own_real * own_real + own_imaginary * own_imaginary, 1) / SILENCE, 1.0)
    share = tl.load(measure + k[:, None] * BANDS + b[None, :], mask=(k < BINS)[:, None] & (b < BANDS)[None, :], other=0)
    power = tl.dot(real * real + imaginary * imaginary, share, input_precision=PRECISION)
    between = tl.load(
        interpolate + b[:, None] * BINS + k[None, :], mask=(b < BANDS)[:, None] & (k < BINS)[None, :], other=0
    )
    gain = tl.dot(tl.log(power + POWER_FLOOR) * -0.5, between, input_precision=PRECISION)
    levels = tl.load(envelope + r[:, None] * BANDS + b[None, :], mask=there[:, None] & (b < BANDS)[None, :], other=0)
    log_power = tl.dot(levels, between, input_precision=PRECISION)
    level = 0.5 * tl.minimum(log_power, CEILING)
    place = k.to(tl.float32)[None, :] * BIN_HZ
    along = tl.minimum(tl.maximum((place / hz[:, None] - NOISE_FROM) * NOISE_RISE, 0.0), 1.0)
    ratio = along * MORE_NOISE + LEAST_NOISE
    missing = tl.minimum((place - hz[:, None]) / BIN_HZ + 1, 1.0) * audible[:, None]
    part = tl.where(copied & (log_power >= LEAST), missing, 0.0) * tl.rsqrt(1 + ratio * ratio)
    frame = tl.load(counter + r, mask=there, other=0)
    odd = (k[None, :] - source).to(tl.int64) * frame[:, None] & 1
    copies = tl.where(odd == 0, part, -part) * tl.exp(level + gain)
    noise = part * ratio * tl.exp(level)
    phase = table + 2 * phase_of(frame[:, None], k.to(tl.int64)[None, :])
    to = out + r[:, None] * (2 * BINS) + k[None, :]
    tl.store(to, copies * real + noise * tl.load(phase), mask=inside)
    tl.store(to + BINS, copies * imaginary + noise * tl.load(phase + 1), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def overlap_kernel(
    spectrum, matrix, held, active, received, gain, gain_now, out, rows,
    K: tl.constexpr, HOP: tl.constexpr, STRIDE: tl.constexpr, MIX: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Frames of spectra (rows, K) by `matrix` (K, 2 * HOP), overlapped with `held` (rows, HOP): out (rows, HOP).

    If MIX, times a gain that slides from gain_now to gain, (rows,) float64, and added to received (rows, HOP) that has
    STRIDE between rows; within -1 and 1.
    """
    r, there = rows_of(rows, BLOCK_M)
    n = tl.arange(0, BLOCK_N)
    first = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    second = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for begin in range(0, K, BLOCK_K):
        k = begin + tl.arange(0, BLOCK_K)
        a = tl.load(spectrum + r[:, None] * K + k[None, :], mask=there[:, None] & (k < K)[None, :], other=0)
        at = matrix + k[:, None] * (2 * HOP) + n[None, :]
        known = (k < K)[:, None] & (n < HOP)[None, :]
        first = tl.dot(a, tl.load(at, mask=known, other=0), first, input_precision=PRECISION)
        second = tl.dot(a, tl.load(at + HOP, mask=known, other=0), second, input_precision=PRECISION)
    here = there[:, None] & (n < HOP)[None, :]
    at = r[:, None] * HOP + n[None, :]
    made = tl.load(held + at, mask=here, other=0) + first
    moves = tl.load(active + r, mask=there, other=0) != 0
    tl.store(held + at, second, mask=here & moves[:, None])
    if MIX:
        now = tl.load(gain_now + r, mask=there, other=0)[:, None]
        then = tl.load(gain + r, mask=there, other=0)[:, None]
        along = (n.to(tl.float64) + 1)[None, :] / HOP
        sliding = (now + (then - now) * along).to(tl.float32)
        band = tl.load(received + r[:, None] * STRIDE + n[None, :], mask=here, other=0)
        made = tl.minimum(tl.maximum(band + sliding * made, -1.0), 1.0)
    tl.store(out + at, made, mask=here)
