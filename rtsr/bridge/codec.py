"""What a call's packets hold: Opus at 48 kHz and G.711 at 8 kHz, to samples and back. Each used by one thread."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from ..dsp.resample import Resampler
from ..dsp.windows import FloatArray
from ..errors import UnknownName

OPUS, PCMU, PCMA = "opus", "pcmu", "pcma"
RATES = {OPUS: 48_000, PCMU: 8_000, PCMA: 8_000}
FULL_SCALE = 32_768
OPUS_BITS_PER_S = 48_000
EXPECTED_LOSS = 10  # percent: how much the encoder repeats of each packet in the next one
NARROWING_MS = 3  # delay, and so quality, of the filter before G.711


class Decoder(Protocol):
    """Turns one packet after the other into samples."""

    rate: int

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples in [-1, 1], or None where it is not what the codec says."""


class Encoder(Protocol):
    """Turns one block of samples after the other into packets."""

    rate: int

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of a block (samples,) at 48 kHz; each block has the length that the first one had."""


class OpusDecoder:
    """Mono at 48 kHz, also of a stereo packet."""

    rate = RATES[OPUS]

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.layout = "mono"
        self._codec.sample_rate = self.rate

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples, or None for what is no Opus."""
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.FFmpegError, ValueError):
            return None
        blocks = [frame.to_ndarray().reshape(-1).astype(np.float32) for frame in frames]
        return np.concatenate(blocks) / np.float32(FULL_SCALE) if blocks else None


class OpusEncoder:
    """Mono, for speech, with a coarse copy of each packet in the next one (in-band FEC)."""

    rate = RATES[OPUS]

    def __init__(self, packet_ms: int = 20) -> None:
        codec = av.CodecContext.create("libopus", "w")
        codec.bit_rate, codec.format, codec.layout = OPUS_BITS_PER_S, "flt", "mono"
        codec.sample_rate, codec.time_base = self.rate, Fraction(1, self.rate)
        codec.options = {
            "application": "voip",
            "fec": "1",
            "packet_loss": str(EXPECTED_LOSS),
            "frame_duration": str(packet_ms),
            "compression_level": "5",  # a tenth of the time of 10 is saved for a difference that speech does not show
        }
        self._codec, self._given = codec, 0

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of one block of `packet_ms`."""
        frame = av.AudioFrame(format="flt", layout="mono", samples=len(block))
        frame.planes[0].update(np.asarray(block, np.float32).tobytes())
        frame.sample_rate, frame.pts = self.rate, self._given
        self._given += len(block)
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


def _mulaw_levels() -> NDArray[np.int16]:
    """What the 256 codes of mu-law stand for (ITU-T G.711, table 2)."""
    code = ~np.arange(256) & 0xFF
    level = (((code & 0x0F) << 3) + 0x84 << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -level, level).astype(np.int16)


def _alaw_levels() -> NDArray[np.int16]:
    """What the 256 codes of A-law stand for (ITU-T G.711, table 1)."""
    code = np.arange(256) ^ 0x55
    part, step = (code & 0x0F) << 4, (code >> 4) & 7
    level = np.where(step == 0, part + 8, (part + 0x108) << np.maximum(step - 1, 0))
    return np.where(code & 0x80, level, -level).astype(np.int16)


LEVELS = {PCMU: _mulaw_levels(), PCMA: _alaw_levels()}


def _nearest_code(levels: NDArray[np.int16]) -> NDArray[np.uint8]:
    """The code whose level is nearest, for each of the 65,536 samples from -32768 on."""
    order = np.argsort(levels, kind="stable")
    ranked = levels[order].astype(np.int32)
    edges = (ranked[1:] + ranked[:-1] + 1) // 2
    return order[np.searchsorted(edges, np.arange(-FULL_SCALE, FULL_SCALE), side="right")].astype(np.uint8)


class G711Decoder:
    """One byte a sample at 8 kHz, mu-law or A-law."""

    def __init__(self, name: str) -> None:
        self.rate = RATES[name]
        self._levels = (LEVELS[name] / np.float32(FULL_SCALE)).astype(np.float32)

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples; None for an empty one."""
        return self._levels[np.frombuffer(payload, np.uint8)] if payload else None


class G711Encoder:
    """Narrows 48 kHz to 8 kHz and takes the nearest code."""

    def __init__(self, name: str) -> None:
        self.rate = RATES[name]
        self._codes = _nearest_code(LEVELS[name])
        self._narrow = Resampler(RATES[OPUS], self.rate, NARROWING_MS * self.rate // 1000)

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of a block at 48 kHz."""
        scaled = np.rint(self._narrow.process(block) * FULL_SCALE)
        places = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int32) + FULL_SCALE
        return self._codes[places].tobytes()


def make_decoder(name: str) -> Decoder:
    """Return a new decoder; raises `UnknownName`."""
    _check(name)
    return OpusDecoder() if name == OPUS else G711Decoder(name)


def make_encoder(name: str, packet_ms: int) -> Encoder:
    """Return a new encoder; raises `UnknownName`."""
    _check(name)
    return OpusEncoder(packet_ms) if name == OPUS else G711Encoder(name)


def _check(name: str) -> None:
    if name not in RATES:
        raise UnknownName("codec", name, RATES)
