"""Sound devices through PyAudio, which has only Python callbacks: blocking reads and writes on two threads instead.

PortAudio releases the interpreter lock while it blocks. What these threads do between is little, but it is Python: in
a process of their own they keep up, beside other busy Python threads they would not.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ..errors import DeviceFailed, MissingDependency
from .device import Plan, explain, point_server_at
from .devices import Device
from .shared_block import SharedBlock

JOIN_S = 0.5


class PyAudioHost:
    """PyAudio with one thread a direction."""

    name = "pyaudio"

    def __init__(self) -> None:
        self.audio: Any = None
        self.threads: list[threading.Thread] = []
        self.streams: list[Any] = []
        self.stopping = threading.Event()
        self.latency_s = (0.0, 0.0)

    def open(self, plan: Plan, shared: SharedBlock) -> None:
        """Open both ends and start both threads; raises `DeviceFailed`, `MissingDependency`."""
        try:
            import pyaudio
        except ImportError as error:
            raise MissingDependency("PyAudio", "live", "--host pyaudio") from error
        self.audio = pyaudio.PyAudio()
        self.stopping = threading.Event()
        try:
            for device in (plan.source, plan.sink):
                self._open(device, plan, pyaudio.paFloat32)
            self.latency_s = (self.streams[0].get_input_latency(), self.streams[1].get_output_latency())
        except DeviceFailed:
            self.close()
            raise
        except OSError as error:  # a device that goes meanwhile
            self.close()
            raise DeviceFailed(f"PyAudio cannot open {plan.source.name!r} and {plan.sink.name!r}: {error}") from error
        jobs = {"capture": (self._capture, self.streams[0]), "playback": (self._play, self.streams[1])}
        self.threads = [
            threading.Thread(
                target=job, args=(stream, plan.block, shared, self.stopping), name=f"rtsr {name}", daemon=True
            )
            for name, (job, stream) in jobs.items()
        ]
        for thread in self.threads:
            thread.start()

    def _open(self, device: Device, plan: Plan, kind: int) -> None:
        point_server_at(device, plan.group)
        ways = {"input": True, "input_device_index": self._index(device)}
        if device.kind == "output":
            ways = {"output": True, "output_device_index": self._index(device)}
        try:
            stream = self.audio.open(plan.rate, 1, kind, frames_per_buffer=plan.block, **ways)
        except OSError as error:
            raise explain(error, device, plan.rate) from error
        self.streams.append(stream)

    def _index(self, device: Device) -> int:
        """Find the device by its name; two builds of PortAudio need not number alike."""
        names = [self.audio.get_device_info_by_index(i)["name"] for i in range(self.audio.get_device_count())]
        wanted = device.host if device.host in names else device.name  # a server's ends are behind one
        if wanted not in names:
            raise DeviceFailed(f"PyAudio does not know {device.name!r}; it knows {', '.join(names) or 'no device'}")
        return names.index(wanted)

    @staticmethod
    def _capture(stream: Any, block: int, shared: SharedBlock, stopping: threading.Event) -> None:
        """Device to input ring until `close`; ends quietly with the device, which `LivePath.watch` notices."""
        while not stopping.is_set():
            try:
                raw = stream.read(block, exception_on_overflow=False)
            except OSError:
                return
            shared.capture(np.frombuffer(raw, np.float32)[:, None])

    @staticmethod
    def _play(stream: Any, block: int, shared: SharedBlock, stopping: threading.Event) -> None:
        """Output ring, or input ring, to device until `close`."""
        out = np.zeros((block, 1), np.float32)
        while not stopping.is_set():
            shared.play(out)
            try:
                stream.write(out.tobytes(), block)
            except OSError:
                return

    def close(self) -> None:
        """Stop both threads, then close both ends."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(JOIN_S)
        threads, self.threads = self.threads, []
        streams, self.streams = self.streams, []
        if any(t.is_alive() for t in threads):
            return  # a device that is gone blocks for ever; closing under its thread would crash
        for stream in streams:
            stream.close()
        if self.audio is not None:
            self.audio.terminate()
            self.audio = None
