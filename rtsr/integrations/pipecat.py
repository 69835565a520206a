"""A filter for the transports of pipecat, which restores the band that a telephone line cut off.

    transport = DailyTransport(..., params=DailyParams(audio_in_filter=RtsrFilter(), audio_in_sample_rate=16000))

Whatever the caller speaks through, what comes after the filter has the whole band.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.frames.frames import FilterControlFrame, FilterEnableFrame

from ..backend import Backend
from ..errors import InvalidSetting
from .pcm import PcmEnhancer


class RtsrFilter(BaseAudioFilter):
    """Enhances mono 16-bit audio of a transport at 16 kHz or more; as much comes out as goes in, `latency_ms` later.

    Computes on a thread of its own, so the event loop does not wait for the network. `FilterEnableFrame` turns the
    generated band on and off without a click.
    """

    def __init__(self, model: str | Backend = "voice-16k", cutoff: float | str = "auto") -> None:
        self._model, self._cutoff = model, cutoff
        self._enabled = True
        self._enhancer: PcmEnhancer | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def latency_ms(self) -> float:
        """By how much audio leaves later than it came; raises `InvalidSetting` before `start`."""
        if self._enhancer is None:
            raise InvalidSetting("expected the filter to be started by its transport first")
        return self._enhancer.latency_ms

    async def start(self, sample_rate: int) -> None:
        """Open the model for a transport's rate in Hz; raises `InvalidSetting` for one below the model's."""
        thread = ThreadPoolExecutor(1, "rtsr filter")
        try:
            self._enhancer = await asyncio.get_running_loop().run_in_executor(
                thread, PcmEnhancer, self._model, sample_rate, 1, self._cutoff
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        self._enhancer.set_enabled(self._enabled)
        self._thread = thread

    async def stop(self) -> None:
        """Close what `start` opened; one that was not started is no error."""
        thread, self._thread, self._enhancer = self._thread, None, None
        if thread:
            await asyncio.to_thread(thread.shutdown)

    async def process_frame(self, frame: FilterControlFrame) -> None:
        """Follow a `FilterEnableFrame`; other frames are for other filters."""
        if isinstance(frame, FilterEnableFrame):
            self._enabled = frame.enable
            if self._enhancer:
                self._enhancer.set_enabled(frame.enable)

    async def filter(self, audio: bytes) -> bytes:
        """Return as many bytes of 16-bit samples as come; raises `InvalidAudio` for half a sample."""
        if self._enhancer is None or self._thread is None:
            return audio
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._enhancer.process, audio)
