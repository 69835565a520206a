"""A file that grows: whole under its name or not there, and never in the place of another."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsr.errors import InvalidAudio
from rtsr.io.growing import GrowingFlac

RATE = 48_000
NOISE = (0.1 * np.random.default_rng(0).standard_normal((RATE, 2))).astype(np.float32)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk does to this process: the system takes no more bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_has_its_name_once_it_is_whole(tmp_path: Path):
    path = tmp_path / "a.flac"
    file = GrowingFlac(path, RATE, 2, {"title": "t", "artist": "Jörg", "date": "", "comment": "begins 1.000 s"})
    file.write(NOISE)
    file.write(2 * np.ones((10, 2), np.float32))
    (part,) = tmp_path.iterdir()
    assert (part.suffix, part.stat().st_mode & 0o777) == (".part", 0o600)
    assert file.finish() == path.stat().st_size
    assert list(tmp_path.iterdir()) == [path]
    with soundfile.SoundFile(path) as read:
        assert (read.title, read.artist, read.comment) == ("t", "Jörg", "begins 1.000 s")
        sound = read.read(dtype="float32")
    assert len(sound) == RATE + 10
    assert np.abs(sound[:RATE] - NOISE).max() < 1 / 32_768
    assert sound[-1].min() > 0.99, "what exceeds 1 is clipped"


def test_nothing_is_replaced_and_no_link_followed(tmp_path: Path):
    path, other = tmp_path / "a.flac", tmp_path / "other"
    other.write_text("kept")
    path.symlink_to(other)
    file = GrowingFlac(path, RATE, 2, {})
    file.write(NOISE)
    with pytest.raises(InvalidAudio, match="exists"):
        file.finish()
    file.abandon()
    assert path.is_symlink()
    assert other.read_text() == "kept"


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path):
    with pytest.raises(InvalidAudio, match="No such file"):
        GrowingFlac(tmp_path / "gone" / "a.flac", RATE, 2, {})
    assert not list(tmp_path.iterdir())


def test_what_was_written_before_the_disk_was_full_stays(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))
    file = GrowingFlac(tmp_path / "a.flac", RATE, 2, {})
    with files_of_at_most(200_000), pytest.raises(InvalidAudio, match="disk full"):
        file.write(np.tile(NOISE, (5, 1)))
    file.abandon()
    assert len(os.listdir("/proc/self/fd")) == before
    (part,) = tmp_path.iterdir()
    assert part.suffix == ".part"
    with soundfile.SoundFile(part) as read:
        sound = read.read(20_000, dtype="float32")
    assert np.abs(sound - NOISE[:20_000]).max() < 1 / 32_768
