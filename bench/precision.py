"""`python -m bench.precision SPEECH`: what lower precision costs in quality, against float32.

Of what a device computes (the same code runs on the CPU where there is no card, `--device cpu`, the default without
one), and of hops that cross the bus as 16 bits; or of the weights that librtsr keeps (`--native`). The restored share
is how much of the log-spectral distance of sinc interpolation is gone. `bench.kernels` has that of Triton's kernels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from rtsr import Backend, enhance
from rtsr.backend import native
from rtsr.backend.graph import PRECISIONS, GraphBackend
from rtsr.bench.record import store
from rtsr.dsp.windows import FloatArray
from rtsr.eval.evaluate import read_truth, recordings
from rtsr.net.weights import Weights
from rtsr.speech.metrics import lsd
from rtsr.speech.narrow import decimate, sinc_upsample

RESULTS = Path(__file__).parent / "results"


def opened(weights: Weights, chosen: argparse.Namespace) -> Iterator[tuple[str, Backend]]:
    """Open every precision in turn, the exact one first, each with what it is called in a row."""
    if not chosen.native:
        for precision in PRECISIONS:
            yield f"{precision} on {chosen.device}", GraphBackend(weights, chosen.device, precision)
        return
    if (library := native.library()) is None:
        raise SystemExit("librtsr is not built: cmake -S native -B build/native && cmake --build build/native")
    for name, precision in sorted(native.NAMES.items(), key=lambda row: row[1] != "float32"):
        what = f"{precision.replace('bf16', 'bfloat16')} weights in librtsr"
        yield what, native.NativeBackend(weights, library, name)


def sixteen(samples: FloatArray) -> FloatArray:
    """Return samples as they come out of 16 bits."""
    return np.rint(samples * 32767).astype(np.int16) / np.float32(32767)


def restored(model: Backend, lows: list[FloatArray], rate: int, factor: int, bus: bool) -> list[FloatArray]:
    """Restore narrowed recordings; bus: what goes in and comes out has 16 bits."""
    each = [sixteen(low) if bus else low for low in lows]
    wide = [enhance(low, rate // factor, model=model, cutoff=rate / 2 / factor) for low in each]
    return [sixteen(y) if bus else y for y in wide]


def distance(truths: list[FloatArray], estimates: list[FloatArray], rate: int) -> float:
    """Return the mean log-spectral distance."""
    return sum(lsd(t, y[: len(t)], rate) for t, y in zip(truths, estimates, strict=True)) / len(truths)


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
    lows = [decimate(truth, rate, factor) for truth in truths]
    plain = distance(truths, [sinc_upsample(low, rate // factor, factor) for low in lows], rate)
    rows, exact = [], 0.0
    for what, model in opened(weights, chosen):
        for bus in (False, True) if not exact and not chosen.native else (False,):
            found = distance(truths, restored(model, lows, rate, factor, bus), rate)
            exact = exact or found
            share, lost = 1 - found / plain, (found - exact) / plain
            what = f"{what}, 16 bits across the bus" if bus else what
            print(f"{what}: LSD {found:.4f}, {found - exact:+.4f}; restored share {share:.4f}, {-lost:+.5f}")
            key = f"precision, {weights.name}, {what}, ×{factor}"
            more = {"lsd": found, "lsd_lost": found - exact, "share": share, "share_lost": lost}
            rows.append({"key": key, "watch": {"lsd": found}, **more, "files": len(files), "seconds": chosen.seconds})
    print(f"rows in {store(RESULTS, 'precision', rows)}")


if __name__ == "__main__":
    main()
