"""Outputs of `rtsr enhance`: never a torn one, never one in the place of something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile

from rtsr.enhance import EnhanceSettings, enhance_file
from rtsr.errors import InvalidAudio, OutputExists
from rtsr.io.file import find_audio, open_to_read, open_to_write
from tests.signals import noise, voice_like
from tests.test_file import leftovers, write

SETTINGS = EnhanceSettings(cutoff=3000.0)


@pytest.fixture
def source(tmp_path) -> Path:
    return write(tmp_path / "in.wav", voice_like(0.5, 8000), subtype="FLOAT")


def test_an_output_that_exists_is_refused_and_left_as_it_is(source, tmp_path, null):
    target = tmp_path / "out.wav"
    target.write_bytes(b"precious")
    with pytest.raises(OutputExists, match="--force"):
        enhance_file(source, target, null, SETTINGS)
    assert target.read_bytes() == b"precious"
    enhance_file(source, target, null, SETTINGS, force=True)
    assert soundfile.info(target).frames == 8000


def test_an_output_that_came_meanwhile_is_left_as_it_is(source, tmp_path, null):
    target = tmp_path / "out.wav"
    with pytest.raises(OutputExists):
        enhance_file(source, target, null, SETTINGS, progress=lambda *_: target.write_bytes(b"precious"))  # type: ignore[arg-type,return-value]
    assert target.read_bytes() == b"precious"
    assert leftovers(tmp_path) == []


def test_a_link_is_never_followed(source, tmp_path, null):
    other, target = tmp_path / "other", tmp_path / "out.wav"
    other.write_bytes(b"precious")
    (tmp_path / ".out.wav.part").symlink_to(other)  # where outputs were once prepared
    target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExists, match="--force"):
        enhance_file(source, target, null, SETTINGS)
    target.unlink()
    target.symlink_to(other)
    enhance_file(source, target, null, SETTINGS, force=True)
    assert other.read_bytes() == b"precious"
    assert not target.is_symlink()
    assert soundfile.info(target).frames == 8000


def test_a_name_as_long_as_names_may_be(source, tmp_path, null):
    target = tmp_path / ("a" * 251 + ".wav")
    enhance_file(source, target, null, SETTINGS)
    assert target.exists()


def test_a_name_that_is_too_long_is_refused(source, tmp_path, null):
    with pytest.raises(InvalidAudio, match="cannot be written"):
        enhance_file(source, tmp_path / ("a" * 300 + ".wav"), null, SETTINGS)


def test_what_is_no_file_is_not_replaced(source, tmp_path, null):
    target = tmp_path / "out.wav"
    os.mkfifo(target)
    with pytest.raises(InvalidAudio, match=r"out\.wav.*is no file"):
        enhance_file(source, target, null, SETTINGS, force=True)
    assert target.is_fifo()


@pytest.mark.parametrize("name", [b"caf\xe9.wav", b"\xff\xfe.wav", b"[red].wav", b"a\x1b[2Jb\nc.wav"])
def test_any_name_that_a_system_allows(source, tmp_path, null, name):
    path, target = (tmp_path / folder / os.fsdecode(name) for folder in ("in", "out"))
    path.parent.mkdir()
    source.rename(path)
    assert find_audio(path.parent) == [path]
    enhance_file(path, target, null, SETTINGS)
    assert target.stat().st_size > 16_000


def test_a_file_can_replace_itself(source, null):
    enhance_file(source, source, null, SETTINGS, force=True)
    assert soundfile.info(source).samplerate == 16000


class Crash(Exception):
    """What happens in the middle."""


@pytest.mark.parametrize("existed", [True, False])
def test_a_crash_in_the_middle_leaves_nothing_new(tmp_path, null, existed):
    source = write(tmp_path / "in.wav", noise(40_000, 1))
    target = tmp_path / "out.wav"
    if existed:
        target.write_bytes(b"precious")

    def crash(done: int, total: int) -> None:
        if done > total / 2:
            assert leftovers(tmp_path), "there was nothing to leave behind yet"
            raise Crash

    with pytest.raises(Crash):
        enhance_file(source, target, null, SETTINGS, force=True, progress=crash)
    assert leftovers(tmp_path) == []
    assert target.read_bytes() == b"precious" if existed else not target.exists()


def test_the_output_appears_only_when_it_is_whole(tmp_path, null):
    source = write(tmp_path / "in.wav", noise(40_000, 1))
    target = tmp_path / "out.wav"
    seen = []
    enhance_file(source, target, null, SETTINGS, progress=lambda done, total: seen.append(target.exists()))
    assert seen
    assert not any(seen)
    assert target.exists()


def test_folders_on_the_way_are_made(source, tmp_path, null):
    target = tmp_path / "a" / "b" / "out.wav"
    enhance_file(source, target, null, SETTINGS)
    assert target.exists()


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.txt", "out.raw", "out.wave"])
def test_a_format_that_cannot_be_written_is_refused(source, tmp_path, null, name):
    with pytest.raises(InvalidAudio, match=name):
        enhance_file(source, tmp_path / name, null, SETTINGS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav"]


def test_a_target_that_cannot_be_written_is_refused_by_name(source, tmp_path, null):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(InvalidAudio, match=r"out\.wav"):
        enhance_file(source, tmp_path / "file" / "out.wav", null, SETTINGS)
    with pytest.raises((InvalidAudio, OutputExists), match=r"folder\.wav"):
        enhance_file(source, tmp_path / "folder.wav", null, SETTINGS, force=True)
    assert leftovers(tmp_path) == []


def test_a_rate_that_a_format_cannot_hold_is_refused(source, tmp_path, null):
    with pytest.raises(InvalidAudio, match=r"out\.opus"):
        enhance_file(source, tmp_path / "out.opus", null, EnhanceSettings(rate_out=44100))
    assert leftovers(tmp_path) == []


def test_reading_and_writing_close_what_they_open(source, tmp_path):
    with open_to_read(source) as opened:
        pass
    assert opened.closed
    with pytest.raises(Crash), open_to_write(tmp_path / "x.wav", 8000, 1, "PCM_16", 0, force=False) as written:
        raise Crash
    assert written.closed
    assert not (tmp_path / "x.wav").exists()
