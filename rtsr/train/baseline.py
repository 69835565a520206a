"""Training the published networks as they were: mean squared error, Adam, patches; for a budget of minutes."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from ..errors import InvalidSetting
from ..net.baselines import network
from ..runs import CHECKPOINT, RECORD, read_checkpoint, write_checkpoint
from ..speech.corpus import Corpus, describe, read_manifest, select
from ..speech.metrics import lsd, snr
from ..speech.narrow import decimate, interpolated
from .filters import windowed_sinc

PATCH = 8192  # output samples to learn from in a row, as in Kuleshov et al.
SAVE_S = 60.0


@dataclass(frozen=True, slots=True)
class BaselineRecipe:
    """Everything a baseline's run depends on beside the data."""

    name: str
    factor: int
    minutes: float
    rows: int = 16
    seed: int = 1
    rate: int = 16_000


class BaselineRun:
    """One run: network, optimiser, the step they are at, and the seconds that training took so far."""

    def __init__(self, recipe: BaselineRecipe, folder: Path, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder, self.device = recipe, folder, device
        self.net = network(recipe.name, recipe.factor).to(device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), self.net.learning_rate)
        self.step, self.seconds = 0, 0.0

    def batch(self, corpus: Corpus) -> tuple[Tensor, Tensor]:
        """Return what the network starts from and what it should give; depends on the seed and the step."""
        rng = np.random.default_rng([self.recipe.seed, self.step])
        factor, taken = self.recipe.factor, self.net.fits(PATCH) * self.net.step
        samples = -(-taken // factor) * factor
        fade = np.minimum(1, np.arange(samples) / 80)
        truth = corpus.crops(rng, self.recipe.rows, samples) * fade * fade[::-1]
        hz = np.linspace(0, self.recipe.rate / 2, samples // 2 + 1, dtype=np.float32)
        passed = np.stack([windowed_sinc(hz, self.recipe.rate / 2 / factor, rng) for _ in truth])
        low = np.fft.irfft(np.fft.rfft(truth) * passed, n=samples)[:, ::factor].astype(np.float32)
        start = np.stack([interpolated(row, self.net.starts_from, factor, self.recipe.rate) for row in low])
        start = start[:, : taken // self.net.step]
        wanted = self.net.centre(torch.from_numpy(truth[:, :taken].astype(np.float32)))
        return torch.from_numpy(start).to(self.device), wanted.to(self.device)

    def advance(self, corpus: Corpus) -> float:
        """Take one step; returns the error."""
        began = time.monotonic()
        self.net.train()
        start, wanted = self.batch(corpus)
        error = F.mse_loss(self.net(start), wanted)
        self.optimiser.zero_grad()
        error.backward()
        self.optimiser.step()
        self.step += 1
        self.seconds += time.monotonic() - began
        return error.item()

    def save(self) -> None:
        """Write a checkpoint, by `write_checkpoint`."""
        parts = {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}
        write_checkpoint(self.folder, {"step": self.step, "seconds": self.seconds}, parts)

    def resume(self) -> None:
        """Go on from the folder's checkpoint; raises `InvalidSetting` where it is of another network."""
        state = read_checkpoint(self.folder, self.device)
        try:
            self.net.load_state_dict(state["net"])
        except RuntimeError as error:
            raise InvalidSetting(f"{self.folder} holds a checkpoint of another network: {error}") from error
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def validate(self, truth: np.ndarray) -> dict[str, float]:
        """Return mean figures over stretches (rows, samples) of the valid split, narrowed as the evaluation does."""
        self.net.eval()
        factor, scores = self.recipe.factor, []
        for row in truth:
            low = decimate(row, self.recipe.rate, factor)
            start = (
                torch.from_numpy(interpolated(low, self.net.starts_from, factor, self.recipe.rate))
                .unsqueeze(0)
                .to(self.device)
            )
            wide = self.net.restore(start)[0, : len(row)].cpu().numpy()
            scores.append((lsd(row, wide), snr(row, wide)))
        return dict(zip(("lsd", "snr"), np.mean(scores, axis=0).tolist(), strict=True))


def train(
    recipe: BaselineRecipe, speech: Path, folder: Path, device: torch.device, *, fresh: bool, every: int = 500
) -> BaselineRun:
    """Train until the run has had its minutes, going on from the folder's checkpoint unless `fresh`."""
    run = BaselineRun(recipe, folder, device)
    if not fresh and (folder / CHECKPOINT).exists():
        run.resume()
    recordings = read_manifest(speech)
    chosen = select(recordings, "train", recipe.rate)
    corpus = Corpus.packed(chosen, recipe.rate, folder.parent / "packed")
    held_out = [r for r in select(recordings, "valid", recipe.rate) if r.rate == recipe.rate]
    valid = Corpus.packed(held_out, recipe.rate, folder.parent / "packed")
    stretches = valid.crops(np.random.default_rng(0), 4, recipe.rate // 96 * 96)
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "baseline": asdict(recipe),
        "data": describe(chosen, corpus, recipe.rate),
        "machine": f"{device.type}, {os.cpu_count()} cores, torch {torch.__version__}",
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    console, log, saved = Console(), SummaryWriter(folder), run.seconds
    while run.seconds < 60 * recipe.minutes:
        log.add_scalar("train/mse", run.advance(corpus), run.step)
        over = run.seconds >= 60 * recipe.minutes
        if over or run.seconds > saved + SAVE_S:
            run.save()
            saved = run.seconds
        if over or run.step % every == 0:
            scores = run.validate(stretches)
            for name, value in scores.items():
                log.add_scalar(f"valid/{name}", value, run.step)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
            console.print(f"step {run.step}  {run.seconds / 60:.1f} minutes  {shown}")
    log.close()
    return run
