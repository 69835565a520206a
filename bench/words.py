"""`python -m bench.words SPEECH`: what a small speech recogniser makes of narrowband, enhanced and wideband voices.

The recogniser is PocketSphinx with the English model of its package (`pip install pocketsphinx`). The recordings have
no transcripts, so what it hears in the wideband recording is the reference: a row says how many words differ from that,
in percent (substituted, left out or put in, over the words of the reference). Stores a row for each corpus and cutoff.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

import rtsr
from bench.bars import finish
from rtsr.errors import MissingDependency
from rtsr.eval.evaluate import read_truth, recordings, restore_all

RATE = 16_000
SYSTEMS = ("narrowband", "enhanced")


def differing(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Return the least number of words to substitute, leave out or put in (Levenshtein distance)."""
    above = np.arange(len(heard) + 1)
    for row, word in enumerate(reference, 1):
        here = np.empty_like(above)
        here[0] = row
        for column, other in enumerate(heard, 1):
            here[column] = min(above[column] + 1, here[column - 1] + 1, above[column - 1] + (word != other))
        above = here
    return int(above[-1])


def recogniser() -> Any:
    """Return a decoder of 16 kHz; raises `MissingDependency`."""
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise MissingDependency("pocketsphinx", None, "speech recognition") from error
    return Decoder(samprate=RATE, loglevel="FATAL")


def words(decoder: Any, signal: np.ndarray) -> list[str]:
    """Return the words that are heard in a signal, (samples,) at 16 kHz."""
    decoder.start_utt()
    decoder.process_raw(np.rint(np.clip(signal, -1, 1) * 32_767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr.split() if found else []


def main(
    speech: Annotated[Path, typer.Argument(help="A folder with recordings and their manifest.csv.")],
    split: Annotated[str, typer.Option(help="Of the manifest.")] = "valid",
    corpus: Annotated[list[str] | None, typer.Option(help="Of the manifest; may be repeated.")] = None,
    cutoff: Annotated[list[int] | None, typer.Option(help="In Hz; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many recordings of each corpus.")] = None,
    model: str = "voice-16k",
    backend: str = "auto",
    save: Annotated[bool, typer.Option(help="Append the rows to bench/results/words.jsonl.")] = True,
) -> None:
    """Recognise all of them, print how many words differ, and store the rows."""
    opened, decoder, rows = rtsr.load(model, backend), recogniser(), list[dict[str, Any]]()
    for name in corpus or ("libri", "so762"):
        counts = {(system, hz): 0 for hz in cutoff or (4000, 2000) for system in SYSTEMS}
        spoken = 0
        files = recordings(speech, split, RATE, limit, name)
        for path in track(files, name):
            truth = read_truth(path, RATE)
            reference = words(decoder, truth)
            spoken += len(reference)
            for hz in cutoff or (4000, 2000):
                narrowband, _, enhanced = restore_all(truth, opened, hz, given=False).values()
                for system, signal in zip(SYSTEMS, (narrowband, enhanced), strict=True):
                    counts[system, hz] += differing(reference, words(decoder, signal))
        for hz in cutoff or (4000, 2000):
            shares = {f"{system}_percent": round(100 * counts[system, hz] / spoken, 1) for system in SYSTEMS}
            rows.append(
                {"corpus": name, "cutoff_hz": hz, "files": len(files), "words": spoken, "model": model, **shares}
            )
            print(rows[-1])
    finish("words", rows, [], check=False, save=save)


if __name__ == "__main__":
    typer.run(main)
