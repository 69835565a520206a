"""How fast a card trains: seconds of audio a second for growing batches, and how much of that time pairs take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.card import Card
from rtsr.bench.signal import voice
from rtsr.spec import Spec
from rtsr.speech.corpus import Corpus
from rtsr.train.augmentation import Augmentation
from rtsr.train.loop import Run
from rtsr.train.pairs import PairMaker
from rtsr.train.recipes import RECIPES

CORPUS_S = 60.0
PAIR_BOUND = 1e-4  # of the largest sample


def corpus(spec: Spec) -> Corpus:
    """Return something to learn from where no recordings are: voices that are computed."""
    samples = np.concatenate([voice(CORPUS_S / 4, spec.rate, seed) for seed in range(4)])
    return Corpus(np.clip(32768 * samples, -32768, 32767).astype(np.int16), np.array([len(samples)]))


def train(card: Card) -> None:
    """Compare pairs with those of the CPU, and time steps, with and without making pairs."""
    recipe = RECIPES["voice-16k"] if card.cuda or min(card.sizes.training) > 2 else RECIPES["voice-16k-small"]
    spec = recipe.net.spec
    maker = PairMaker(corpus(spec), spec, recipe.frames, recipe.seed, Augmentation(tones=recipe.tones), bank=16)
    made, right = (maker.batch(1, 8, torch.device(d)) for d in (card.device, "cpu"))
    for name in ("received", "target"):
        error = (getattr(made, name).cpu() - getattr(right, name)).abs().max() / getattr(right, name).abs().max()
        card.check(f"{name} of pairs against the CPU's", float(error), PAIR_BOUND)
    for rows in card.sizes.training:
        with tempfile.TemporaryDirectory() as folder:
            run = Run(replace(recipe, rows=rows), Path(folder), card.device)
        pairs = [maker.batch(n, rows, card.device) for n in range(2)]
        pair_s = seconds_each(card, lambda n, rows=rows: maker.batch(n, rows, card.device))
        step_s = seconds_each(card, lambda n, run=run, pairs=pairs: run.advance(pairs[n % 2]))
        both_s = seconds_each(card, lambda n, run=run, rows=rows: run.advance(maker.batch(n, rows, card.device)))
        audio_s = rows * recipe.frames * spec.hop / spec.rate
        times = {"pairs_ms": 1000 * pair_s, "step_ms": 1000 * step_s, "both_ms": 1000 * both_s}
        card.note(f"training, {rows} rows", {"both_ms": 1000 * both_s}, **times, audio_s_per_s=audio_s / both_s)


def seconds_each(card: Card, work: Callable[[int], object]) -> float:
    """Mean seconds of steps, after a few that do not count."""
    warm_up, count = (5, card.sizes.training_steps) if card.cuda else (1, card.sizes.training_steps)
    for number in range(warm_up + count):
        if number == warm_up:
            synchronise(card)
            began = time.perf_counter()
        work(number)
    synchronise(card)
    return (time.perf_counter() - began) / count


def synchronise(card: Card) -> None:
    """Wait for the device."""
    if card.cuda:
        torch.cuda.synchronize(card.device)
