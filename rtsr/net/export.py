"""From a trained network to the files that ship: safetensors and an ONNX graph of one step."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from . import weights
from .model import BandNet

OPSET = 17


class Step(nn.Module):
    """One frame for every row, with named states in and out; rows that are not active stand still."""

    def __init__(self, net: BandNet) -> None:
        super().__init__()
        self.net = net
        self.names = list(net.state_shapes())

    def forward(self, spectrum: Tensor, cutoff: Tensor, active: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        old = dict(zip(self.names, states, strict=True))
        envelope, new = self.net(spectrum.unsqueeze(1), cutoff.unsqueeze(1), old)
        rows = active.view(-1, 1, 1)
        kept = [torch.where(rows, new[n], old[n]) for n in self.names]
        return envelope.squeeze(1) * active.view(-1, 1).to(envelope.dtype), *kept


def onnx_bytes(net: BandNet) -> bytes:
    """Export one step to ONNX; inputs spectrum, cutoff, active and the states; outputs envelope and new_ states."""
    step = Step(net).eval()
    spec = net.config.spec
    rows = 2  # a batch that is not 1, so that no shape is taken for a constant
    example = (
        torch.randn(rows, spec.bins_in, 2),
        torch.full((rows,), spec.cutoff_min_hz),
        torch.ones(rows, dtype=torch.bool),
        *net.new_state(rows).values(),
    )
    inputs = ["spectrum", "cutoff", "active", *step.names]
    outputs = ["envelope", *(f"new_{n}" for n in step.names)]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own future and of every traced shape
        torch.onnx.export(
            step,
            example,
            buffer,  # type: ignore[arg-type]
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={n: {0: "rows"} for n in inputs + outputs},
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


def export(net: BandNet, name: str, folder: Path, card: dict[str, Any]) -> Path:
    """Write the weight files and the manifest of a network; returns the manifest's path."""
    net = net.cpu().eval().requires_grad_(False)
    contents = {"safetensors": save(net.state_dict()), "onnx": onnx_bytes(net)}
    manifest = {
        "net": net.config.as_dict(),
        "states": net.state_shapes(),
        "parameters": sum(p.numel() for p in net.parameters()),
        "macs_per_s": macs_per_s(net),
        "card": card,
    }
    return weights.write(name, folder, contents, manifest)


def macs_per_s(net: BandNet) -> int:
    """Multiplications and additions of the network in one second of one stream: one a weight a frame."""
    applied = sum(p.numel() for n, p in net.named_parameters() if p.dim() > 1)
    return applied * net.config.spec.frames_per_s
