"""Telephone codecs, there and back: mono float32 at 8 kHz in, the same length and the same time out."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from ..dsp.windows import FloatArray
from ..errors import MissingDependency
from .narrow import narrow

RATE = 8_000
OPUS_RATE = 48_000  # of every decoder, whatever the encoder was given
AMR_DELAY = 39  # samples by which a voice comes later: 5 ms of look-ahead, less half a sample to one of the filters
PCM = 32_768


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
