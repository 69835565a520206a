"""What the home page lets people hear: voices over telephone lines, as received, as restored, and as they were.

`python -m website.sounds build/sounds` writes a folder for each sound with three recordings (FLAC) and three pictures
(WebP) of the same length.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import soundfile
from PIL import Image

import rtsr
from rtsr.dsp.windows import FloatArray
from rtsr.figure import DYNAMIC_DB, power_db
from rtsr.speech.conditions import Heard, clean, hear

RECORDINGS = Path(__file__).resolve().parent / "recordings"
PROMPT = Path(rtsr.__file__).resolve().parent / "data" / "demo"
VERSIONS = ("before", "after", "true")
RATE = 16_000
PROMPT_DELAY = 22  # samples by which its wideband take is late: rtsr/data/demo/README.md
RMS = 0.08  # of the true recording; all three versions get the same gain
CC_BY = '<a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>'
CC_BY_SA = '<a href="https://creativecommons.org/licenses/by-sa/3.0/">CC BY-SA 3.0</a>'


@dataclass(frozen=True, slots=True)
class Sound:
    """One comparison: its recording's name, what people read beside it, and the line it comes over."""

    name: str
    title: str
    line: str
    condition: str  # of rtsr.speech.conditions; "" for the prompt, whose narrowband take is there, or a cutoff in Hz

    @property
    def licence(self) -> str:
        """Who made the recording and what may be done with it, as HTML."""
        if self.name == "prompt":
            return f'Allison Smith, Asterisk core sounds, {CC_BY_SA}. <a href="recordings/demo/">Card</a>'
        reader = self.name.removeprefix("libri-")
        return f'LibriSpeech, reader {reader}, {CC_BY}. <a href="recordings/others/">Card</a>'


SOUNDS = (
    Sound("libri-302", "Landline", "G.711 A-law, 64 kbit/s, 8 kHz", "a-law"),
    Sound("libri-4859", "Mobile phone", "AMR narrowband, 12.2 kbit/s", "amr-12.2"),
    Sound("libri-32", "Internet call on a thin line", "Opus narrowband, 16 kbit/s", "opus-16"),
    Sound("prompt", "Telephone system", "a prompt at 8 kHz, as Asterisk plays it", ""),
    Sound("libri-8747", "Landline with losses", "G.711 A-law, 5 % of the packets lost", "loss"),
    Sound("libri-201", "Half a telephone", "4 kHz sampling: nothing above 2 kHz is left", "2000"),
)


def heard(sound: Sound) -> Heard:
    """Return what a line makes of the recording."""
    if sound.name == "prompt":
        received, rate = soundfile.read(PROMPT / "prompt-8k.wav", dtype="float32")
        truth, _ = soundfile.read(PROMPT / "prompt-16k.flac", dtype="float32")
        return Heard(truth[PROMPT_DELAY:], received, rate, rate / 2)
    truth, rate = soundfile.read(RECORDINGS / f"{sound.name}.flac", dtype="float32")
    if sound.condition.isdecimal():
        return clean(truth, rate, float(sound.condition))
    return hear(truth, rate, sound.condition, sound.name, [])


def versions(sound: Sound, model: rtsr.Backend) -> dict[str, tuple[FloatArray, int]]:
    """Return the samples and the rate of each version: of one length, at one gain; restored as `rtsr enhance` does."""
    line = heard(sound)
    after = rtsr.enhance(line.received, line.rate, model=model)
    seconds = min(len(line.truth) / RATE, len(after) / RATE, len(line.received) / line.rate)
    gain = RMS / np.sqrt(np.mean(line.truth**2))
    found = {"before": (line.received, line.rate), "after": (after, RATE), "true": (line.truth, RATE)}
    return {name: (np.clip(gain * x[: int(seconds * rate)], -1, 1), rate) for name, (x, rate) in found.items()}


def picture(samples: FloatArray, rate: int) -> Image.Image:
    """Return a spectrogram from 0 to 8 kHz without axes, a column for 8 ms; black where the rate carries nothing."""
    level = power_db(samples, rate)[:, ::2]
    whole = np.full((power_bins(RATE), level.shape[1]), -DYNAMIC_DB)
    whole[: len(level)] = level
    colours = matplotlib.colormaps["magma"](1 + whole[::-1] / DYNAMIC_DB, bytes=True)
    return Image.fromarray(colours[..., :3].copy())


def power_bins(rate: int) -> int:
    """Return how many bins `power_db` gives at a rate."""
    return len(power_db(np.zeros(rate, np.float32), rate))


def write(folder: Path) -> None:
    """Write everything below a folder."""
    model = rtsr.load("voice-16k")
    for sound in SOUNDS:
        place = folder / sound.name
        place.mkdir(parents=True, exist_ok=True)
        for name, (samples, rate) in versions(sound, model).items():
            soundfile.write(place / f"{name}.flac", samples, rate, subtype="PCM_16")
            picture(samples, rate).save(place / f"{name}.webp", quality=75)


def files() -> list[str]:
    """Return the paths below the folder that `write` makes."""
    return [f"{sound.name}/{name}.{kind}" for sound in SOUNDS for name in VERSIONS for kind in ("flac", "webp")]


def html() -> str:
    """Return the players of the home page; without JavaScript they are pictures and plain players."""
    return '<div class="players">\n' + "\n".join(_player(sound) for sound in SOUNDS) + "\n</div>"


def _player(sound: Sound) -> str:
    place = f"assets/sounds/{sound.name}"
    versions = "".join(
        f'<p data-version="{name}"><img src="{place}/{name}.webp" alt="Spectrogram, {name}" loading="lazy">'
        f'<audio controls preload="none" src="{place}/{name}.flac" aria-label="{sound.title}, {name}"></audio></p>'
        for name in VERSIONS
    )
    return (
        f'<figure class="player" data-title="{sound.title}"><figcaption><b>{sound.title}</b> {sound.line}</figcaption>'
        f'<div class="versions">{versions}</div><small>{sound.licence}</small></figure>'
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
