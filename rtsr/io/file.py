"""Audio files: read and written in blocks, so that a day-long recording needs no more memory than a word."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from ..dsp.windows import FloatArray
from ..errors import InvalidAudio, OutputExists

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3", ".aiff": "AIFF", ".au": "AU"}
WIDTHS = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}  # bytes of a sample
MOST_CHANNELS = 32
MOST_BYTES = 2**32 - 2**16  # of samples in a file whose sizes have 32 bits; the rest is for what surrounds them


@contextmanager
def open_to_read(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file; raises `InvalidAudio` where it is absent, empty or cannot be decoded."""
    if not path.is_file():
        raise InvalidAudio(f"{path}: no such file")
    try:
        with soundfile.SoundFile(os.fsencode(path)) as opened:
            if opened.format in ("WAV", "WAVEX") and path.stat().st_size > 2**32 + 8:
                raise InvalidAudio(f"{path}: expected RF64 for over 4 GiB, got a RIFF that cannot state its length")
            if opened.frames == 0:
                raise InvalidAudio(f"{path}: holds no samples")
            if opened.channels > MOST_CHANNELS:
                raise InvalidAudio(f"{path}: expected at most {MOST_CHANNELS} channels, got {opened.channels}")
            yield opened
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"{path}: cannot be read as audio ({_reason(error)})") from error
    except TypeError as error:  # what soundfile raises for raw samples without a header
        raise InvalidAudio(f"{path}: cannot be read as audio (it has no header)") from error


def read_blocks(opened: soundfile.SoundFile, size: int) -> Iterator[FloatArray]:
    """Yield blocks (samples, channels), float32; raises `InvalidAudio` where the file breaks off."""
    try:
        yield from opened.blocks(size, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"{os.fsdecode(opened.name)}: cannot be read to its end ({_reason(error)})") from error


@contextmanager
def open_to_write(
    path: Path, rate: int, channels: int, like: str, frames: int, *, force: bool
) -> Iterator[soundfile.SoundFile]:
    """Open an audio file under a random name beside it and give it its own once everything is written.

    The format follows the suffix; `frames` are to come, for which WAV beyond 4 GiB is written as RF64 (EBU Tech 3306).
    Sample width is that of subtype `like` where the format has it. A link is replaced and not followed. Raises
    `OutputExists` unless `force`, also where the output came meanwhile, and `InvalidAudio` for what cannot be written.
    """
    _refuse_existing(path, force)
    kind, subtype = _choose_format(path, channels * frames, like)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    with _say_why(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with soundfile.SoundFile(opened, "w", rate, channels, subtype, format=kind, closefd=False) as written:
            yield written
        _refuse_existing(path, force)
        with _say_why(path):
            part.replace(path)
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"{path}: cannot be written ({_reason(error)})") from error
    finally:
        os.close(opened)
        part.unlink(missing_ok=True)


def _refuse_existing(path: Path, force: bool) -> None:
    """Raise `OutputExists` for what is there, a link that leads nowhere too; `InvalidAudio` for what is no file."""
    with _say_why(path):  # a name may be too long to ask for
        is_special = path.exists() and not path.is_file()
    if is_special:
        raise InvalidAudio(f"{path}: cannot be written (it exists and is no file)")
    if os.path.lexists(path) and not force:
        raise OutputExists(f"{path} exists: choose another name or pass --force")


def _choose_format(path: Path, samples: int, like: str) -> tuple[str, str]:
    """Return libsndfile's format and subtype for an output; raises `InvalidAudio` where it cannot be written."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        suffix = path.suffix or "a file without suffix"
        raise InvalidAudio(f"{path}: cannot write {suffix}; there are {', '.join(FORMATS)}")
    subtype = like if like in WIDTHS and soundfile.check_format(kind, like) else soundfile.default_subtype(kind)
    if path.suffix.lower() == ".opus":
        subtype = "OPUS"
    if kind in ("WAV", "AIFF") and samples * WIDTHS[subtype] > MOST_BYTES:
        if kind == "AIFF":
            raise InvalidAudio(f"{path}: AIFF holds at most 4 GiB, expected .wav or .flac for so long a recording")
        kind = "RF64"
    return kind, subtype


def _reason(error: soundfile.LibsndfileError) -> str:
    """Return what libsndfile says, which is nothing where the system refused."""
    return error.error_string.rstrip(".") or "the system refused: is the disk full?"


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
