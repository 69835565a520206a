"""Audio files: read and written in blocks, so that a day-long recording needs no more memory than a word."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, OutputExists

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3", ".aiff": "AIFF", ".au": "AU"}
LOSSY = ("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32")  # an input's, not worth keeping for the output
MOST_CHANNELS = 32


@contextmanager
def open_to_read(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file; raises `InvalidAudio` where it is absent, empty or cannot be decoded."""
    if not path.is_file():
        raise InvalidAudio(f"{path}: no such file")
    try:
        with soundfile.SoundFile(path) as opened:
            if opened.frames == 0:
                raise InvalidAudio(f"{path}: holds no samples")
            if opened.channels > MOST_CHANNELS:
                raise InvalidAudio(f"{path}: expected at most {MOST_CHANNELS} channels, got {opened.channels}")
            yield opened
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"{path}: cannot be read as audio ({error.error_string.rstrip('.')})") from error
    except TypeError as error:  # what soundfile raises for raw samples without a header
        raise InvalidAudio(f"{path}: cannot be read as audio (it has no header)") from error


def read_blocks(opened: soundfile.SoundFile, size: int) -> Iterator[FloatArray]:
    """Yield blocks (samples, channels), float32; raises `InvalidAudio` where the file breaks off."""
    try:
        yield from opened.blocks(size, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"{opened.name}: cannot be read to its end ({error.error_string.rstrip('.')})") from error


@contextmanager
def open_to_write(path: Path, rate: int, channels: int, like: str, *, force: bool) -> Iterator[soundfile.SoundFile]:
    """Open an audio file under a temporary name and give it its own once everything is written.

    The format follows the suffix; sample width is that of subtype `like` where the format has it. Raises
    `OutputExists` unless `force`, and `InvalidAudio` for a format that cannot be written.
    """
    if path.exists() and not force:
        raise OutputExists(f"{path} exists: choose another name or pass --force")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        suffix = path.suffix or "a file without suffix"
        raise InvalidAudio(f"{path}: cannot write {suffix}; there are {', '.join(FORMATS)}")
    subtype = like if like not in LOSSY and soundfile.check_format(kind, like) else soundfile.default_subtype(kind)
    if path.suffix.lower() == ".opus":
        subtype = "OPUS"
    temporary = path.with_name(f".{path.name}.part")
    try:
        with _say_why(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            opened = soundfile.SoundFile(temporary, "w", rate, channels, subtype, format=kind)
        with opened:
            yield opened
        with _say_why(path):
            temporary.replace(path)
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"{path}: cannot be written ({error.error_string.rstrip('.')})") from error
    finally:
        if temporary.is_file():
            temporary.unlink()


@contextmanager
def _say_why(path: Path) -> Iterator[None]:
    """Turn the system's refusal into `InvalidAudio`."""
    try:
        yield
    except OSError as error:
        raise InvalidAudio(f"{path}: cannot be written ({error.strerror})") from error


def find_audio(folder: Path) -> list[Path]:
    """Return every audio file below a folder, sorted; raises `InvalidAudio` where there is none."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in FORMATS and p.is_file())
    if not found:
        raise InvalidAudio(f"{folder}: holds no audio ({', '.join(FORMATS)})")
    return found


class FileSource:
    """One channel of a recording in memory as a source; `paced` gives samples no earlier than a speaker would."""

    def __init__(self, samples: FloatArray, rate: int, *, paced: bool = False) -> None:
        self.samples, self.rate, self.live = samples, rate, False
        self.paced = paced
        self.place = 0
        self._began = 0.0

    @property
    def ended(self) -> bool:
        """Whether everything was read."""
        return self.place >= len(self.samples)

    def read(self, out: FloatArray) -> int:
        """Write the samples that are due to `out` and return how many."""
        due = len(self.samples)
        if self.paced:
            self._began = self._began or time.monotonic()
            due = min(due, int((time.monotonic() - self._began) * self.rate))
        count = max(0, min(len(out), due - self.place))
        out[:count] = self.samples[self.place : self.place + count]
        self.place += count
        return count


class ArraySink:
    """Keeps everything written, up to the length it was made for; takes no more than that."""

    def __init__(self, samples: int, rate: int) -> None:
        self.samples, self.rate = np.zeros(samples, np.float32), rate
        self.place = 0

    def write(self, block: FloatArray) -> int:
        """Take what fits and return how many samples that was."""
        count = min(len(block), len(self.samples) - self.place)
        self.samples[self.place : self.place + count] = block[:count]
        self.place += count
        return count
