"""Whole recordings through the same stream as a live call, aligned with what went in and as long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .backend import Backend, load
from .dsp.windows import FloatArray
from .errors import InvalidAudio
from .io.reblock import Reblock

BLOCK = 4096


@dataclass(frozen=True, slots=True)
class EnhanceSettings:
    """How to enhance: the output's rate (None: the model's), cutoff in Hz or "auto", gain of the new band in dB."""

    rate_out: int | None = None
    cutoff: float | str = "auto"
    gain_db: float = 0.0


def rate_of_output(model: Backend, settings: EnhanceSettings) -> int:
    """Return the rate that was asked for, otherwise the model's."""
    return model.spec.rate if settings.rate_out is None else settings.rate_out


def length_of_output(samples: int, rate: int, rate_out: int) -> int:
    """Return how many samples at `rate_out` last as long as so many at `rate`."""
    return round(samples * rate_out / rate)


class Aligned:
    """Streams for the channels of one recording, with the latency taken off: sample i out is sample i in."""

    def __init__(self, model: Backend, rate: int, channels: int, settings: EnhanceSettings) -> None:
        self.rate, self.rate_out = rate, rate_of_output(model, settings)
        self.streams = [
            Reblock(model, rate, self.rate_out, cutoff=settings.cutoff, gain_db=settings.gain_db)
            for _ in range(channels)
        ]
        self.to_drop = self.streams[0].latency
        self.taken = self.given = 0

    def process(self, block: FloatArray) -> FloatArray:
        """Take (samples, channels) and return what is complete, (samples, channels)."""
        self.taken += len(block)
        out = np.stack([s.process(block[:, c]) for c, s in enumerate(self.streams)], axis=1)
        dropped = min(self.to_drop, len(out))
        self.to_drop -= dropped
        self.given += len(out) - dropped
        return out[dropped:]

    def finish(self) -> FloatArray:
        """Return the rest, so that everything given is as long as everything taken."""
        due = length_of_output(self.taken, self.rate, self.rate_out) - self.given
        more = np.zeros(2 * -(-self.rate // self.rate_out), np.float32)  # where the duration is rounded up
        rest = [np.concatenate([s.process(more), s.flush()]) for s in self.streams]
        out = np.stack(rest, axis=1)[self.to_drop :]
        return out[: max(due, 0)]


def enhance_blocks(
    blocks: Iterator[FloatArray], model: Backend, rate: int, channels: int, settings: EnhanceSettings
) -> Iterator[FloatArray]:
    """Enhance blocks of (samples, channels) one after another; together the results are as long as the input."""
    path = Aligned(model, rate, channels, settings)
    for block in blocks:
        yield path.process(block)
    yield path.finish()


def enhance(
    audio: FloatArray,
    rate: int,
    rate_out: int | None = None,
    *,
    model: str | Path | Backend = "voice-16k",
    backend: str = "auto",
    cutoff: float | str = "auto",
    gain_db: float = 0.0,
) -> FloatArray:
    """Return a recording with the missing band restored, time-aligned with it and of the same duration.

    audio: (samples,) or (samples, channels), any real type, full scale 1.0, at `rate` Hz; result: float32 at
    `rate_out` Hz (the model's rate if None). Raises `InvalidAudio` for anything else, and what `load` raises.
    """
    samples = np.asarray(audio)
    if samples.ndim not in (1, 2) or not samples.size or not np.isrealobj(samples):
        raise InvalidAudio(f"expected real samples of shape (samples,) or (samples, channels), got {samples.shape}")
    if not np.issubdtype(samples.dtype, np.floating):
        raise InvalidAudio(f"expected floating point samples with full scale 1.0, got {samples.dtype}")
    opened = load(model, backend) if isinstance(model, str | Path) else model
    columns = samples.reshape(len(samples), -1).astype(np.float32)
    settings = EnhanceSettings(rate_out, cutoff, gain_db)
    blocks = (columns[i : i + BLOCK] for i in range(0, len(columns), BLOCK))
    out = np.concatenate(list(enhance_blocks(blocks, opened, rate, columns.shape[1], settings)))
    return out[:, 0] if samples.ndim == 1 else out


def enhance_file(
    source: Path,
    target: Path,
    model: Backend,
    settings: EnhanceSettings,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Enhance one audio file into another, block by block; `progress` hears of samples done and in all.

    The target appears only when it is whole. Raises `InvalidAudio` and `OutputExists`.
    """
    from .io.file import open_to_read, open_to_write, read_blocks  # here, so that `import rtsr` loads no audio library

    with open_to_read(source) as opened:
        rate_out = rate_of_output(model, settings)
        frames = length_of_output(opened.frames, opened.samplerate, rate_out)
        with open_to_write(target, rate_out, opened.channels, opened.subtype, frames, force=force) as written:
            done = 0
            for out in enhance_blocks(read_blocks(opened, BLOCK), model, opened.samplerate, opened.channels, settings):
                written.write(out)
                done = min(done + BLOCK, opened.frames)
                progress(done, opened.frames)
