"""What a call's packets hold: the one table of codecs, and each to samples and back. A coder is one thread's."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol, cast

import av
import numpy as np

from ..dsp.resample import Resampler
from ..dsp.windows import FloatArray
from ..errors import UnknownName
from ..speech.g711 import FULL_SCALE, decode, encode
from .opus import OpusDecoder, OpusEncoder

OPUS, G722, PCMU, PCMA, L16, L16_8K = "opus", "g722", "pcmu", "pcma", "l16", "l16-8k"
FIRST_DYNAMIC, LAST_DYNAMIC = 96, 127  # payload types that both ends have to agree on (RFC 3551, section 3)


@dataclass(frozen=True, slots=True)
class Codec:
    """A row of the table."""

    name: str
    rate: int  # of its samples
    clock: int  # of its time stamps in RTP
    payload_type: int  # a dynamic one is what we take where nothing else was agreed on
    e_model: tuple[float, float] | None = None  # Ie and Bpl of ITU-T G.113, appendix I, with concealment
    webrtc: bool = False  # whether browsers and aiortc have it; on a leg of plain RTP each may be taken

    @property
    def samples_per_tick(self) -> int:
        """How many samples pass for each tick of the RTP clock."""
        return self.rate // self.clock

    @property
    def has_fixed_type(self) -> bool:
        """Whether RFC 3551 says which payload type it has."""
        return self.payload_type < FIRST_DYNAMIC


G711_E_MODEL = (0.0, 25.1)  # of G.113: no impairment, and concealment of lost packets

CODECS = {
    codec.name: codec
    for codec in (
        Codec(OPUS, 48_000, 48_000, 111, webrtc=True),  # RFC 7587
        Codec(G722, 16_000, 8_000, 9, webrtc=True),  # RFC 3551, 4.5.2: its clock was said to be 8 kHz by mistake
        Codec(PCMU, 8_000, 8_000, 0, G711_E_MODEL, webrtc=True),
        Codec(PCMA, 8_000, 8_000, 8, G711_E_MODEL, webrtc=True),
        Codec(L16, 16_000, 16_000, 118),  # RFC 3551, 4.5.11: big endian; the types are Asterisk's
        Codec(L16_8K, 8_000, 8_000, 119),
    )
}
COMFORT_NOISE_TYPE = 13  # RFC 3389
EVENT_TYPE = 101  # telephone-event (RFC 4733), dynamic: what almost everybody takes
LAWS = {PCMU: "mu", PCMA: "a"}
NARROWING_MS = 3  # delay, and so quality, of the filter before codecs of less than 48 kHz


class Decoder(Protocol):
    """Turns one packet after the other into samples."""

    @property
    def rate(self) -> int:
        """Of the samples."""

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples in [-1, 1], or None where it is not what the codec says."""

    def recover(self, following: bytes, samples: int) -> FloatArray | None:
        """Return the samples of a lost packet from what the following one carries of it, or None."""


class Encoder(Protocol):
    """Turns one block of samples after the other into packets."""

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of a block (samples,) at 48 kHz; each block has the length that the first one had."""


class PlainDecoder:
    """A decoder whose packets bear nothing of the packets before them."""

    def __init__(self, name: str) -> None:
        self.rate = CODECS[name].rate
        self._name = name

    def recover(self, following: bytes, samples: int) -> FloatArray | None:
        """Return None."""
        return None


class G711Decoder(PlainDecoder):
    """One byte a sample at 8 kHz, mu-law or A-law."""

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples; None for an empty one."""
        return decode(np.frombuffer(payload, np.uint8), LAWS[self._name]) if payload else None


class L16Decoder(PlainDecoder):
    """Two bytes a sample, the higher one first."""

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples; None for an empty one and for half a sample."""
        if not payload or len(payload) % 2:
            return None
        return (np.frombuffer(payload, ">i2") / np.float32(FULL_SCALE)).astype(np.float32)


class G722Decoder(PlainDecoder):
    """ITU-T G.722 at 64 kbit/s: one byte for two samples at 16 kHz."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._codec = _context("g722", "r", self.rate)

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples; None for an empty one."""
        if not payload:
            return None
        frames = self._codec.decode(av.Packet(payload))
        if not frames:
            return None
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        return samples.astype(np.float32) / np.float32(FULL_SCALE)


class NarrowEncoder:
    """Narrows 48 kHz to the rate of its codec first."""

    def __init__(self, name: str) -> None:
        rate = CODECS[name].rate
        self._name = name
        self._narrow = Resampler(CODECS[OPUS].rate, rate, NARROWING_MS * rate // 1000)


class G711Encoder(NarrowEncoder):
    """Takes the codes of mu-law or A-law."""

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of a block at 48 kHz."""
        return encode(self._narrow.process(block), LAWS[self._name]).tobytes()


class L16Encoder(NarrowEncoder):
    """Rounds to 16 bits, the higher byte first."""

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of a block at 48 kHz."""
        return to_16_bits(self._narrow.process(block)).astype(">i2").tobytes()


class G722Encoder(NarrowEncoder):
    """ITU-T G.722 at 64 kbit/s."""

    def __init__(self, name: str, packet_ms: int) -> None:
        super().__init__(name)
        self._codec, self._given = _context("g722", "w", CODECS[name].rate), 0
        self._codec.options = {"frame_size": str(CODECS[name].rate * packet_ms // 1000)}

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of a block at 48 kHz, which is as long as `packet_ms` says."""
        samples = to_16_bits(self._narrow.process(block))
        self._given += len(samples)
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts = self._codec.sample_rate, self._given - len(samples)
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


def to_16_bits(x: FloatArray) -> np.ndarray:
    """Return samples in [-1, 1) as int16; louder ones are clipped."""
    return np.clip(np.rint(x * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def make_decoder(name: str) -> Decoder:
    """Return a new decoder; raises `UnknownName`."""
    _check(name)
    if name == OPUS:
        return OpusDecoder()
    if name == G722:
        return G722Decoder(name)
    return G711Decoder(name) if name in LAWS else L16Decoder(name)


def make_encoder(name: str, packet_ms: int) -> Encoder:
    """Return a new encoder; raises `UnknownName`."""
    _check(name)
    if name == OPUS:
        return OpusEncoder()
    if name == G722:
        return G722Encoder(name, packet_ms)
    return G711Encoder(name) if name in LAWS else L16Encoder(name)


def _check(name: str) -> None:
    if name not in CODECS:
        raise UnknownName("codec", name, CODECS)


def _context(name: str, mode: Literal["r", "w"], rate: int) -> av.AudioCodecContext:
    codec = cast(av.AudioCodecContext, av.CodecContext.create(name, mode))
    codec.layout, codec.sample_rate = "mono", rate
    if mode == "w":
        codec.format, codec.time_base = "s16", Fraction(1, rate)
    return codec
