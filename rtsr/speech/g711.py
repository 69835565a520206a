"""ITU-T G.711: 256 codes a law for samples of 16 bits, to the last bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..dsp.windows import FloatArray

FULL_SCALE = 32_768


def _a_levels() -> NDArray[np.int16]:
    """What the codes of A-law stand for (table 1)."""
    code = np.arange(256) ^ 0x55
    part, segment = (code & 0x0F) << 4, (code >> 4) & 7
    level = np.where(segment == 0, part + 8, (part + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, level, -level).astype(np.int16)


def _mu_levels() -> NDArray[np.int16]:
    """What the codes of mu-law stand for (table 2)."""
    code = ~np.arange(256) & 0xFF
    level = (((code & 0x0F) << 3) + 0x84 << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -level, level).astype(np.int16)


def _a_codes(samples: NDArray[np.int64]) -> NDArray[np.uint8]:
    """13 bits with sign; negative ones count from -1, so that there is no zero (the decision values of table 1)."""
    value = samples >> 3
    size = np.where(value < 0, -value - 1, value)
    segment = np.maximum(np.frexp(size.astype(np.float64))[1] - 5, 0)
    part = (size >> np.maximum(segment, 1)) & 0x0F
    return ((((value >= 0) << 7) | (segment << 4) | part) ^ 0x55).astype(np.uint8)


def _mu_codes(samples: NDArray[np.int64]) -> NDArray[np.uint8]:
    """14 bits with sign; 33 is added to a size before it is cut (the decision values of table 2)."""
    value = samples >> 2
    size = np.minimum(np.abs(value), 8158) + 33
    segment = np.frexp(size.astype(np.float64))[1] - 6
    part = (size >> (segment + 1)) & 0x0F
    return (~(((value < 0) << 7) | (segment << 4) | part) & 0xFF).astype(np.uint8)


_EVERY = np.arange(-FULL_SCALE, FULL_SCALE)
LEVELS: dict[str, NDArray[np.int16]] = {"a": _a_levels(), "mu": _mu_levels()}  # of each code, 16 bits
CODES: dict[str, NDArray[np.uint8]] = {"a": _a_codes(_EVERY), "mu": _mu_codes(_EVERY)}  # of each sample from -32768 on


def encode(x: FloatArray, law: str) -> NDArray[np.uint8]:
    """Return the code of each sample in [-1, 1) by "a" or "mu" law; louder ones are clipped."""
    samples = np.clip(np.rint(x * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int32)
    return CODES[law][samples + FULL_SCALE]


def decode(codes: NDArray[np.uint8], law: str) -> FloatArray:
    """Return the samples in [-1, 1] that codes stand for, float32."""
    return (LEVELS[law][codes] / np.float32(FULL_SCALE)).astype(np.float32)


def g711(x: FloatArray, law: str) -> FloatArray:
    """Return what is left of samples at 8 kHz by the 256 levels of a law."""
    return decode(encode(x, law), law)
