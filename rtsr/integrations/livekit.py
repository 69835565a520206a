"""A frame processor for LiveKit, which restores the band that a telephone line cut off.

    audio_input = AudioInputOptions(noise_cancellation=RtsrProcessor())
    await session.start(room=room, room_options=RoomOptions(audio_input=audio_input))

Whatever the caller speaks through, what comes after the processor has the whole band.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from livekit.rtc import AudioFrame, FrameProcessor

from ..backend import Backend, load
from .pcm import PcmEnhancer, check_rate

AGENT_RATE = 24_000  # that LiveKit's agents ask for in Hz
MOST_WAITING = 4  # frames; where the machine is too slow for them, the oldest are left out


class RtsrProcessor(FrameProcessor[AudioFrame]):
    """Enhances frames at 16 kHz or more, each of as many samples as it has; they leave a frame and `latency_ms` later.

    LiveKit calls from its event loop and takes a frame for each that it gives. So frames are computed on a thread, and
    what is returned is the frame before, which is done by then; where it is not, silence is returned and counted in
    `underruns`. Frames of another rate, or number of channels, than was given here pass as they are until a path for
    them is ready, which takes a second. Raises what opening a model raises.
    """

    def __init__(
        self,
        model: str | Backend = "voice-16k",
        cutoff: float | str = "auto",
        *,
        rate: int = AGENT_RATE,
        channels: int = 1,
    ) -> None:
        self._model, self._cutoff = load(model) if isinstance(model, str) else model, cutoff
        self._enabled = True
        self._enhancer = PcmEnhancer(self._model, rate, channels, cutoff)
        self._next: Future[PcmEnhancer] | None = None
        self._thread = ThreadPoolExecutor(1, "rtsr processor")
        self._waiting: deque[Future[AudioFrame]] = deque()
        self.underruns = self.left_out = 0

    @property
    def enabled(self) -> bool:
        """Whether LiveKit calls this for frames; turning it off leaves the latency out as well."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled = value

    @property
    def latency_ms(self) -> float:
        """By how much samples leave later than they came, besides the length of a frame."""
        return self._enhancer.latency_ms

    def _process(self, frame: AudioFrame) -> AudioFrame:
        """Take a frame and return the one before it; the event loop's. Raises `InvalidSetting` under 16 kHz."""
        if not self._is_ready_for(frame):
            return frame
        self._waiting.append(self._thread.submit(self._enhance, self._enhancer, frame))
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft().cancel()
            self.left_out += 1
        if len(self._waiting) > 1 and self._waiting[0].done():
            return self._waiting.popleft().result()
        self.underruns += len(self._waiting) > 1
        samples = frame.samples_per_channel
        return AudioFrame(bytes(2 * frame.num_channels * samples), frame.sample_rate, frame.num_channels, samples)

    def _is_ready_for(self, frame: AudioFrame) -> bool:
        """Whether there is a path for frames like this one; if not, one is made on the thread."""
        rate, channels = frame.sample_rate, frame.num_channels
        if (self._enhancer.rate, self._enhancer.channels) == (rate, channels):
            return True
        if self._next is None:
            check_rate(self._model, rate)
            self._waiting.clear()
            self._next = self._thread.submit(PcmEnhancer, self._model, rate, channels, self._cutoff)
        elif self._next.done():
            made, self._next = self._next, None
            self._enhancer = made.result()
        return False

    @staticmethod
    def _enhance(enhancer: PcmEnhancer, frame: AudioFrame) -> AudioFrame:
        """The thread's: a frame of the same size and kind."""
        made = enhancer.process(bytes(frame.data.cast("B")))
        return AudioFrame(
            made, frame.sample_rate, frame.num_channels, frame.samples_per_channel, userdata=frame.userdata
        )

    def _close(self) -> None:
        """End the thread."""
        for one in self._waiting:
            one.cancel()
        self._waiting.clear()
        self._thread.shutdown(wait=False)
