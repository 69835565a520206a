"""Many streams of one pair of rates through one model: `Stream`, with a row for each."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..backend.base import Backend, BoolArray, Step
from ..dsp.path import HostPath
from ..dsp.windows import FloatArray
from ..errors import BackendFailed


class Batch(Protocol):
    """What the pool needs of a batch, whether it runs on the host or on a device. Used by one thread."""

    blocks: FloatArray  # (rows, hop), written by the pool
    active: BoolArray  # (rows,), written by the pool: which rows have a hop there
    out: FloatArray  # (rows, hop_out), of the last tick
    failures: list[Exception]  # what made it go on with the spare

    @property
    def name(self) -> str:
        """The backend that runs it now."""

    def prepare(self, sizes: Sequence[int]) -> None:
        """Compile, bind and record what ticks of so many rows need, with no row active; no row's memory changes."""

    def start(self, rows: int) -> None:
        """Give every active row among the first `rows` its hop and write one to `out`; the others stand still.

        On a device it is only begun. Raises `BackendFailed` where the model fails and no other can take over.
        """

    def finish(self) -> None:
        """Return when that is done; raises what a device raises."""

    def set(self, row: int, cutoff_hz: float, gain: float) -> None:
        """Set where a row's received band ends (NaN: detect it) and the linear gain of what is added."""

    def settings(self, row: int) -> tuple[float, float]:
        """Return a row's cutoff and gain as they were set."""

    def cutoff_hz(self, row: int) -> float:
        """Return where a row's received band ends in Hz: as set, or as detected."""

    def received(self, row: int) -> FloatArray:
        """Return what a row's hop in `out` was laid over: the received band alone, (hop_out,), on the host."""

    def clear(self, row: int) -> None:
        """Make a row that of a new stream with the settings it has."""

    def move(self, source: int, target: int) -> None:
        """Copy a row, with everything it remembers and is set to, over another."""


class HostBatch:
    """The rows of one pair of rates on the CPU: batched kernels around one call of the network.

    When the model raises, `spare` takes over in the same tick with what every row remembered; where that cannot be
    read any more, the generated band starts anew and fades in over one hop. The received band never notices.
    """

    def __init__(self, model: Backend, rate: int, rate_out: int, rows: int, spare: Backend | None = None) -> None:
        self.model, self.spare = model, spare
        self.path = HostPath(model.spec, rate, rate_out, rows)
        self.blocks, self.out = self.path.blocks, self.path.out
        self.active = np.zeros(rows, np.bool_)
        self.failures: list[Exception] = []
        try:
            self.state = model.new_state(rows)
        except Exception as error:  # a device that is gone or full; there is nothing to carry over
            self.state = self._take_spare(error).new_state(rows)

    @property
    def name(self) -> str:
        """The backend that runs the network now."""
        return self.model.name

    def prepare(self, sizes: Sequence[int]) -> None:
        """Compile and bind what ticks of so many rows need."""
        self.active[:] = False
        for rows in sizes:
            self.start(rows)

    def start(self, rows: int) -> None:
        """Take a hop from `blocks` and put one to `out` for every active row among the first `rows`."""
        tick_together([(self, rows)])

    def finish(self) -> None:
        """Do nothing: `start` does all of it."""

    def step_of(self, rows: int) -> Step:
        """Return the network's step of the first `rows` rows."""
        path, active = self.path, self.active[:rows]
        return Step(path.spectrum[:rows], path.network_cutoff_hz[:rows], self.state, path.envelope[:rows], active)

    def step(self, rows: int) -> None:
        """Advance the network, on the spare where the model fails."""
        self._try(lambda: self.model.step(*self.step_of(rows)))

    def _fall_back(self, error: Exception) -> None:
        """Go on with the spare and what rows remember, or raise `BackendFailed`."""
        failed = self.model
        old, self.state = self.state, self._take_spare(error).new_state(len(self.active))
        try:
            for row in range(len(self.active)):
                self.model.write_row(self.state, row, failed.read_row(old, row))
        except Exception as lost:  # a device that is gone takes its memory along
            error.add_note(f"and what its rows remembered is lost: {lost}")
            self.state = self.model.new_state(len(self.active))
            self.fade_in()

    def _take_spare(self, error: Exception) -> Backend:
        """Put the spare in the model's place and return it, or raise `BackendFailed`."""
        if self.spare is None:
            raise BackendFailed(f"{self.name} failed and there is no other backend to go on with: {error}") from error
        self.model, self.spare = self.spare, None
        self.failures.append(without_frames(error))
        return self.model

    def _try(self, change: Callable[[], None]) -> None:
        """Change the state, on the spare where the model fails."""
        try:
            change()
        except Exception as error:  # as in a tick
            self._fall_back(error)
            change()

    def fade_in(self) -> None:
        """Let every row's generated band rise from nothing over its next hop."""
        self.path.mixer.gain_now[:] = 0

    def set(self, row: int, cutoff_hz: float, gain: float) -> None:
        """Set a row's cutoff in Hz, NaN to detect it, and its gain."""
        self.path.fixed_hz[row], self.path.mixer.gain[row] = cutoff_hz, gain

    def settings(self, row: int) -> tuple[float, float]:
        """Return a row's cutoff and gain as they were set."""
        return float(self.path.fixed_hz[row]), float(self.path.mixer.gain[row])

    def cutoff_hz(self, row: int) -> float:
        """Return where a row's received band ends in Hz: as set, or as detected."""
        fixed_hz = float(self.path.fixed_hz[row])
        return float(self.path.tracker.cutoff_hz[row]) if math.isnan(fixed_hz) else fixed_hz

    def received(self, row: int) -> FloatArray:
        """Return the received band of a row's last hop."""
        return self.path.received[row]

    def clear(self, row: int) -> None:
        """Make a row that of a new stream with the settings it has."""
        self.path.clear(row)
        self._try(lambda: self.model.write_row(self.state, row))

    def move(self, source: int, target: int) -> None:
        """Copy a row over another."""
        self.path.move(source, target)
        self._try(lambda: self.model.write_row(self.state, target, self.model.read_row(self.state, source)))


def without_frames(error: Exception) -> Exception:
    """Return an error that is kept: its traceback as text, since its frames would keep all that they refer to."""
    error.add_note("".join(traceback.format_tb(error.__traceback__)))
    chain: list[BaseException | None] = [error]
    while chain:
        if (one := chain.pop()) is not None and one.__traceback__ is not None:
            chain += [one.__cause__, one.__context__]
            one.__traceback__ = None
    return error


def tick_together(batches: Sequence[tuple[HostBatch, int]]) -> None:
    """Tick batches, each with how many rows to run; where their model can do so, in one pass over its weights.

    Raises `BackendFailed` where a model fails and no other can take over.
    """
    for batch, rows in batches:
        batch.path.analyse(batch.active[:rows])
    alone = list(batches)
    models = {id(batch.model): batch.model for batch, _ in batches}
    for model in models.values():
        own = [(batch, rows) for batch, rows in batches if batch.model is model]
        together = getattr(model, "step_together", None)
        if together is not None and len(own) > 1:
            try:
                together([batch.step_of(rows) for batch, rows in own])
            except Exception:  # no row has been advanced: each batch finds out alone, and has its spare
                continue
            alone = [one for one in alone if one not in own]
    for batch, rows in alone:
        batch.step(rows)
    for batch, rows in batches:
        batch.path.synthesise(batch.active[:rows])
