"""The network in plain torch: the reference that every other backend is compared with."""

from __future__ import annotations

import torch

from ..dsp.windows import FloatArray
from ..net.model import State
from ..net.weights import Weights
from .base import BoolArray


class EagerBackend:
    """Runs `BandNet.forward` frame by frame on the CPU, on as many threads as torch is set to."""

    name = "eager"

    def __init__(self, weights: Weights) -> None:
        self.spec, self.model = weights.spec, weights.name
        self.net = weights.network().eval().requires_grad_(False)

    def new_state(self, rows: int = 1) -> State:
        """Return zeros for every layer's memory."""
        return self.net.new_state(rows)

    @torch.inference_mode()
    def step(
        self, spectrum: FloatArray, cutoff: FloatArray, state: State, out: FloatArray, active: BoolArray | None = None
    ) -> None:
        """Advance the active rows by one frame; replaces or overwrites the tensors in `state`."""
        frames = torch.from_numpy(spectrum).unsqueeze(1)
        heard = {name: whole[: len(spectrum)] for name, whole in state.items()}
        envelope, new = self.net(frames, torch.from_numpy(cutoff).unsqueeze(1), heard)
        out[:] = envelope[:, 0].numpy()
        if active is not None:
            out[~active] = 0
            rows = torch.from_numpy(active).view(-1, 1, 1)
            new = {name: torch.where(rows, new[name], old) for name, old in heard.items()}
        for name, whole in state.items():
            if len(whole) == len(new[name]):
                state[name] = new[name]
            else:
                whole[: len(new[name])] = new[name]

    def read_row(self, state: State, row: int) -> dict[str, FloatArray]:
        """Return copies of one row's memory."""
        return {name: whole[row].numpy().copy() for name, whole in state.items()}

    @torch.inference_mode()
    def write_row(self, state: State, row: int, memory: dict[str, FloatArray] | None = None) -> None:
        """Put memory into one row, or clear it."""
        for name, whole in state.items():
            whole[row] = torch.from_numpy(memory[name]) if memory else 0
