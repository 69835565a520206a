"""The training loop: seeded, resumable at any step, the same on a CPU and on CUDA."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ..errors import InvalidSetting, UnknownName
from ..net.model import BandNet
from ..net.weights import Weights
from ..runs import CHECKPOINT, RECORD, read_checkpoint, write_checkpoint
from ..speech.conditions import read_noises
from ..speech.corpus import Corpus, Recording, describe, read_manifest, select
from .augmentation import Augmentation, Lower
from .discriminators import Discriminators
from .line_augmentation import LineAugmentation
from .loss import EnvelopeLoss
from .optimisers import Optimisers
from .pairs import PairMaker, Pairs
from .recipes import Recipe, learning_rate
from .transfer import transfer_weights
from .validation import envelopes, validate, validation_set

LOGGED_STEPS = 50  # between two looks at the loss, for which the device has to be waited for


class Run:
    """One training run: network, average, optimiser, and the step they are at."""

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder, self.device = recipe, folder, device
        self.net = BandNet(recipe.net).to(device)
        self.began_with: str | None = None  # a file of weights or another run's folder
        if recipe.transfers_from:
            weights = Weights.find(recipe.transfers_from)
            transfer_weights(self.net, weights.network().to(device))
            self.began_with = weights.manifest["files"]["safetensors"]["file"]
        self.average = BandNet(recipe.net).to(device).requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        self.optimisers = Optimisers(self.net, recipe)
        self.loss = EnvelopeLoss(recipe.net.spec, recipe.weights, device)
        self.discriminators = Discriminators(recipe.adversarial, device)
        self.step = 0
        self.seconds = 0.0  # of training, over all resumptions

    def save(self) -> None:
        """Write a checkpoint of files that are under 16 MiB each, by `write_checkpoint`."""
        parts = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": self.optimisers.state_dict(),
            "discriminators": self.discriminators.state_dict(),
        }
        about = {"step": self.step, "seconds": self.seconds, "began_with": self.began_with}
        write_checkpoint(self.folder, about, parts)

    def resume(self) -> None:
        """Go on from the folder's checkpoint; raises `InvalidSetting` where it is one of another kind of run."""
        state = self._read(self.folder, "net", "average")
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimisers.load_state_dict(state["optimisers"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.began_with = state.get("began_with", self.began_with)

    def start_from(self, start: str) -> None:
        """Begin with the averaged weights of another run's folder, or those of a model by its name or manifest.

        Raises `InvalidSetting` where they are of another network.
        """
        if (Path(start) / CHECKPOINT).exists():
            self.seconds = self._read(Path(start), "average", "average")["seconds"]
            self.began_with = Path(start).name
            return
        try:
            weights = Weights.find(start)
            known = weights.network()
        except UnknownName as error:
            raise InvalidSetting(
                f"expected the folder of a run with its {CHECKPOINT}, or a model's name: {error}"
            ) from error
        if known.config != self.recipe.net:
            raise InvalidSetting(f"{start} is of another network than {self.recipe.model}: {known.config}")
        for net in (self.net, self.average):
            net.load_state_dict(known.state_dict())
        self.began_with = weights.manifest["files"]["safetensors"]["file"]

    def _read(self, folder: Path, net: str, average: str) -> dict[str, Any]:
        state = read_checkpoint(folder, self.device)
        try:
            self.net.load_state_dict(state[net])
            self.average.load_state_dict(state[average])
        except RuntimeError as error:
            raise InvalidSetting(f"{folder} holds a checkpoint of another network: {error}") from error
        return state

    @property
    def progress(self) -> float:
        """How much of the run is over, of 1: of its minutes where it has some, else of its steps."""
        minutes = self.recipe.minutes
        return self.step / self.recipe.steps if minutes is None else self.seconds / (60 * minutes)

    def advance(self, pairs: Pairs) -> dict[str, Tensor]:
        """Take one optimiser step; returns the parts of the loss, which only who reads them waits for."""
        began = time.monotonic()
        envelope = envelopes(self.net, pairs.received, pairs.cutoff)
        target = self.loss.target(pairs)
        level = self.loss.level_error(envelope, target)
        generated = self.loss.seen(self.loss.over_floor(envelope, target), target)
        true, where = self.loss.seen(target.envelope, target), self.loss.where(target)
        error = self.discriminators.learn(generated, true, where)
        adversarial = self.discriminators.compare(generated, true, where)
        ramp = min(1.0, self.step / max(self.recipe.adversarial.ramp, 1))
        self.optimisers.zero_grad()
        (self.recipe.weights.level * level + ramp * adversarial).backward()
        gradient = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimisers.step(learning_rate(self.recipe, self.step, self.progress))
        parts = {"level": level, "adversarial": adversarial, "discriminators": error, "gradient": gradient}
        self.step += 1
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - decay)
        self.seconds += time.monotonic() - began
        return {name: value.detach() for name, value in parts.items()}


def pair_maker(run: Run, recordings: list[Recording], packed: Path, noise: Path) -> PairMaker:
    """Open what the recipe learns from, and write beside the checkpoints what that is."""
    recipe = run.recipe
    rate = recipe.net.spec.rate
    chosen = select(recordings, "train", rate)
    corpus = Corpus.packed(chosen, rate, packed)
    data, lower = describe(chosen, corpus, rate), None
    if recipe.lower:
        narrower = [r for r in select(recordings, "train", recipe.lower_rate) if r.rate < rate]
        lower = Lower(Corpus.packed(narrower, recipe.lower_rate, packed), recipe.lower_rate, recipe.lower)
        data += describe(narrower, lower.corpus, recipe.lower_rate)
    write_record(run, data)
    lines = LineAugmentation(recipe.lines, rate, read_noises(noise, rate) if recipe.lines else [])
    augmentation = Augmentation(
        tones=recipe.tones, voices=recipe.voices, lines=lines, cutoffs=recipe.cutoffs, lower=lower
    )
    return PairMaker(corpus, recipe.net.spec, recipe.frames, recipe.seed, augmentation)


def write_record(run: Run, data: list[dict[str, object]]) -> None:
    """Write what the run depends on beside its checkpoints: recipe, data with licences, machine and versions."""
    record = {
        "recipe": asdict(run.recipe),
        "data": data,
        "began_with": run.began_with,
        "machine": f"{run.device.type}, {os.cpu_count()} cores, torch {torch.__version__}",
    }
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def log_parts(log: SummaryWriter, step: int, parts: dict[str, Tensor]) -> float:
    """Log the parts of the loss, for which the device is waited for, and return the level error."""
    for name, value in parts.items():
        log.add_scalar(f"train/{name}", value.item(), step)
    return parts["level"].item()


def train(
    recipe: Recipe,
    speech: Path,
    folder: Path,
    device: torch.device,
    *,
    fresh: bool,
    every: int = 500,
    start: str | None = None,
) -> Run:
    """Train for the recipe's steps or minutes, going on from the folder's checkpoint if there is one and not `fresh`.

    Otherwise a run begins with the weights of `start`, if given: a run's folder or a model's name.
    """
    run = Run(recipe, folder, device)
    if not fresh and (folder / CHECKPOINT).exists():
        run.resume()
    elif start:
        run.start_from(start)
    rate = recipe.net.spec.rate
    recordings, packed = read_manifest(speech), folder.parent / "packed"
    maker = pair_maker(run, recordings, packed, speech.parent / "noise")
    valid = Corpus.packed([r for r in select(recordings, "valid", rate) if r.rate == rate], rate, packed)
    held_out = validation_set(valid, recipe.cutoffs.named, 16, rate)
    held_out = Pairs(*(t.to(device) for t in (held_out.received, held_out.target, held_out.cutoff)))
    log = SummaryWriter(folder)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("training", total=1.0)
        began, first = time.monotonic(), run.step
        while run.progress < 1:
            parts = run.advance(maker.batch(run.step, recipe.rows, device))
            progress.update(bar, completed=run.progress)
            if run.step % LOGGED_STEPS == 0:
                progress.update(bar, description=f"step {run.step}, level error {log_parts(log, run.step, parts):.3f}")
            if run.step % every == 0 or run.progress >= 1:
                run.save()
                scores = validate(run.average, run.loss, held_out, log, run.step)
                speed = (run.step - first) / (time.monotonic() - began)
                shown = "  ".join(f"{k.removeprefix('valid/')} {v:.3f}" for k, v in scores.items())
                progress.console.print(f"step {run.step}  {speed:.2f} steps/s  {shown}")
    log.close()
    return run
