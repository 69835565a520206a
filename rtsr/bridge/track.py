"""A remote track, enhanced: one line in any aiortc program.

@connection.on("track")
def on_track(track):
    other.addTrack(EnhancedTrack(track))
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import cache

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from ..backend import Backend, load
from ..dsp.windows import FloatArray
from ..errors import InvalidAudio
from ..io.reblock import Reblock

RATE_OUT = 48_000
FULL_SCALE = {"s16": 32_768, "s16p": 32_768, "flt": 1, "fltp": 1}


@cache
def _worker() -> ThreadPoolExecutor:
    """The one thread that runs the network for all tracks of this process."""
    return ThreadPoolExecutor(1, "rtsr track")


@cache
def _model(name: str) -> Backend:
    return load(name)


class EnhancedTrack(MediaStreamTrack):
    """An audio track of any rate as mono 48 kHz, its missing band restored; the network runs on a thread of its own.

    Frames leave as they come, as long as they came, `Reblock.latency_ms` later. `bypass` leaves the generated band
    out. Ends with the track that it wraps, and stopping it stops that one.
    """

    kind = "audio"

    def __init__(
        self, track: MediaStreamTrack, model: str | Backend = "voice-16k", cutoff: float | str = "auto"
    ) -> None:
        super().__init__()
        self.bypass = False
        self._track, self._cutoff = track, cutoff
        self._wanted = model
        self._path: Reblock | None = None
        self._given = 0

    async def recv(self) -> av.AudioFrame:
        """Return the next frame, enhanced; raises `MediaStreamError` at the end, `InvalidAudio` for another sort."""
        if self.readyState != "live":
            raise MediaStreamError
        try:
            frame = await self._track.recv()
        except MediaStreamError:
            self.stop()
            raise
        samples = await asyncio.get_running_loop().run_in_executor(_worker(), self._enhance, frame)
        return self._framed(samples)

    def stop(self) -> None:
        """End this track and the one that it wraps."""
        super().stop()
        self._track.stop()

    def _enhance(self, frame: object) -> FloatArray:
        """The worker's: mono, through the path of this track."""
        if not isinstance(frame, av.AudioFrame) or frame.format.name not in FULL_SCALE:
            raise InvalidAudio(f"expected audio frames of 16 bit or float samples, got {frame!r}")
        if self._path is None or self._path.rate != frame.sample_rate:
            model = _model(self._wanted) if isinstance(self._wanted, str) else self._wanted
            self._path = Reblock(model, frame.sample_rate, RATE_OUT, cutoff=self._cutoff)
        self._path.stream.set_gain(-np.inf if self.bypass else 0.0)
        channels = frame.to_ndarray()
        if not frame.format.is_planar:
            channels = channels.reshape(-1, frame.layout.nb_channels).T
        return self._path.process((channels.mean(0) / FULL_SCALE[frame.format.name]).astype(np.float32))

    def _framed(self, samples: FloatArray) -> av.AudioFrame:
        out = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
        out.planes[0].update((np.clip(samples, -1, 1) * 32_767).astype(np.int16).tobytes())
        out.sample_rate, out.pts, out.time_base = RATE_OUT, self._given, Fraction(1, RATE_OUT)
        self._given += len(samples)
        return out
