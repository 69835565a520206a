"""Sound devices through PortAudio and sounddevice: two streams whose callbacks are compiled code on a shared block."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import DeviceFailed
from .callbacks import capture_callback, play_callback
from .devices import PULSE, Device, portaudio
from .layout import CHANNELS_IN, CHANNELS_OUT
from .shared_block import SharedBlock

LATENCY_BLOCKS = 4  # that a device may hold, as PortAudio's "low" is; a machine that stalls plays on from them
ENDPOINT = {"input": "PULSE_SOURCE", "output": "PULSE_SINK"}  # where libpulse looks for the endpoint of a new stream
GROUP = "PULSE_PROP_node.link-group"  # and for the link group, which PipeWire's session manager reads


@dataclass(frozen=True, slots=True)
class Plan:
    """What to open: the ends, their common rate in Hz, and the samples that a device hands over at a time."""

    source: Device
    sink: Device
    rate: int
    block: int
    group: str | None = None  # of a smart filter: the session manager links what goes to the real device


class Host(Protocol):
    """A way to reach devices. `open` and `close` are the supervising thread's; audio flows on threads of its own."""

    name: str

    def open(self, plan: Plan, shared: SharedBlock) -> None:
        """Start both directions on the shared block; raises `DeviceFailed`, with nothing left open."""

    def close(self) -> None:
        """Stop both directions; never raises, also where the device is gone."""

    @property
    def latency_s(self) -> tuple[float, float]:
        """What the devices say that they hold, input and output, in seconds."""


class SoundDeviceHost:
    """PortAudio with native callbacks: one stream a direction, since a duplex one fails to start more often."""

    name = "sounddevice"

    def __init__(self) -> None:
        self.streams: list[Any] = []
        self.latency_s = (0.0, 0.0)

    def open(self, plan: Plan, shared: SharedBlock) -> None:
        """Start the input, then the output."""
        sd = portaudio()
        shared.head[CHANNELS_IN] = shared.head[CHANNELS_OUT] = 1
        try:
            self.streams = [self._start(sd, device, plan, shared) for device in (plan.source, plan.sink)]
        except DeviceFailed:
            self.close()
            raise
        reported = (float(self.streams[0].latency), float(self.streams[1].latency))
        guess = plan.block / plan.rate  # PortAudio's JACK sometimes reports a wrong one
        self.latency_s = (reported[0] if reported[0] < 1 else guess, reported[1] if reported[1] < 1 else guess)

    def _start(self, sd: Any, device: Device, plan: Plan, shared: SharedBlock) -> Any:
        point_server_at(device, plan.group)
        native = capture_callback if device.kind == "input" else play_callback
        try:
            stream = sd._StreamBase(
                kind=device.kind,
                device=device.index,
                samplerate=plan.rate,
                blocksize=plan.block,
                channels=1,
                dtype="float32",
                latency=LATENCY_BLOCKS * plan.block / plan.rate,
                wrap_callback=None,
                callback=sd._ffi.cast("PaStreamCallback*", native.address),
                userdata=sd._ffi.cast("void*", shared.address),
            )
            self.streams.append(stream)
            stream.start()
        except sd.PortAudioError as error:
            raise explain(error, device, plan.rate) from error
        return stream

    def close(self) -> None:
        """Abort both streams and forget them."""
        streams, self.streams = self.streams, []
        for stream in streams:
            stream.close(ignore_errors=True)


def point_server_at(device: Device, group: str | None = None) -> None:
    """Point libpulse, by the environment that it reads at each new stream, which endpoint is meant.

    In the group of a smart filter, that of a device which rtsr has not made is the session manager's choice.
    """
    linked = group is not None and not device.made_by_rtsr
    given = {
        ENDPOINT[device.kind]: device.name if device.host == PULSE and not linked else None,
        GROUP: group if linked else None,
    }
    for name, value in given.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def explain(error: Exception, device: Device, rate: int) -> DeviceFailed:
    """Turn PortAudio's words into ours, with what to do."""
    said = str(error).removeprefix("Error opening ").strip()
    if "sample rate" in said:
        cure = f"it does not take {rate} Hz: try --rate {device.rate}"
    elif "unavailable" in said:
        cure = "another program holds it, or it is gone: close that program, or choose another of `rtsr devices`"
    else:
        cure = f"PortAudio says: {said}"
    return DeviceFailed(f"cannot open the {device.kind} {device.name!r}: {cure}")
