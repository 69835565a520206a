"""A batch whose whole path runs on a device: one copy in, one recorded tick, one copy out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..backend.graph import GraphBackend, GraphState, Replays
from ..dsp.band import CUTOFF
from ..net.device_path import DevicePath
from ..net.fused_path import FusedPath

if TYPE_CHECKING:
    from ..dsp.windows import FloatArray


class DeviceBatch:
    """The rows of one pair of rates on a CUDA device, or on the CPU in torch for the sake of its tests.

    What the pool writes (`blocks`, `active`) and reads (`out`) is pinned host memory. Batches of several shards run on
    streams of their own, so that one's copies overlap with another's computing. Used by one thread.
    """

    def __init__(self, model: GraphBackend, rate: int, rate_out: int, rows: int) -> None:
        spec, self.model = model.spec, model
        self.name = model.name
        self.failures: list[Exception] = []
        self._to_clear: dict[int, float] = {}  # row: gain at that time
        self._received: dict[int, Tensor] = {}  # by how many rows ran: where each recorded tick leaves it
        self._ran = 0
        hop, hop_out = spec.hop_at(rate), spec.hop_at(rate_out)
        path = DevicePath if model.fused is None else FusedPath
        self._path = path(spec, rate, rate_out, rows, model.device)
        self._state: GraphState = model.new_state(rows)
        self._all_rows = torch.arange(rows, device=model.device)
        self._blocks, self._out = model.on_host(rows, hop), model.on_host(rows, hop_out)
        self._active = model.on_host(rows, dtype=torch.bool)
        self._fixed, self._gain = model.on_host(rows), model.on_host(rows, dtype=torch.float64)
        self.blocks, self.out, self.active = self._blocks.numpy(), self._out.numpy(), self._active.numpy()
        self._replays = Replays(model.device, self._work)

    def tick(self, rows: int) -> None:
        """Take a hop from `blocks` and put one to `out` for every active row among the first `rows`."""
        if not self._replays.ready(rows):
            wanted = self.active[:rows].copy()
            self.active[:rows] = False
            self._replays.record(rows)
            self.active[:rows] = wanted
        if self._to_clear:
            self._clear()
        self._replays.run(rows)
        self._ran = rows

    def _work(self, rows: int) -> None:
        """One tick: host to device, the path, device to host; all of it in the order of the device's stream."""
        device = self.model.device
        inputs = (self._blocks, self._active, self._fixed, self._gain)
        hops, active, fixed, gain = (whole[:rows].to(device, non_blocking=True) for whole in inputs)
        column = active.unsqueeze(1)
        received, spectrum, cutoff = self._path.analyse(hops, column, fixed)
        self._received[rows] = received
        envelope = self.model.advance(self._state, spectrum, cutoff, active, self._all_rows)
        hops = self._path.synthesise(envelope, cutoff, received, column, gain)
        self._out[:rows].copy_(hops, non_blocking=True)

    def set(self, row: int, cutoff_hz: float, gain: float) -> None:
        """Set a row's cutoff in Hz, NaN to detect it, and its gain."""
        self._fixed[row], self._gain[row] = cutoff_hz, gain

    def settings(self, row: int) -> tuple[float, float]:
        """Return a row's cutoff and gain as they were set."""
        return float(self._fixed[row]), float(self._gain[row])

    def cutoff_hz(self, row: int) -> float:
        """Return where a row's received band ends in Hz: as set, or as detected, which is copied from the device."""
        fixed_hz = float(self._fixed[row])
        return float(self._path.tracker.known[row, CUTOFF]) if math.isnan(fixed_hz) else fixed_hz

    def received(self, row: int) -> FloatArray:
        """Copy the received band of a row's last hop from the device: only for who asks, nothing in the tick."""
        whole: FloatArray = self._received[self._ran][row].cpu().numpy()
        return whole

    def clear(self, row: int) -> None:
        """Make a row that of a new stream with the settings it has: with the next tick, all that are due at once."""
        self._to_clear[row] = float(self._gain[row])

    @torch.inference_mode()
    def _clear(self) -> None:
        """Clear those rows that were to be."""
        rows = torch.tensor(list(self._to_clear), device=self.model.device)
        gains = torch.tensor(list(self._to_clear.values()), dtype=torch.float64, device=self.model.device)
        self._path.clear(rows, gains)
        self.model.clear_rows(self._state, rows)
        self._to_clear.clear()

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Copy a row over another."""
        if self._to_clear:
            self._clear()
        state = self._state
        for whole in (*self._path.remembered(), *state.rings.values(), state.memory, state.heard):
            whole[target] = whole[source]
        if source < self._ran:
            self._received[self._ran][target] = self._received[self._ran][source]
        self._fixed[target], self._gain[target] = self._fixed[source], self._gain[source]
