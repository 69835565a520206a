"""Opus through libopus itself: FFmpeg cannot ask it for the copy of a lost packet, and takes longer for each packet."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, MissingDependency

RATE = 48_000
LONGEST_MS = 120  # of a packet (RFC 6716, 3.2.5)
FIRST_CELT = 16  # the configuration numbers from here on have no in-band FEC (RFC 6716, table 2)
MOST_FRAMES = 48  # of a packet
UNIT = RATE // 400  # libopus recovers multiples of 2.5 ms
LONGEST_PACKET = 1_275 * 6  # bytes, of 120 ms (RFC 6716, 3.4)
VOIP = 2_048  # OPUS_APPLICATION_VOIP of opus_defines.h, as are the numbers below
BITRATE, VBR, COMPLEXITY, INBAND_FEC, PACKET_LOSS = 4_002, 4_006, 4_010, 4_012, 4_014  # OPUS_SET_..._REQUEST
BITS_PER_S = 48_000
EXPECTED_LOSS = 10  # percent: how much the encoder repeats of each packet in the next one
EFFORT = 5  # of 10: a tenth of the time is saved for a difference that speech does not show
SETTINGS = ((BITRATE, BITS_PER_S), (VBR, 1), (COMPLEXITY, EFFORT), (INBAND_FEC, 1), (PACKET_LOSS, EXPECTED_LOSS))


def _places() -> list[str]:
    """Return where libopus may be: beside PyAV, whose wheels bring a newer one than most systems, or the system's."""
    bundled = Path(av.__file__).parents[1] / "av.libs"
    beside = Path(av.__file__).parent / ".dylibs"
    found = [str(path) for folder in (bundled, beside) for path in sorted(folder.glob("libopus*"))]
    return [*found, "libopus.so.0", "libopus.0.dylib", "opus.dll"]


@cache
def _library() -> Any:
    """Return libopus with the types of what is called; raises `MissingDependency`."""
    for place in _places():
        try:
            library = ctypes.CDLL(place)
        except OSError:
            continue
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        library.opus_decoder_create.argtypes = [number, number, ctypes.POINTER(number)]
        library.opus_decoder_create.restype = pointer
        library.opus_decoder_destroy.argtypes = [pointer]
        library.opus_decoder_destroy.restype = None
        library.opus_decode_float.argtypes = [pointer, text, ctypes.c_int32, pointer, number, number]
        library.opus_encoder_create.argtypes = [number, number, number, ctypes.POINTER(number)]
        library.opus_encoder_create.restype = pointer
        library.opus_encoder_destroy.argtypes = [pointer]
        library.opus_encoder_destroy.restype = None
        library.opus_encoder_ctl.argtypes = [pointer, number]  # and one more, by the calling convention of variadics
        library.opus_encode_float.argtypes = [pointer, pointer, number, pointer, ctypes.c_int32]
        library.opus_packet_parse.argtypes = [text, ctypes.c_int32, pointer, pointer, pointer, pointer]
        return library
    raise MissingDependency("libopus", "webrtc", "the bridge")


def has_copy(payload: bytes) -> bool:
    """Whether a packet carries a coarse copy of the one before it: the LBRR flags of RFC 6716, section 4.2.4."""
    if len(payload) < 2 or payload[0] >> 3 >= FIRST_CELT:
        return False
    sizes, offset = (ctypes.c_int16 * MOST_FRAMES)(), ctypes.c_int()
    frames = _library().opus_packet_parse(payload, len(payload), None, None, sizes, ctypes.byref(offset))
    if frames <= 0 or sizes[0] == 0:
        return False
    config = payload[0] >> 3
    parts = max(1, (10, 20, 40, 60)[config % 4] // 20) if config < 12 else 1  # frames of SILK, 20 ms each
    flags = payload[offset.value]
    stereo = payload[0] & 0x04
    return bool(flags >> (7 - parts) & 1 or (stereo and flags >> (6 - 2 * parts) & 1))


class OpusDecoder:
    """Mono at 48 kHz, also of a stereo packet. Used by one thread; raises `MissingDependency` without libopus."""

    rate = RATE

    def __init__(self) -> None:
        self._decoder: int | None = None
        self._library = _library()
        self._out = np.empty(LONGEST_MS * RATE // 1000, np.float32)
        failed = ctypes.c_int()
        self._decoder = self._library.opus_decoder_create(RATE, 1, ctypes.byref(failed))
        if failed.value:
            raise MemoryError(f"libopus made no decoder: error {failed.value}")

    def __del__(self) -> None:
        if self._decoder:
            self._library.opus_decoder_destroy(self._decoder)

    def decode(self, payload: bytes) -> FloatArray | None:
        """Return a packet's samples in [-1, 1], or None for what is no Opus."""
        return self._decode(payload, len(self._out), copy=False) if payload else None

    def recover(self, following: bytes, samples: int) -> FloatArray | None:
        """Return the samples of the packet before `following`, which is lost, from the copy that this one carries.

        None where it carries none. To be called before `following` is decoded.
        """
        if not 0 < samples <= len(self._out) or samples % UNIT or not has_copy(following):
            return None
        return self._decode(following, samples, copy=True)

    def _decode(self, payload: bytes, most: int, *, copy: bool) -> FloatArray | None:
        place = self._out.ctypes.data
        count = self._library.opus_decode_float(self._decoder, payload, len(payload), place, most, copy)
        return np.clip(self._out[:count], -1, 1) if count > 0 else None


class OpusEncoder:
    """Mono at 48 kHz, for speech, with a coarse copy of each packet in the next one (in-band FEC).

    Used by one thread; raises `MissingDependency` without libopus.
    """

    def __init__(self) -> None:
        self._encoder: int | None = None
        self._library = _library()
        self._packet = np.empty(LONGEST_PACKET, np.uint8)
        failed = ctypes.c_int()
        self._encoder = self._library.opus_encoder_create(RATE, 1, VOIP, ctypes.byref(failed))
        if failed.value:
            raise MemoryError(f"libopus made no encoder: error {failed.value}")
        for setting, value in SETTINGS:
            self._library.opus_encoder_ctl(self._encoder, setting, ctypes.c_int(value))

    def __del__(self) -> None:
        if self._encoder:
            self._library.opus_encoder_destroy(self._encoder)

    def encode(self, block: FloatArray) -> bytes:
        """Return the packet of a block (samples,) of 10 or 20 ms; raises `InvalidAudio` for what is none."""
        block = np.ascontiguousarray(block, np.float32)
        place = self._packet.ctypes.data
        size = self._library.opus_encode_float(self._encoder, block.ctypes.data, len(block), place, len(self._packet))
        if size < 0:
            raise InvalidAudio(f"expected a block that Opus takes, got {len(block)} samples: error {size} of libopus")
        return self._packet[:size].tobytes()
