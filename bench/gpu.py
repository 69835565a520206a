"""`python -m bench.gpu [STAGE...]`: verify and time everything that runs on a GPU, in stages; if none is named, all.

What is wrong is told at the end, with exit code 1; the stages after it run all the same. Every row is stored as it is
found, in RESULTS/card.jsonl. `--device cpu` runs all of it, small, without a card. `bench/card.sh` runs each stage in a
process and a time of its own, and `python -m bench.card_results` says what the rows of a folder mean.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

import torch

from bench import card_checks, card_host, card_times
from bench.card import FEW, PRECISIONS_TIMED, Card, Sizes
from rtsr import RtsrError
from rtsr.net.weights import Weights

RESULTS = Path(__file__).parent / "results"


def training(card: Card) -> None:
    """Pairs are those of the CPU; steps a second, with and without making pairs."""
    from bench.card_training import train  # here, as training imports much that nothing else needs

    train(card)


STAGES: dict[str, Callable[[Card], None]] = {
    "probe": card_checks.probe,
    "correct": card_checks.correct,
    "correct-many": card_checks.correct_many,
    "voice": card_times.one_voice,
    "stages": card_times.stages,
    **{f"capacity-{precision}": card_times.capacity(precision) for precision in PRECISIONS_TIMED},
    "host": card_host.host,
    "two": card_times.two,
    "others": card_times.others,
    "training": training,
}
PARTS: dict[str, Callable[[Card], None]] = {"shared": card_times.shared}  # of stages, in processes of their own


def run(card: Card, name: str) -> bool:
    """Run a stage and return whether all of it was right; what it raises is printed, and wrong."""
    card.stage, began, wrong = name, time.monotonic(), len(card.wrong)
    stage = (STAGES | PARTS)[name]
    print(f"{name}: {(stage.__doc__ or 'more and more voices until the p99 of a tick reaches a hop').splitlines()[0]}")
    try:
        stage(card)
    except Exception as error:  # torch, CUDA and Triton have no common base, and the next stage may do better
        traceback.print_exc()
        card.wrong.append(f"{name} ended with {type(error).__name__}")
    good = len(card.wrong) == wrong
    if name in STAGES:
        took = time.monotonic() - began
        card.note(f"stage {name}", {}, seconds=took, good=good)
    return good


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join((*STAGES, *PARTS)))
    options.add_argument("--list", action="store_true", help="print the names of the stages and end")
    options.add_argument("--model", default="voice-16k")
    options.add_argument("--device", default="cuda")
    options.add_argument("--rows", help="of the capacity stages, with commas between")
    options.add_argument("--batch", help="rows of the training stage, with commas between; with it, of voice-16k")
    options.add_argument("--results", type=Path, default=RESULTS)
    chosen = options.parse_args(arguments)
    if unknown := set(chosen.stages) - {*STAGES, *PARTS}:
        options.error(f"expected stages of {', '.join((*STAGES, *PARTS))}, got {', '.join(unknown)}")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run stages and return the exit code."""
    chosen = parse(arguments)
    if chosen.list:
        print("\n".join(STAGES))
        return 0
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a run that is cut short has printed its results
    device = torch.device(chosen.device)
    sizes = Sizes() if device.type == "cuda" else FEW
    if chosen.rows:
        sizes = replace(sizes, capacity=tuple(int(n) for n in chosen.rows.split(",")))
    if chosen.batch:
        sizes = replace(sizes, training=tuple(int(n) for n in chosen.batch.split(",")), training_steps=20)
    try:
        card = Card(device, Weights.find(chosen.model), sizes, chosen.results)
    except RtsrError as error:
        sys.exit(str(error))
    for name in chosen.stages or STAGES:
        run(card, name)
    if card.wrong:
        print("wrong: " + "; ".join(card.wrong))
    return 1 if card.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
