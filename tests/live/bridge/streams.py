"""Peers of media streams: pipecat's serializers, and WebSockets that speak."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import numpy as np

from tests.live.bridge.server import Bridge
from tests.speech import missing

START = {
    "event": "start",
    "streamSid": "MZ1",
    "start": {"streamSid": "MZ1", "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}},
}
PACKET_S = 0.02


def tone(hz: float, rate: int, seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def as_bytes(sound: np.ndarray) -> bytes:
    return (np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes()


def as_sound(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").astype(np.float32) / 32_768


def power_at(sound: np.ndarray, rate: int, hz: float) -> float:
    """The share of the power that lies within 40 Hz of a frequency."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(sound), 1 / rate) - hz) < 40
    return float(spectrum[near].sum() / (spectrum.sum() + 1e-12))


class Pipecat:
    """A serializer of pipecat-ai: audio to a platform's messages and back."""

    def __init__(self, name: str, rate: int, *arguments: str) -> None:
        if importlib.util.find_spec("pipecat") is None:
            missing("pipecat-ai")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # audioop is deprecated
            module = importlib.import_module(f"pipecat.serializers.{name.lower()}")
            self.frames = importlib.import_module("pipecat.frames.frames")
        kind = getattr(module, f"{name}FrameSerializer")
        parameters = kind.InputParams(sample_rate=rate, **({} if name == "Vonage" else {"auto_hang_up": False}))
        self.rate, self.serializer = rate, kind(*arguments, params=parameters)

    async def set_up(self) -> Pipecat:
        await self.serializer.setup(SimpleNamespace(audio_in_sample_rate=self.rate))
        return self

    async def audio(self, sound: np.ndarray) -> str | bytes | None:
        frame = self.frames.OutputAudioRawFrame(audio=as_bytes(sound), sample_rate=self.rate, num_channels=1)
        return await self.serializer.serialize(frame)

    async def interrupt(self) -> str | bytes | None:
        return await self.serializer.serialize(self.frames.InterruptionFrame())

    async def read(self, message: str | bytes) -> np.ndarray | str | None:
        """Return the audio of a message, or the key that it tells of."""
        frame = await self.serializer.deserialize(message)
        if isinstance(frame, self.frames.InputAudioRawFrame):
            return as_sound(frame.audio)
        return frame.button.value if isinstance(frame, self.frames.InputDTMFFrame) else None


@asynccontextmanager
async def stream(bridge: Bridge, path: str, **more: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession(bridge.url) as http, http.ws_connect(path, **more) as socket:
        yield socket


async def send(socket: aiohttp.ClientWebSocketResponse, message: str | bytes | None) -> None:
    if message is not None:
        await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))


async def speak(say: Callable, sound: np.ndarray, rate: int) -> list[float]:
    """Say 20 ms after 20 ms; returns when each was sent."""
    loop, count, times = asyncio.get_running_loop(), round(rate * PACKET_S), []
    began = loop.time()
    for n in range(len(sound) // count):
        await asyncio.sleep(max(0.0, began + (n + 1) * PACKET_S - loop.time()))
        times.append(loop.time())
        await say(sound[n * count : (n + 1) * count])
    return times
