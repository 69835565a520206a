"""Files of any kind are read or refused by name, and an output is there whole or not at all."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsr.enhance import EnhanceSettings, enhance, enhance_file
from rtsr.errors import InvalidAudio, InvalidSetting
from rtsr.io.file import FORMATS, find_audio, open_to_read, open_to_write
from tests.signals import noise, voice_like

SETTINGS = EnhanceSettings(cutoff=3000.0)


def write(path: Path, x: np.ndarray, rate: int = 8000, **options) -> Path:
    soundfile.write(path, x, rate, **options)
    return path


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if ".part" in p.name)


@pytest.fixture
def source(tmp_path) -> Path:
    return write(tmp_path / "in.wav", voice_like(0.5, 8000), subtype="FLOAT")


def test_a_file_gives_what_the_array_gives(source, tmp_path, generating):
    target = tmp_path / "out.wav"
    heard: list[tuple[int, int]] = []
    enhance_file(source, target, generating, SETTINGS, progress=lambda *at: heard.append(at))
    got, rate = soundfile.read(target, dtype="float32")
    assert rate == 16000
    np.testing.assert_array_equal(got, enhance(voice_like(0.5, 8000), 8000, model=generating, cutoff=3000.0))
    assert heard[-1] == (4000, 4000)
    assert heard == sorted(heard)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("suffix", [*FORMATS, ".WAV"])
def test_every_format_that_is_read_can_be_written(source, tmp_path, null, suffix):
    target = tmp_path / f"out{suffix}"
    enhance_file(source, target, null, SETTINGS)
    with soundfile.SoundFile(target) as opened:
        assert opened.samplerate == 16000
        assert opened.frames == pytest.approx(8000, abs=0 if suffix not in (".mp3",) else 4000)
    if suffix not in (".ogg", ".opus", ".mp3"):
        expected = enhance(voice_like(0.5, 8000), 8000, model=null)
        np.testing.assert_allclose(soundfile.read(target)[0], expected, atol=1e-4)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("subtype", "kept"),
    [
        ("PCM_16", "PCM_16"),
        ("PCM_24", "PCM_24"),
        ("PCM_32", "PCM_32"),
        ("FLOAT", "FLOAT"),
        ("ULAW", "PCM_16"),
    ],
)
def test_the_sample_width_is_kept_and_a_lossy_one_is_not(tmp_path, null, subtype, kept):
    source = write(tmp_path / "in.wav", voice_like(0.2, 8000), subtype=subtype)
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    assert soundfile.info(tmp_path / "out.wav").subtype == kept


def test_a_lossy_recording_does_not_become_a_lossy_wav(tmp_path, null):
    source = write(tmp_path / "in.mp3", voice_like(0.5, 8000))
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_16"


def test_24_bit_is_read_to_the_last_bit(tmp_path, null):
    x = np.round(noise(4000, 1) * 2**23) / 2**23
    source = write(tmp_path / "in.wav", x, 16000, subtype="PCM_24")
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav")[0], x)


@pytest.mark.parametrize(("rate", "channels"), [(96000, 1), (44100, 2), (48000, 6), (4000, 1), (16000, 32)])
def test_high_rates_and_many_channels(tmp_path, null, rate, channels):
    x = np.stack([voice_like(0.2, rate, seed=c) for c in range(channels)], axis=1)
    source = write(tmp_path / "in.wav", x, rate, subtype="FLOAT")
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    out, found = soundfile.read(tmp_path / "out.wav", always_2d=True)
    assert (found, out.shape) == (16000, (3200, channels))


def test_more_channels_than_anyone_has_are_refused(tmp_path, null):
    source = write(tmp_path / "in.wav", np.zeros((100, 33)))
    with pytest.raises(InvalidAudio, match="32 channels, got 33"):
        enhance_file(source, tmp_path / "out.wav", null, SETTINGS)


BAD = {
    "empty.wav": b"",
    "text.wav": b"This is a letter and not a sound.\n" * 20,
    "header.wav": b"RIFF\x24\x00\x00\x00WAVE",
    "zeros.wav": bytes(4096),
    "text.mp3": b"not an mp3 file, really not",
    "empty.raw": b"",
    "some.raw": bytes(4000),
    "letter.txt": b"hello",
    "no-suffix": b"hello",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_audio_is_refused_by_name_and_nothing_is_written(tmp_path, null, name):
    source = tmp_path / name
    source.write_bytes(BAD[name])
    with pytest.raises(InvalidAudio, match=name):
        enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


def test_a_file_without_samples_is_refused(tmp_path, null):
    source = write(tmp_path / "none.wav", np.zeros(0))
    with pytest.raises(InvalidAudio, match=r"none\.wav: holds no samples"):
        enhance_file(source, tmp_path / "out.wav", null, SETTINGS)


def test_an_absent_file_and_a_folder_are_refused(tmp_path, null):
    for source in (tmp_path / "absent.wav", tmp_path):
        with pytest.raises(InvalidAudio, match="no such file"):
            enhance_file(source, tmp_path / "out.wav", null, SETTINGS)


def test_a_truncated_wav_gives_what_is_there(tmp_path, null):
    x = voice_like(1.0, 16000)
    whole = write(tmp_path / "whole.wav", x, 16000, subtype="FLOAT").read_bytes()
    source = tmp_path / "cut.wav"
    source.write_bytes(whole[: len(whole) - 40_001])
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    out = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    np.testing.assert_array_equal(out, x[: len(out)])
    assert len(out) == len(x) - 10_001
    assert leftovers(tmp_path) == []


def cut_in_half(path: Path) -> Path:
    whole = write(path.with_stem("whole"), noise(5 * 16000, 1), 16000).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def test_a_flac_that_ends_too_early_is_refused_itself_and_not_the_output(tmp_path, null):
    source = cut_in_half(tmp_path / "cut.flac")
    with pytest.raises(InvalidAudio, match=r"cut\.flac"):
        enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    assert not (tmp_path / "out.wav").exists()
    assert leftovers(tmp_path) == []


def test_an_ogg_that_ends_too_early_gives_what_is_there(tmp_path, null):
    source = cut_in_half(tmp_path / "cut.ogg")
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    assert 16000 < soundfile.info(tmp_path / "out.wav").frames < 5 * 16000


GIB = 2**30


@pytest.mark.parametrize(("frames", "kind"), [(GIB, "WAV"), (2 * GIB - 2**15, "WAV"), (2 * GIB, "RF64")])
def test_wav_beyond_4_gib_is_rf64(tmp_path, frames, kind):
    target = tmp_path / "out.wav"
    with open_to_write(target, 16000, 1, "PCM_16", frames, force=False) as written:
        written.write(noise(100, 1))  # the rest is only promised: its writing would take minutes
    info = soundfile.info(target)
    assert (info.format, info.subtype, info.frames) == (kind, "PCM_16", 100)


def test_a_recording_whose_enhancement_is_longer_than_4_gib_is_written_as_rf64(tmp_path, null, monkeypatch):
    source = write(tmp_path / "in.wav", noise(8000, 1), subtype="PCM_16")
    monkeypatch.setattr("rtsr.io.file.MOST_BYTES", 2 * 16000 - 1)
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    assert (soundfile.info(tmp_path / "out.wav").format, soundfile.info(tmp_path / "out.wav").frames) == ("RF64", 16000)


def test_aiff_beyond_4_gib_is_refused_before_the_work(tmp_path):
    refused = pytest.raises(InvalidAudio, match=r"out\.aiff: AIFF holds at most 4 GiB")
    with refused, open_to_write(tmp_path / "out.aiff", 16000, 2, "FLOAT", GIB, force=False):
        pass
    assert list(tmp_path.iterdir()) == []


def sparse(path: Path, kind: bytes, length: int, stated: int) -> Path:
    """A WAV file with so many bytes of silence, none of which lies on the disk, and a header that tells of others."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    long = struct.pack("<4sIQQQI", b"ds64", 28, length + 72, length, length // 2, 0) if kind == b"RF64" else b""
    head = struct.pack("<4sI4s", kind, stated, b"WAVE") + long + form + struct.pack("<4sI", b"data", stated)
    path.write_bytes(head)
    os.truncate(path, len(head) + length)
    return path


