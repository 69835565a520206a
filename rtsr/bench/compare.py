"""What a second of audio costs: ours beside the networks and interpolations of others, paired and interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..backend import Backend
from ..dsp.windows import FloatArray
from ..errors import MissingDependency
from ..net.weights import Weights
from ..speech.narrow import sinc_upsample, spline_upsample
from ..stream import Stream
from .record import Row
from .signal import hops, voice

RATE_IN = 8_000
SECONDS = 1.024  # of audio in one measurement: whole hops, and the AudioUNet wants a multiple of 32 samples


@dataclass(frozen=True, slots=True)
class System:
    """Something that makes a wide second of a narrow one; macs and parameters where they can be counted."""

    name: str
    run: Callable[[], object]
    macs_per_s: float | None = None
    parameters: int | None = None


def ours(model: Backend, weights: Weights) -> System:
    """Return a stream on this backend, hop by hop as in a call."""
    stream = Stream(model, RATE_IN, cutoff=4000.0)
    said = hops(SECONDS, RATE_IN, stream.hop)
    out = np.zeros(stream.hop_out, np.float32)

    def run() -> None:
        for hop in said:
            stream.process(hop, out)

    return System(
        f"rtsr, {model.name}", run, float(weights.manifest["macs_per_s"]), int(weights.manifest["parameters"])
    )


def audio_unet(rate: int, *, causal: bool) -> System:
    """Return the AudioUNet with random weights, after the cubic spline that it starts from; all of it at once."""
    try:
        import torch

        from ..net.baselines import AudioUNet
        from ..net.unet import macs_per_sample
    except ImportError:
        raise MissingDependency("torch", "train", "comparing with the AudioUNet") from None
    net = AudioUNet(causal=causal).eval().requires_grad_(False)
    narrow, factor = voice(SECONDS, RATE_IN), rate // RATE_IN

    def run() -> FloatArray:
        wide = spline_upsample(narrow, factor)
        with torch.inference_mode():
            return net(torch.from_numpy(wide).unsqueeze(0)).numpy()

    count = sum(p.numel() for p in net.parameters())
    return System("causal AudioUNet" if causal else "AudioUNet", run, macs_per_sample(net) * rate, count)


def interpolations(rate: int) -> list[System]:
    """Return sinc and cubic spline over the whole second."""
    narrow, factor = voice(SECONDS, RATE_IN), rate // RATE_IN
    return [
        System("sinc", lambda: sinc_upsample(narrow, RATE_IN, factor)),
        System("cubic spline", lambda: spline_upsample(narrow, factor)),
    ]


def measure(systems: list[System], rounds: int, progress: Callable[[], None] = lambda: None) -> FloatArray:
    """Time every system once a round, in rotating order, after a run that does not count; (rounds, systems)."""
    seconds = np.zeros((rounds + 1, len(systems)))
    for r in range(rounds + 1):
        for i in np.roll(np.arange(len(systems)), r):
            began = time.perf_counter()
            systems[i].run()
            seconds[r, i] = time.perf_counter() - began
            progress()
    return seconds[1:].astype(np.float32)


def rows(systems: list[System], seconds: FloatArray) -> list[Row]:
    """Return what is stored: cost of a second of audio, and by what it exceeds the first system's in the same round."""
    first = systems[0]
    found = []
    for system, times in zip(systems, seconds.T, strict=True):
        ratio = times / seconds[:, 0]
        found.append(
            {
                "key": f"compare, {system.name}",
                "watch": {"s_per_audio_s": float(np.median(times) / SECONDS)},
                "system": system.name,
                "against": first.name,
                "rounds": len(times),
                "s_per_audio_s": float(np.median(times) / SECONDS),
                "times_ours": float(np.median(ratio)),
                "times_ours_range": [float(ratio.min()), float(ratio.max())],
                "macs_per_s": system.macs_per_s,
                "macs_times_ours": system.macs_per_s / first.macs_per_s
                if system.macs_per_s and first.macs_per_s
                else None,
                "parameters": system.parameters,
            }
        )
    return found
