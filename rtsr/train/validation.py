"""Scores of a run on stretches that it does not learn from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ..net.model import BandNet
from ..net.signal import analyse, synthesise
from ..net.structure import Structure
from ..speech.corpus import Corpus
from ..speech.narrow import narrow
from .loss import EnvelopeLoss
from .pairs import Pairs

VALID_S = 2
DB = 10 / np.log(10)  # a natural logarithm of power in dB


def envelopes(net: BandNet, received: Tensor, cutoff: Tensor) -> Tensor:
    """Run the network over whole signals under bf16 autocast; (rows, samples) to (rows, frames, bands)."""
    spectrum = analyse(received, net.config.spec)
    given = cutoff.unsqueeze(1).expand(-1, spectrum.shape[1])
    with torch.autocast(received.device.type, torch.bfloat16):
        envelope, _ = net(spectrum, given, net.new_state(len(received)))
    return envelope.float()


def generate(structure: Structure, envelope: Tensor, received: Tensor, cutoff: Tensor) -> Tensor:
    """Return the generated band of whole signals, (rows, samples), from their envelopes."""
    rows, frames = envelope.shape[:2]
    short = torch.view_as_real(structure.short_spectra(received)).flatten(0, 1)
    counter = torch.arange(frames, device=received.device).repeat(rows)
    made = structure.generate(short, envelope.flatten(0, 1), cutoff.repeat_interleave(frames), counter)
    return synthesise(made.unflatten(0, (rows, frames)), structure.spec)


def validation_set(corpus: Corpus, cutoffs: tuple[float, ...], rows: int, rate: int) -> Pairs:
    """Return fixed stretches of the valid split at each cutoff, narrowed as the evaluation does."""
    truth = corpus.crops(np.random.default_rng(0), rows, VALID_S * rate)
    received = [narrow(t, rate, c) for c in cutoffs for t in truth]
    cutoff = torch.tensor([c for c in cutoffs for _ in truth])
    target = torch.from_numpy(np.tile(truth, (len(cutoffs), 1)))
    return Pairs(torch.from_numpy(np.stack(received)), target, cutoff)


@torch.no_grad()
def validate(net: BandNet, loss: EnvelopeLoss, pairs: Pairs, log: SummaryWriter, step: int) -> dict[str, float]:
    """Score `net` on the validation set, and log audio and pictures of the first stretch at each cutoff.

    By cutoff: the mean absolute error of the band levels over what is missing, and how much too loud (positive) the
    loudest quarter of frames is, both in dB; and the signal-to-noise ratio of the output.
    """
    net.eval()
    scores = {}
    for cutoff in pairs.cutoff.unique().tolist():
        some = pairs.cutoff == cutoff
        part = Pairs(pairs.received[some], pairs.target[some], pairs.cutoff[some])
        target, envelope = loss.target(part), envelopes(net, part.received, part.cutoff)
        louder = (loss.over_floor(envelope, target) - target.envelope) * DB
        scores[f"valid/error_{cutoff:.0f}"] = weighted(louder.abs(), target.missing)
        loudness = (target.envelope.exp() * target.missing).sum(-1, keepdim=True)
        loud = loudness >= loudness.quantile(0.75, dim=1, keepdim=True)
        scores[f"valid/bias_{cutoff:.0f}"] = weighted(louder, target.missing * loud)
        output = part.received + generate(loss.structure, envelope, part.received, part.cutoff)
        error = output - part.target
        scores[f"valid/snr_{cutoff:.0f}"] = 10 * torch.log10(part.target.square().sum() / error.square().sum()).item()
        log.add_audio(f"restored_{cutoff:.0f}", output[0], step, net.config.spec.rate)
        picture = torch.cat([envelope[0].T, target.envelope[0].T], dim=1).flip(0)
        log.add_image(f"envelope_true_{cutoff:.0f}", ((picture + 20) / 30).clamp(0, 1).unsqueeze(0), step)
    for name, value in scores.items():
        log.add_scalar(name, value, step)
    return scores


def weighted(values: Tensor, weights: Tensor) -> float:
    """Return a weighted mean."""
    weights = weights.expand_as(values)
    return ((values * weights).sum() / weights.sum().clamp(min=1e-6)).item()