def test_rf64_is_read_to_its_end(tmp_path):
    with open_to_read(sparse(tmp_path / "in.wav", b"RF64", 6 * GIB, 2**32 - 1)) as opened:
        assert opened.frames == 3 * GIB


@pytest.mark.parametrize("stated", [2**32 - 1, 6 * GIB % 2**32])
def test_a_riff_beyond_4_gib_that_cannot_tell_its_length_is_refused(tmp_path, stated):
    with (
        pytest.raises(InvalidAudio, match=r"in\.wav: expected RF64"),
        open_to_read(sparse(tmp_path / "in.wav", b"RIFF", 6 * GIB, stated)),
    ):
        pass


def test_memory_does_not_grow_with_the_length(tmp_path, null):
    used = []
    for seconds in (2, 10, 80):
        source = sparse(tmp_path / f"{seconds}.wav", b"RIFF", 2 * 8000 * seconds, 2 * 8000 * seconds)
        tracemalloc.start()
        enhance_file(source, tmp_path / "out.wav", null, SETTINGS, force=True)
        used.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert used[2] < used[1] + 100_000  # the first one may be that of compiling


def test_a_header_that_promises_too_much_is_no_reason_to_hang_or_invent(tmp_path, null):
    data = voice_like(0.25, 16000)
    raw = (data * 32767).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", 2**31 - 1, b"WAVE") + form + struct.pack("<4sI", b"data", 2**31 - 1)
    source = tmp_path / "liar.wav"
    source.write_bytes(head + raw)
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    assert soundfile.info(tmp_path / "out.wav").frames == len(data)


def test_samples_that_are_no_numbers_are_taken_for_silence(tmp_path, null):
    x = np.zeros(1600, np.float32)
    x[100:200], x[300:400] = np.nan, np.inf
    source = write(tmp_path / "in.wav", x, 16000, subtype="FLOAT")
    enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    out = soundfile.read(tmp_path / "out.wav")[0]
    assert np.isfinite(out).all()
    assert np.abs(out).max() == 1


def test_a_rate_below_what_the_stream_takes_is_refused(tmp_path, null):
    source = write(tmp_path / "in.wav", noise(1000, 1), 2000)
    with pytest.raises(InvalidSetting, match="rate"):
        enhance_file(source, tmp_path / "out.wav", null, SETTINGS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav"]


def test_audio_is_found_at_any_depth_in_order(tmp_path):
    for name in ("b.wav", "a.flac", "deep/er/c.OGG", "notes.txt", ".wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    assert [p.relative_to(tmp_path).as_posix() for p in find_audio(tmp_path)] == ["a.flac", "b.wav", "deep/er/c.OGG"]


def test_a_folder_without_audio_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(InvalidAudio, match="holds no audio"):
        find_audio(tmp_path)
