"""The demonstration: a bundled telephone prompt, live, in real time; sound, picture and figures of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..backend.base import Backend
from ..dsp.windows import FloatArray
from ..errors import InvalidSetting
from ..figure import pyplot, spectrograms
from ..io.file import open_to_read, open_to_write
from ..io.reblock import Reblock
from ..speech.scores import SINC, Scores, score
from .evaluate import restore_all
from .session import ArraySink, Counters, FileSource, Session
from .systems import model_name

RECORDINGS = Path(__file__).parents[1] / "data" / "demo"
RECEIVED, SIBLING = RECORDINGS / "prompt-8k.wav", RECORDINGS / "prompt-16k.flac"
CUTOFF_HZ = 4000.0


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demonstration measured."""

    seconds: float
    wall_s: float
    latency_ms: float
    counters: Counters
    scores: dict[str, Scores]


def read_mono(path: Path) -> tuple[FloatArray, int]:
    """Read the first channel of a recording: samples and rate."""
    with open_to_read(path) as opened:
        return opened.read(dtype="float32", always_2d=True)[:, 0], opened.samplerate


def run(model: Backend, out: Path, *, paced: bool, progress: Callable[[float], None]) -> Demo:
    """Stream the prompt through a session, write `out`/demo.wav and demo.png, and return the figures.

    The prompt is what a telephone gave; its 16 kHz sibling was processed differently and is only shown. The
    scores come from the sibling narrowed by ourselves. `progress` hears the part that is done, from 0 to 1.
    """
    pyplot()  # a missing package is an error before the prompt is played
    received, rate = read_mono(RECEIVED)
    truth, rate_out = read_mono(SIBLING)
    if model.spec.rate != rate_out:
        raise InvalidSetting(f"expected a model to {rate_out} Hz, as the demo's recording is, got {model.model}")
    stream = Reblock(model, rate)
    sink = ArraySink(len(received) * rate_out // rate + stream.latency, rate_out)
    session = Session(FileSource(received, rate, paced=paced), stream, sink)
    began = time.monotonic()
    session.start()
    while not session.join(timeout=0.05):
        progress(session.counters.captured / len(received))
    wall_s = time.monotonic() - began
    progress(1.0)
    restored = sink.samples[stream.latency :]
    with open_to_write(out / "demo.wav", rate_out, 1, "PCM_16", len(restored), force=True) as written:
        written.write(restored)
    panels = {
        "received: a telephone prompt, 8 kHz": (received, rate),
        f"restored by rtsr, {stream.latency_ms:.0f} ms later": (restored, rate_out),
        "the same prompt as recorded for wideband (another mastering)": (truth, rate_out),
    }
    spectrograms(panels, out / "demo.png", "rtsr demo")
    return Demo(len(received) / rate, wall_s, stream.latency_ms, session.counters, _scores(truth, model))


def _scores(truth: FloatArray, model: Backend) -> dict[str, Scores]:
    even = truth[: len(truth) // 2 * 2]
    restored = restore_all(even, model, CUTOFF_HZ, given=True)
    return {
        name: score(even, restored[name], model.spec.rate, CUTOFF_HZ, options=()) for name in (SINC, model_name(model))
    }
