"""What a call's packets hold: Opus at 48 kHz and G.711 at 8 kHz, to samples and back. Each used by one thread."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import av
import numpy as np

from ..dsp.resample import Resampler
from ..dsp.windows import FloatArray
from ..errors import UnknownName
from ..speech.g711 import FULL_SCALE, decode, encode

OPUS, PCMU, PCMA = "opus", "pcmu", "pcma"
RATES = {OPUS: 48_000, PCMU: 8_000, PCMA: 8_000}
LAWS = {PCMU: "mu", PCMA: "a"}
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


class G711Decoder:
    """One byte a sample at 8 kHz, mu-law or A-law."""

    def __init__(self, name: str) -> None:
        self.rate = RATES[name]
        self._law = LAWS[name]

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples; None for an empty one."""
        return decode(np.frombuffer(payload, np.uint8), self._law) if payload else None


class G711Encoder:
    """Narrows 48 kHz to 8 kHz and takes the codes of G.711."""

    def __init__(self, name: str) -> None:
        self.rate = RATES[name]
        self._law = LAWS[name]
        self._narrow = Resampler(RATES[OPUS], self.rate, NARROWING_MS * self.rate // 1000)

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of a block at 48 kHz."""
        return encode(self._narrow.process(block), self._law).tobytes()


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
