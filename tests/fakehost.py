"""A host with two scripted clocks instead of devices: what the audio threads and the worker do, without any thread."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from rtsr.daemon.worker import Worker


class FakeHost:
    """Runs a worker in simulated time: `ppm` is by how much the input's clock is faster than the output's.

    `compute_s` says how long a hop takes the worker at a time; `input_on` and `output_on` whether a device runs;
    `resumes` when happens what is due at a time: later, where the whole machine stands still. Devices catch up then.
    """

    def __init__(self, make: Callable[..., Worker], sound: Callable[[int, int], np.ndarray], **options: object) -> None:
        self.now = 0.0
        self.worker = make(clock=lambda: self.now)
        self.rate, self.sound = self.worker.rate, sound
        self.block = int(options.get("block", 120))
        self.ppm = float(options.get("ppm", 0.0))
        self.compute_s = options.get("compute_s", lambda now: 0.0005)
        self.input_on = options.get("input_on", lambda now: True)
        self.output_on = options.get("output_on", lambda now: True)
        self.resumes = options.get("resumes", lambda due: due)
        self.played: list[np.ndarray] = []
        self.levels: list[tuple[float, int]] = []
        self.captured = 0
        self._order = 0
        self._events: list[tuple[float, int, Callable[[float], float]]] = []
        for start, job in ((0.0, self._capture), (0.0013, self._play), (0.0001, self._work)):
            self._plan(start, job)

    def _plan(self, at: float, job: Callable[[float], float]) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, self._order, job))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._events[0][0] < until:
            due, _, job = heapq.heappop(self._events)
            self.now = max(self.now, self.resumes(due))
            self._plan(job(due), job)
        self.now = until

    def _capture(self, due: float) -> float:
        if self.input_on(self.now):
            self.worker.shared.capture(self.sound(self.captured, self.block)[:, None])
            self.captured += self.block
        return due + self.block / (self.rate * (1 + self.ppm * 1e-6))

    def _play(self, due: float) -> float:
        if self.output_on(self.now):
            out = np.zeros((self.block, 1), np.float32)
            self.worker.shared.play(out)
            self.played.append(out[:, 0])
        return due + self.block / self.rate

    def _work(self, _due: float) -> float:
        if not self.worker.step():
            return self.now + 0.0005
        self.levels.append((self.now, self.worker.shared.ready))
        return self.now + float(self.compute_s(self.now))

    @property
    def heard(self) -> np.ndarray:
        """Everything played so far."""
        return np.concatenate(self.played)
