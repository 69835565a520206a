"""Trained baselines: opened from the folder that `rtsr train --model` wrote, whole recordings or, if causal, live."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from ..dsp.windows import FloatArray
from ..errors import CorruptWeights, InvalidAudio, InvalidSetting
from ..net.baselines import AudioUNet, network
from ..net.unet import Baseline, macs_per_sample
from ..runs import CHECKPOINT, RECORD, is_baseline, read_checkpoint, read_record
from ..speech.conditions import Heard
from ..speech.narrow import SHORT_SINC, SPLINE_REACH, interpolated, reach, short_sinc
from .systems import Facts


class Offline:
    """A trained baseline with its figures; `restore` takes whole recordings at `rate / factor`."""

    def __init__(self, name: str, net: Baseline, rate: int) -> None:
        self.name, self.net, self.rate, self.factor = name, net.eval().requires_grad_(False), rate, net.factor

    @classmethod
    def open(cls, folder: str | Path) -> Offline:
        """Open a run; raises `InvalidSetting` where there is none, `CorruptWeights` where it does not fit."""
        if not is_baseline(Path(folder)):
            raise InvalidSetting(f"expected the folder of a baseline's run with {RECORD}, got {folder}")
        recorded, state = read_record(Path(folder))["baseline"], read_checkpoint(Path(folder))
        try:
            name, factor, rate = recorded["name"], recorded["factor"], recorded["rate"]
            net = network(name, factor)
            net.load_state_dict(state["net"])
        except (RuntimeError, KeyError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise CorruptWeights(
                f"{folder}: {CHECKPOINT} is not that of the network in {RECORD}, {recorded}: {reason}"
            ) from error
        return cls(f"{name} x{factor}", net, rate)

    def restore_signal(self, low: FloatArray) -> FloatArray:
        """Return (samples * factor,), aligned with what was received."""
        start = interpolated(low, self.net.starts_from, self.factor, self.rate)
        wide = self.net.restore(torch.from_numpy(start.astype(np.float32)).unsqueeze(0))[0].numpy()
        return wide[: len(low) * self.factor]

    def restore(self, heard: Heard, rate: int) -> FloatArray | None:
        """Return the recording at `rate`, or None for another factor than it was trained for."""
        low = heard.low(rate)
        return self.restore_signal(low[0]) if low and rate == self.rate and low[1] == self.factor else None

    def facts(self, heard: Heard, rate: int) -> Facts:
        """Count its numbers and operations, and how far it and its interpolation look ahead."""
        interpolation = {
            "low": 0.0,
            "spline": SPLINE_REACH * self.factor,
            "sinc": reach(self.rate),
            "short sinc": SHORT_SINC,
        }[self.net.starts_from]
        ahead = self.net.look_ahead() * self.net.step + interpolation
        parameters = sum(p.numel() for p in self.net.parameters())
        return Facts(parameters, macs_per_sample(self.net) * self.rate, 1000 * ahead / self.rate)


class Live:
    """The causal AudioUNet as it is played: `hop` received samples in, `hop * factor` out, `delay` later."""

    def __init__(self, net: AudioUNet) -> None:
        if not net.causal:
            raise InvalidSetting("expected a causal AudioUNet to stream, got one that waits for what comes")
        self.net, self.delay = net.eval().requires_grad_(False), SHORT_SINC
        self.hop = math.lcm(net.multiple, net.factor) // net.factor
        self.interpolator, self.state = short_sinc(net.factor), net.new_state()

    @torch.inference_mode()
    def process(self, block: FloatArray) -> FloatArray:
        """Take a whole number of hops, (samples,) float32, and return (samples * factor,)."""
        if block.ndim != 1 or len(block) % self.hop:
            raise InvalidAudio(f"expected a multiple of {self.hop} samples, got the shape {block.shape}")
        raised = torch.from_numpy(self.interpolator.process(block)).unsqueeze(0)
        wide, self.state = self.net.advance(raised, self.state)
        return wide[0].numpy()
