"""The layers of `BandNet` for one frame as kernels: the counterpart of `layers` and `model`, which are the oracle.

Every program takes BLOCK_M rows. Weights of linear layers are (in, out), in the type that products are computed in; all
other constants are float32. What is added up, is so in float32. Tiles are powers of two, and what lies beyond a size is
masked. No kernel reads what another program of its launch writes.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON = tl.constexpr(1e-5)  # of torch's layer norm
GELU_SLOPE = tl.constexpr(2 * 0.7978845608028654)  # 2 √(2/π)
GELU_CUBE = tl.constexpr(0.044715)
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def product(a, b, total, PRECISION: tl.constexpr):
    """total + a b, as float32: the interpreter cannot multiply bfloat16, whose products are exact in float32."""
    if INTERPRETED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + tl.exp(-x))


@triton.jit
def gelu(x):
    """x (1 + tanh u) / 2, which is x times the sigmoid of 2u."""
    return x * sigmoid((x + x * x * x * GELU_CUBE) * GELU_SLOPE)


@triton.jit
def rows_of(rows, BLOCK_M: tl.constexpr, COLUMNS: tl.constexpr = 1):
    """This program's rows, int64, and which of them there are; so many programs beside each other have the same."""
    r = (tl.program_id(0) // COLUMNS).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    return r, r < rows


@triton.jit
def moments(x, r, there, C: tl.constexpr, BLOCK_C: tl.constexpr):
    """Mean and inverse deviation of each row of x (rows, C)."""
    c = tl.arange(0, BLOCK_C)
    whole = tl.load(x + r[:, None] * C + c[None, :], mask=there[:, None] & (c < C)[None, :], other=0).to(tl.float32)
    mean = tl.sum(whole, 1) / C
    apart = tl.where((c < C)[None, :], whole - mean[:, None], 0.0)
    return mean, tl.rsqrt(tl.sum(apart * apart, 1) / C + EPSILON)


@triton.jit
def weights_at(weight, k, n, K: tl.constexpr, N: tl.constexpr):
    """A tile of weight (K, N)."""
    return tl.load(weight + k[:, None] * N + n[None, :], mask=(k < K)[:, None] & (n < N)[None, :], other=0)


@triton.jit
def columns_of(x, r, there, k, C: tl.constexpr):
    """Columns k of the rows r of x (rows, C)."""
    return tl.load(x + r[:, None] * C + k[None, :], mask=there[:, None] & (k < C)[None, :], other=0)


@triton.jit
def normed(a, k, mean, deviation, gain, shift, C: tl.constexpr):
    """Layer norm of columns k: zero beyond C."""
    g = tl.load(gain + k, mask=k < C, other=0)
    s = tl.load(shift + k, mask=k < C, other=0)
    return (a.to(tl.float32) - mean[:, None]) * deviation[:, None] * g[None, :] + s[None, :]


@triton.jit(do_not_specialize=["rows"])
def past_kernel(
    x, ring, heard, taps, bias, gain, shift, out, rows,
    C: tl.constexpr, KERNEL: tl.constexpr, DILATION: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """x (rows, C) into its ring, the depthwise layer over the past, and layer norm: out (rows, C).

    ring (rows, (KERNEL - 1) * DILATION + 1, C); heard (rows,) int64 frames before; taps (KERNEL, C), the newest last.
    A row's frame lies in the place heard % size, which no tap of an earlier frame is read from.
    """
    r, there = rows_of(rows, BLOCK_M)
    c = tl.arange(0, BLOCK_C)
    inside = c < C
    here = there[:, None] & inside[None, :]
    SIZE: tl.constexpr = (KERNEL - 1) * DILATION + 1
    frame = tl.load(heard + r, mask=there, other=0)
    own = ring + r[:, None] * (SIZE * C) + c[None, :]
    newest = tl.load(x + r[:, None] * C + c[None, :], mask=here, other=0).to(ring.dtype.element_ty)
    tl.store(own + (frame % SIZE * C)[:, None], newest, mask=here)
    weight = tl.load(taps + (KERNEL - 1) * C + c, mask=inside, other=0)
    y = newest.to(tl.float32) * weight[None, :] + tl.load(bias + c, mask=inside, other=0)[None, :]
    for k in tl.static_range(KERNEL - 1):
        place = (frame + 1 + DILATION * k) % SIZE * C
        seen = tl.load(own + place[:, None], mask=here, other=0).to(tl.float32)
        y += seen * tl.load(taps + k * C + c, mask=inside, other=0)[None, :]
    mean = tl.sum(y, 1) / C
    apart = tl.where(inside[None, :], y - mean[:, None], 0.0)
    apart *= tl.rsqrt(tl.sum(apart * apart, 1) / C + EPSILON)[:, None]
    g = tl.load(gain + c, mask=inside, other=0)
    s = tl.load(shift + c, mask=inside, other=0)
    tl.store(out + r[:, None] * C + c[None, :], apart * g[None, :] + s[None, :], mask=here)


@triton.jit(do_not_specialize=["rows"])
def mlp_kernel(
    y, x, wide, wide_bias, narrow, narrow_bias, scale, out, rows,
    C: tl.constexpr, HIDDEN: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """out = x + scale * narrow(GELU(wide(y))), all (rows, C); the hidden layer never leaves the processor."""
    r, there = rows_of(rows, BLOCK_M)
    c = tl.arange(0, BLOCK_C)
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    for first in range(0, HIDDEN, BLOCK_H):
        h = first + tl.arange(0, BLOCK_H)
        hidden = tl.zeros([BLOCK_M, BLOCK_H], tl.float32)
        for begin in range(0, C, BLOCK_K):
            k = begin + tl.arange(0, BLOCK_K)
            a = columns_of(y, r, there, k, C)
            hidden = product(a, weights_at(wide, k, h, C, HIDDEN), hidden, PRECISION)
        hidden = gelu(hidden + tl.load(wide_bias + h, mask=h < HIDDEN, other=0)[None, :])
        a = hidden.to(narrow.dtype.element_ty)
        total = product(a, weights_at(narrow, h, c, HIDDEN, C), total, PRECISION)
    total += tl.load(narrow_bias + c, mask=c < C, other=0)[None, :]
    total *= tl.load(scale + c, mask=c < C, other=0)[None, :]
    total += columns_of(x, r, there, c, C).to(tl.float32)
    tl.store(out + r[:, None] * C + c[None, :], total, mask=there[:, None] & (c < C)[None, :])


@triton.jit(do_not_specialize=["rows"])
def linear_kernel(
    x, more, weight, bias, gain, shift, out, rows,
    C: tl.constexpr, MORE: tl.constexpr, N: tl.constexpr, NORM: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """out (rows, N) = the linear layer of x (rows, C), normed if NORM, with `more` (rows, MORE) beside it."""
    r, there = rows_of(rows, BLOCK_M)
    n = tl.arange(0, BLOCK_N)
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    kind = weight.dtype.element_ty
    if NORM:
        mean, deviation = moments(x, r, there, C, BLOCK_C)
    for begin in range(0, C, BLOCK_K):
        k = begin + tl.arange(0, BLOCK_K)
        a = columns_of(x, r, there, k, C)
        if NORM:
            a = normed(a, k, mean, deviation, gain, shift, C)
        total = product(a.to(kind), weights_at(weight, k, n, C, N), total, PRECISION)
    for begin in range(0, MORE, BLOCK_K):
        k = begin + tl.arange(0, BLOCK_K)
        a = columns_of(more, r, there, k, MORE).to(kind)
        total = product(a, weights_at(weight + C * N, k, n, MORE, N), total, PRECISION)
    total += tl.load(bias + n, mask=n < N, other=0)[None, :]
    tl.store(out + r[:, None] * N + n[None, :], total, mask=there[:, None] & (n < N)[None, :])


@triton.jit(do_not_specialize=["rows"])
def memory_kernel(
    x, state, active, enter, enter_bias, leave, leave_bias, gain, shift, out, rows,
    C: tl.constexpr, HIDDEN: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """The residual minimal GRU: x and out (rows, C), state (rows, HIDDEN) float32, which active rows advance."""
    r, there = rows_of(rows, BLOCK_M)
    c = tl.arange(0, BLOCK_C)
    moves = tl.load(active + r, mask=there, other=0) != 0
    mean, deviation = moments(x, r, there, C, BLOCK_C)
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    for first in range(0, HIDDEN, BLOCK_H):
        h = first + tl.arange(0, BLOCK_H)
        inside = h < HIDDEN
        gate = tl.zeros([BLOCK_M, BLOCK_H], tl.float32)
        candidate = tl.zeros([BLOCK_M, BLOCK_H], tl.float32)
        for begin in range(0, C, BLOCK_K):
            k = begin + tl.arange(0, BLOCK_K)
            a = normed(columns_of(x, r, there, k, C), k, mean, deviation, gain, shift, C).to(enter.dtype.element_ty)
            at = enter + k[:, None] * (2 * HIDDEN) + h[None, :]
            known = (k < C)[:, None] & inside[None, :]
            gate = product(a, tl.load(at, mask=known, other=0), gate, PRECISION)
            candidate = product(a, tl.load(at + HIDDEN, mask=known, other=0), candidate, PRECISION)
        gate = sigmoid(gate + tl.load(enter_bias + h, mask=inside, other=0)[None, :])
        candidate += tl.load(enter_bias + HIDDEN + h, mask=inside, other=0)[None, :]
        here = there[:, None] & inside[None, :]
        at = state + r[:, None] * HIDDEN + h[None, :]
        old = tl.load(at, mask=here, other=0)
        new = (1 - gate) * old + gate * candidate
        tl.store(at, new, mask=here & moves[:, None])
        a = new.to(leave.dtype.element_ty)
        total = product(a, weights_at(leave, h, c, HIDDEN, C), total, PRECISION)
    total += tl.load(leave_bias + c, mask=c < C, other=0)[None, :]
    total += columns_of(x, r, there, c, C).to(tl.float32)
    tl.store(out + r[:, None] * C + c[None, :], total, mask=there[:, None] & (c < C)[None, :])


@triton.jit(do_not_specialize=["rows"])
def enter_kernel(
    spectrum, cutoff, hz_in, hz_out, weight, bias, out, rows,
    STRIDE: tl.constexpr, BINS: tl.constexpr, BINS_IN: tl.constexpr, BINS_OUT: tl.constexpr, N: tl.constexpr,
    BIN_HZ: tl.constexpr, FLOOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """The features of `BandNet` and its first layer: out (rows, N).

    spectrum (rows, BINS, 2) with STRIDE between rows, zero from BINS to BINS_IN; cutoff (rows,) in Hz; hz_in (BINS_IN,)
    and hz_out (BINS_OUT,) the bins' frequencies; weight (3 * BINS_IN + BINS_OUT, N).
    """
    COLUMNS: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    r, there = rows_of(rows, BLOCK_M, COLUMNS)
    n = tl.program_id(0) % COLUMNS * BLOCK_N + tl.arange(0, BLOCK_N)
    edge = tl.load(cutoff + r, mask=there, other=0)
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    kind = weight.dtype.element_ty
    for begin in range(0, BINS_IN, BLOCK_K):
        k = begin + tl.arange(0, BLOCK_K)
        at = spectrum + r[:, None] * STRIDE + 2 * k[None, :]
        given = there[:, None] & (k < BINS)[None, :]
        real = tl.load(at, mask=given, other=0)
        imaginary = tl.load(at + 1, mask=given, other=0)
        power = real * real + imaginary * imaginary + FLOOR
        received = tl.load(hz_in + k, mask=k < BINS_IN, other=float("inf"))[None, :] < edge[:, None]
        level = tl.where(received, tl.log(power) / 6 + 1, 0.0).to(kind)
        turn = tl.where(received, tl.rsqrt(power), 0.0)
        known = (k < BINS_IN)[:, None] & (n < N)[None, :]
        levels = tl.load(weight + k[:, None] * N + n[None, :], mask=known, other=0)
        total = product(level, levels, total, PRECISION)
        phases = weight + (BINS_IN + 2 * k)[:, None] * N + n[None, :]
        cosines = tl.load(phases, mask=known, other=0)
        total = product((real * turn).to(kind), cosines, total, PRECISION)
        sines = tl.load(phases + N, mask=known, other=0)
        total = product((imaginary * turn).to(kind), sines, total, PRECISION)
    for begin in range(0, BINS_OUT, BLOCK_K):
        k = begin + tl.arange(0, BLOCK_K)
        hz = tl.load(hz_out + k, mask=k < BINS_OUT, other=0)
        missing = (hz[None, :] - edge[:, None]) / BIN_HZ + 1
        missing = tl.minimum(tl.maximum(missing, 0.0), 1.0).to(kind)
        others = weights_at(weight + 3 * BINS_IN * N, k, n, BINS_OUT, N)
        total = product(missing, others, total, PRECISION)
    total += tl.load(bias + n, mask=n < N, other=0)[None, :]
    tl.store(out + r[:, None] * N + n[None, :], total, mask=there[:, None] & (n < N)[None, :])
