"""A batch whose whole path runs on a device: one copy in, one recorded tick, one copy out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..backend.graph import GraphBackend, GraphState
from ..backend.replays import Replays, Work
from ..dsp.band import CUTOFF
from ..net.device_path import DevicePath
from ..net.fused_path import FusedPath

if TYPE_CHECKING:
    from ..dsp.windows import FloatArray

CHANGES = (16, 256, 4096)  # how many rows a recorded change moves; one more moves all


class DeviceBatch:
    """The rows of one pair of rates on a CUDA device, or on the CPU in torch for the sake of its tests.

    What the pool writes (`blocks`, `active`) and reads (`out`) is pinned host memory. Each batch has a stream of its
    own, so that one's copies overlap with another's computing. Rows that join and leave change on the device with the
    next tick, all of them at once: one more row there is always that of a new stream. Used by one thread.
    """

    def __init__(self, model: GraphBackend, rate: int, rate_out: int, rows: int) -> None:
        spec, self.model = model.spec, model
        self.name = model.name
        self.failures: list[Exception] = []
        self._received: dict[int, Tensor] = {}  # by how many rows ran: where each recorded tick leaves it
        self._ran = 0
        self._blank = rows
        self._change_sizes = [*(n for n in CHANGES if n < rows), rows]
        self._origin: dict[int, int] = {}  # of rows that are to change: which row's memory they get
        self._gain_then: dict[int, float] = {}  # of new streams: the gain that they begin with
        hop, hop_out = spec.hop_at(rate), spec.hop_at(rate_out)
        path = DevicePath if model.fused is None else FusedPath
        self._path = path(spec, rate, rate_out, rows + 1, model.device)
        self._state: GraphState = model.new_state(rows + 1)
        self._hops_in, self._hops_out = model.on_host(rows, hop), model.on_host(rows, hop_out)
        self._mask = model.on_host(rows, dtype=torch.bool)
        self._cutoffs, self._gains = model.on_host(rows), model.on_host(rows, dtype=torch.float64)
        self._changes = model.on_host(2, rows, dtype=torch.int64)  # targets and sources
        self._gain_begins = model.on_host(rows, dtype=torch.float64)
        self.blocks, self.out, self.active = self._hops_in.numpy(), self._hops_out.numpy(), self._mask.numpy()
        self._fixed, self._gain = self._cutoffs.numpy(), self._gains.numpy()
        self._replays = Replays(model.device)
        self._replays.call(self._clear_blank)

    def prepare(self, sizes: Sequence[int]) -> None:
        """Record ticks of so many rows, the largest first, and changes of rows."""
        self.active[:] = False
        self._put_changes({}, self._blank)
        works: dict[Hashable, Work] = {rows: partial(self._work, rows) for rows in sorted(sizes, reverse=True)}
        works |= {("change", n): partial(self._change, n) for n in reversed(self._change_sizes)}
        self._replays.record(works)

    def start(self, rows: int) -> None:
        """Begin to take a hop from `blocks` and to put one to `out` for every active row among the first `rows`."""
        if not self._replays.ready(rows):
            wanted = self.active.copy()
            self.prepare([rows])
            self.active[:] = wanted
        if self._origin:
            self._launch_changes()
        self._replays.launch(rows, partial(self._work, rows))
        self._ran = rows

    def finish(self) -> None:
        """Return when `out` is there."""
        self._replays.wait()

    def _work(self, rows: int) -> None:
        """One tick: host to device, the path, device to host; all of it in the order of the device's stream."""
        device = self.model.device
        inputs = (self._hops_in, self._mask, self._cutoffs, self._gains)
        hops, active, fixed, gain = (whole[:rows].to(device, non_blocking=True) for whole in inputs)
        column = active.unsqueeze(1)
        received, spectrum, cutoff = self._path.analyse(hops, column, fixed)
        self._received[rows] = received
        envelope = self.model.advance(self._state, spectrum, cutoff, active)
        hops = self._path.synthesise(envelope, cutoff, received, column, gain)
        self._hops_out[:rows].copy_(hops, non_blocking=True)

    def _clear_blank(self) -> None:
        blank = torch.tensor([self._blank], device=self.model.device)
        self._path.clear(blank, torch.zeros(1, dtype=torch.float64, device=self.model.device))

    def _change(self, count: int) -> None:
        """Give rows what other rows remember, all at once; NaN as a gain leaves the one that is remembered."""
        device = self.model.device
        targets, sources = self._changes[:, :count].to(device, non_blocking=True)
        begins = self._gain_begins[:count].to(device, non_blocking=True)
        remembered = [*self._path.remembered(), *self._state.remembered()]
        for whole, memory in zip(remembered, [whole[sources] for whole in remembered], strict=True):
            whole[targets] = memory
        gains = self._path.gain_now
        gains[targets] = torch.where(begins.isnan(), gains[targets], begins)

    def _put_changes(self, origin: dict[int, int], size: int) -> None:
        """Write which rows get whose memory to the host's buffers, filled up with the blank row's own."""
        targets, sources = self._changes.numpy()
        begins = self._gain_begins.numpy()
        targets[:size] = sources[:size] = self._blank
        begins[:size] = math.nan
        for i, (target, source) in enumerate(origin.items()):
            targets[i], sources[i] = target, source
            begins[i] = self._gain_then.get(target, math.nan)

    def _launch_changes(self) -> None:
        size = next(n for n in self._change_sizes if n >= len(self._origin))
        self._put_changes(self._origin, size)
        self._replays.launch(("change", size), partial(self._change, size))
        self._origin.clear()
        self._gain_then.clear()

    def set(self, row: int, cutoff_hz: float, gain: float) -> None:
        """Set a row's cutoff in Hz, NaN to detect it, and its gain."""
        self._fixed[row], self._gain[row] = cutoff_hz, gain

    def settings(self, row: int) -> tuple[float, float]:
        """Return a row's cutoff and gain as they were set."""
        return float(self._fixed[row]), float(self._gain[row])

    def cutoff_hz(self, row: int) -> float:
        """Return where a row's received band ends in Hz: as set, or as detected, which is copied from the device."""
        fixed_hz = float(self._fixed[row])
        if not math.isnan(fixed_hz):
            return fixed_hz
        return float(self._path.tracker.known[self._origin.get(row, row), CUTOFF])

    def received(self, row: int) -> FloatArray:
        """Copy the received band of a row's last hop from the device: only for who asks, nothing in the tick."""
        source = self._origin.get(row, row)  # a row that is to be cleared has still what it heard
        whole: FloatArray = self._received[self._ran][row if source == self._blank else source].cpu().numpy()
        return whole

    def clear(self, row: int) -> None:
        """Make a row that of a new stream with the settings it has: with the next tick, as all that are due."""
        self._origin[row], self._gain_then[row] = self._blank, float(self._gain[row])

    def move(self, source: int, target: int) -> None:
        """Copy a row over another, with the next tick."""
        self._origin[target] = self._origin.get(source, source)
        self._gain_then.pop(target, None)
        if source in self._gain_then:
            self._gain_then[target] = self._gain_then[source]
        self._fixed[target], self._gain[target] = self._fixed[source], self._gain[source]
