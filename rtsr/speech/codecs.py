"""Telephone codecs, there and back: mono float32 at 8 kHz in, the same length and the same time out."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dsp.windows import FloatArray
from ..errors import MissingDependency
from .narrow import narrow

RATE = 8_000
OPUS_RATE = 48_000  # of every decoder, whatever the encoder was given
AMR_DELAY = 39  # samples by which a voice comes later: 5 ms of look-ahead, less half a sample to one of the filters
PCM = 32_768


def g711(x: FloatArray, law: str) -> FloatArray:
    """Return what is left by the 256 levels of "a" or "mu" law (ITU-T G.711, to the last bit)."""
    samples = np.clip(np.round(x * PCM), -PCM, PCM - 1).astype(np.int64)
    coded = _a_law(samples) if law == "a" else _mu_law(samples)
    return (coded / PCM).astype(np.float32)


def _a_law(samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """13 bits with sign; negative ones count from -1, so that there is no zero (table 1 of the recommendation)."""
    value = samples >> 3
    size = np.where(value < 0, -value - 1, value)
    segment = np.maximum(np.frexp(size.astype(np.float64))[1] - 5, 0)
    shift = np.maximum(segment, 1)
    middle = ((size >> shift) << shift) + (1 << (shift - 1))
    return np.where(value < 0, -middle, middle) << 3


def _mu_law(samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """14 bits with sign; 33 is added to a size before it is cut, and taken off again (table 2)."""
    value = samples >> 2
    size = np.minimum(np.abs(value), 8158) + 33
    segment = np.frexp(size.astype(np.float64))[1] - 6
    shift = segment + 1
    middle = ((size >> shift) << shift) + (1 << segment) - 33
    return np.where(value < 0, -middle, middle) << 2


def amr(x: FloatArray, bits_per_s: int) -> FloatArray:
    """Send a voice through AMR narrowband (3GPP TS 26.071) at one of its eight rates, 4750 to 12200."""
    coded = _through(x, "libopencore_amrnb", "s16", "amrnb", {}, bits_per_s)
    return coded[AMR_DELAY : AMR_DELAY + len(x)]


def opus(x: FloatArray, bits_per_s: int) -> FloatArray:
    """Send a voice through Opus narrowband (RFC 6716) for speech at a constant rate, 6000 to 16000 as a rule."""
    options = {"application": "voip", "vbr": "off"}
    wide = _through(x, "libopus", "flt", "libopus", options, bits_per_s)  # the decoder takes the delay off itself
    step = OPUS_RATE // RATE
    return narrow(wide, OPUS_RATE, RATE / 2)[::step][: len(x)]


def _through(
    x: FloatArray, encoder: str, layout: str, decoder: str, options: dict[str, str], bits_per_s: int
) -> FloatArray:
    """Encode and decode 20 ms packets; longer than `x`, since a codec's delay follows."""
    av = _av()
    coder = av.CodecContext.create(encoder, "w")
    coder.sample_rate, coder.layout, coder.format = RATE, "mono", layout
    coder.time_base, coder.bit_rate, coder.options = Fraction(1, RATE), bits_per_s, options
    coder.open()
    listener = av.CodecContext.create(decoder, "r")
    listener.sample_rate, listener.layout = RATE, "mono"
    if coder.extradata:
        listener.extradata = coder.extradata
    packets = [p for frame in (*_frames(av, x, coder), None) for p in coder.encode(frame)]
    heard = [f.to_ndarray().reshape(-1) for packet in (*packets, None) for f in listener.decode(packet)]
    whole = np.concatenate(heard)
    return (whole / (PCM if whole.dtype == np.int16 else 1)).astype(np.float32)


def _frames(av: Any, x: FloatArray, coder: Any) -> Iterator[Any]:
    """Yield the samples in the coder's frames, and two of silence that push its delay out."""
    size = coder.frame_size
    padded = np.concatenate([np.clip(x, -1, 1), np.zeros(2 * size + -len(x) % size, np.float32)])
    if coder.format.name == "s16":
        padded = np.clip(np.round(padded * PCM), -PCM, PCM - 1).astype(np.int16)
    for start in range(0, len(padded), size):
        frame = av.AudioFrame.from_ndarray(padded[None, start : start + size], coder.format.name, "mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), start
        yield frame


def _av() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise MissingDependency("av", "report", "telephone codecs") from error
