"""Whole signals to frames and back in torch: the differentiable counterpart of `dsp.frames` and `dsp.overlap`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..dsp.windows import analysis_window, synthesis_window
from ..spec import Spec


def analyse(signal: Tensor, spec: Spec) -> Tensor:
    """Return the spectra that a stream would see: (rows, samples) to (rows, samples / hop, bins_in, 2).

    Frame k ends with sample (k + 1) * hop; before the signal there is silence. `samples` is a multiple of the hop.
    """
    window = torch.from_numpy(analysis_window(spec, spec.rate)).to(signal)
    frames = F.pad(signal, (spec.history - spec.hop, 0)).unfold(-1, spec.history, spec.hop)
    return torch.view_as_real(torch.fft.rfft(frames * window))


def synthesise(generated: Tensor, spec: Spec) -> Tensor:
    """Overlap-add generated spectra, undoing the path's delay: (rows, frames, bins_out, 2) to (rows, samples)."""
    window = torch.from_numpy(synthesis_window(spec)).to(generated)
    frames = torch.fft.irfft(torch.view_as_complex(generated.contiguous()), n=spec.synthesis) * window
    older, newer = frames[..., : spec.hop], frames[..., spec.hop :]
    whole = newer + F.pad(older[:, 1:], (0, 0, 0, 1))  # frame k begins one hop before hop k
    return whole.flatten(1)
