"""Pages that need nothing beside them: sounds and pictures inside, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import io
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from ..dsp.windows import FloatArray
from ..figure import spectrograms
from ..speech.conditions import Heard
from ..speech.scores import SINC
from .evaluate import Line, read_truth, restored
from .systems import System

LONGEST_S = 6.0
RECEIVED, TRUE = "received", "true"

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #3a7bd5; --ours: #d5603a }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child, .name { text-align: left }
.bars { display: grid; grid-template-columns: 14rem 1fr; gap: .15rem .6rem; margin-bottom: 1rem }
.bars i { display: block; background: var(--bar); border-radius: 2px; min-height: 1.1rem; color: #fff; font: 12px/1.1rem
  system-ui; padding-left: .3rem; white-space: nowrap }
.bars i.ours { background: var(--ours) }
figure { margin: 1rem 0 } img { max-width: 100% } audio { height: 2rem; vertical-align: middle }
button { font: inherit; padding: .4rem .9rem; margin: .2rem }
"""


@dataclass(frozen=True, slots=True)
class Example:
    """A stretch of one recording over one line: what was received, what each system made of it, and the truth."""

    line: Line
    file: str
    heard: Heard
    sounds: dict[str, FloatArray]  # by the system's name, at the output rate; as long as the truth


def example(path: Path, line: Line, systems: list[System], rate: int) -> Example:
    """Take a recording's middle and let every system restore it."""
    truth = read_truth(path, rate)
    most = int(LONGEST_S * rate)
    first = max(0, (len(truth) - most) // 2)
    heard = line.carry(truth[first : first + most], rate, path.name)
    return Example(line, path.name, heard, {s.name: y for s, y, _ in restored(heard, systems, rate)})


def title_of(line: Line) -> str:
    """How a line is called."""
    return line.condition if line.condition != "clean" else f"clean, cut at {line.cutoff_hz:.0f} Hz"


def sound(samples: FloatArray, rate: int) -> str:
    """Return samples as a data URI: FLAC, which every browser plays."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"


def player(samples: FloatArray, rate: int) -> str:
    """Return an audio element."""
    return f'<audio controls preload="none" src="{sound(samples, rate)}"></audio>'


def triptych(shown: Example, system: str, rate: int) -> str:
    """Return a picture of what was received, restored by a system, and true."""
    panels = {
        RECEIVED: (shown.sounds[SINC], rate),
        f"restored by {system}": (shown.sounds[system], rate),
        TRUE: (shown.heard.truth, rate),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        spectrograms(panels, path, f"{shown.file}, {title_of(shown.line)}")
        picture = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="spectrograms" src="data:image/png;base64,{picture}"></figure>'


def document(title: str, body: str) -> str:
    """Return a whole page."""
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>\n<body><h1>{escape(title)}</h1>\n{body}</body></html>\n"
    )
