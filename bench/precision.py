"""`python -m bench.precision SPEECH`: what lower precision costs in quality, against float32.

Of what a device computes (the same code runs on the CPU where there is no card, `--device cpu`, the default without
one), or of the weights that librtsr keeps (`--native`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from rtsr import Backend, enhance
from rtsr.backend import native
from rtsr.backend.graph import PRECISIONS, GraphBackend
from rtsr.bench.record import store
from rtsr.eval.evaluate import read_truth, recordings
from rtsr.net.weights import Weights
from rtsr.speech.metrics import lsd
from rtsr.speech.narrow import decimate

RESULTS = Path(__file__).parent / "results"


def opened(weights: Weights, device: str, on_native: bool) -> Iterator[tuple[str, Backend]]:
    """Open every precision in turn, the exact one first, each with what it is called in a row."""
    if not on_native:
        for precision in PRECISIONS:
            yield f"{precision} on {device}", GraphBackend(weights, device, precision)
        return
    if (library := native.library()) is None:
        raise SystemExit("librtsr is not built: cmake -S native -B build/native && cmake --build build/native")
    for name, precision in sorted(native.NAMES.items(), key=lambda row: row[1] != "float32"):
        what = f"{precision.replace('bf16', 'bfloat16')} weights in librtsr"
        yield what, native.NativeBackend(weights, library, name)


def main() -> None:
    """Print and store the mean log-spectral distance of each precision over recordings, and what it loses."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("speech", type=Path)
    options.add_argument("--split", default="valid")
    options.add_argument("--limit", type=int, default=10)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--factor", type=int, default=2)
    options.add_argument("--model", default="voice-16k")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--native", action="store_true", help="the precisions of librtsr's weights")
    chosen = options.parse_args()
    weights = Weights.find(chosen.model)
    rate, factor = weights.spec.rate, chosen.factor
    files = list(recordings(chosen.speech, chosen.split, rate, chosen.limit))
    truths = [read_truth(path, rate)[: round(chosen.seconds * rate)] for path in files]
    rows, exact = [], 0.0
    for what, model in opened(weights, chosen.device, chosen.native):
        lows = [decimate(truth, rate, factor) for truth in truths]
        restored = [enhance(low, rate // factor, model=model, cutoff=rate / 2 / factor) for low in lows]
        distance = sum(lsd(t, y[: len(t)], rate) for t, y in zip(truths, restored, strict=True)) / len(truths)
        exact = exact or distance
        print(f"{what}: LSD {distance:.4f}, {distance - exact:+.4f} against float32")
        key = f"precision, {weights.name}, {what}, ×{factor}"
        more = {"lsd": distance, "lsd_lost": distance - exact, "files": len(files), "seconds": chosen.seconds}
        rows.append({"key": key, "watch": {"lsd": distance}, **more})
    print(f"rows in {store(RESULTS, 'precision', rows)}")


if __name__ == "__main__":
    main()
