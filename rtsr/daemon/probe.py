"""Where the latency of a live path goes: a probe played through the real devices, measured beside what is computed.

The probe is a short burst of noise, found by its cross-correlation; it is played into what the path
captures and looked for in what the path plays.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dsp.windows import FloatArray
from ..errors import DeviceFailed
from ..io.device import LATENCY_BLOCKS, explain, point_server_at
from ..io.devices import Device, find_device, list_devices, portaudio

RATE = 48_000
BLOCK = 120
BURST_S, APART_S, BURSTS = 0.05, 0.35, 8
LEVEL = 0.3
TOP_HZ = 3_500  # the probe must pass a path for telephone voices
CLEAR = 10.0  # a peak of the correlation so many times its median size, almost 7 deviations of noise, is no accident


@dataclass(frozen=True, slots=True)
class Trip:
    """How long the probe took, in milliseconds, over all bursts that came back."""

    median_ms: float
    least_ms: float
    most_ms: float
    heard: int
    sent: int


def probe(seed: int = 0) -> FloatArray:
    """Return one burst of band-limited noise, shape (samples,)."""
    n = int(BURST_S * RATE)
    bins = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    bins[np.fft.rfftfreq(n, 1 / RATE) > TOP_HZ] = 0
    noise = np.fft.irfft(bins, n) * np.hanning(n)
    return (LEVEL * noise / np.abs(noise).max()).astype(np.float32)


def find(burst: FloatArray, heard: FloatArray) -> int | None:
    """Return where a burst begins in what was heard, or None where it is not there."""
    size = len(burst) + len(heard)
    cross = np.abs(np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(burst, size)), size)[: len(heard)])
    peak = int(np.argmax(cross))
    return peak if cross[peak] > CLEAR * np.median(cross) and cross[peak] > 1e-3 * float(burst @ burst) else None


class _Ends:
    """A playing and a capturing stream with Python callbacks: nothing else runs here, and it lasts for seconds."""

    def __init__(self, sink: Device, source: Device) -> None:
        self.score = np.zeros(int((BURSTS + 1) * APART_S * RATE), np.float32)
        self.starts = [int((k + 1) * APART_S * RATE) for k in range(BURSTS)]
        for k, start in enumerate(self.starts):
            burst = probe(k)
            self.score[start - len(burst) : start] = burst
            self.starts[k] = start - len(burst)
        self.played = 0
        self.captured: list[FloatArray] = []
        self.count = 0
        self.moments: list[tuple[int, int]] = []  # samples played and captured at the same moment
        sd = portaudio()
        latency = LATENCY_BLOCKS * BLOCK / RATE
        about: dict[str, Any] = {"samplerate": RATE, "blocksize": BLOCK, "channels": 1, "latency": latency}
        self.streams = []
        for kind, device, callback in ((sd.InputStream, source, self._capture), (sd.OutputStream, sink, self._play)):
            point_server_at(device)
            try:
                self.streams.append(kind(device=device.index, callback=callback, **about))
            except sd.PortAudioError as error:
                raise explain(error, device, RATE) from error

    def _capture(self, block: FloatArray, frames: int, _time: object, _flags: object) -> None:
        self.captured.append(block[:, 0].copy())
        self.count += frames

    def _play(self, out: FloatArray, frames: int, _time: object, _flags: object) -> None:
        self.moments.append((self.played, self.count))
        part = self.score[self.played : self.played + frames]
        out[: len(part), 0] = part
        out[len(part) :] = 0
        self.played += frames

    def run(self) -> list[float]:
        """Play the score and return how long each burst that came back took, in ms."""
        try:
            for stream in self.streams:
                stream.start()
            time.sleep(len(self.score) / RATE + APART_S)
        finally:
            for stream in self.streams:
                stream.close()
        heard, (played, captured) = np.concatenate(self.captured), np.array(self.moments).T
        found = []
        for k, start in enumerate(self.starts):
            then = int(np.interp(start, played, captured))
            place = find(probe(k), heard[then : then + int((APART_S + BURST_S) * RATE)])
            if place is not None:
                found.append(1000 * place / RATE)
        return found


def round_trip(output: str | None, input: str | None) -> Trip:
    """Play bursts to a device and time their way back to another, from callback to callback.

    Raises `DeviceFailed` where none comes back, and what finding and opening the devices raises.
    """
    devices = list_devices()
    sink, source = find_device(output, "output", devices), find_device(input, "input", devices)
    ms = np.array(_Ends(sink, source).run())
    if not len(ms):
        raise DeviceFailed(
            f"nothing of the probe came back from {sink.name!r} to {source.name!r}: join them with a cable, or name "
            "the ends of a running rtsr live: --output what it captures from, --input what it plays into"
        )
    return Trip(float(np.median(ms)), float(ms.min()), float(ms.max()), len(ms), BURSTS)


def table(trip: Trip | None, stats: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows to print: the measured trip, and the parts that each path of a running rtsr computes."""
    rows = []
    if trip is not None:
        rows += [
            ("measured round trip, median", f"{trip.median_ms:.1f} ms"),
            ("least and most", f"{trip.least_ms:.1f} and {trip.most_ms:.1f} ms"),
            ("bursts heard", f"{trip.heard} of {trip.sent}"),
        ]
    for path, values in stats.items():
        rows += [(f"computed, {path}: {part}", f"{value:.1f} ms") for part, value in values["latency_ms"].items()]
    return rows
