"""rtsr-cli on files: any length in little memory, an output that is there whole or not at all."""

from __future__ import annotations

import resource
import signal
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsr import enhance
from tests.native.test_plugins import BUILT, need
from tests.signals import noise, voice_like

RATE = 8000
MOST_KB = 16_000  # the input alone is 19,200 kB of floats
TEN_MINUTES = 600 * RATE


def program(*words: object) -> subprocess.CompletedProcess[str]:
    command = [need(BUILT / "rtsr-cli"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=120)


@pytest.fixture
def source(tmp_path) -> Path:
    soundfile.write(tmp_path / "in.wav", voice_like(1.0, RATE), RATE, subtype="FLOAT")
    return tmp_path / "in.wav"


def test_any_number_of_channels_and_blocks_gives_what_python_gives(tmp_path, model_path):
    x = np.stack([voice_like(1.7, RATE, seed=c) for c in range(3)], axis=1)
    soundfile.write(tmp_path / "in.wav", x, RATE, subtype="FLOAT")
    done = program("--model", model_path, "--cutoff", "3400", tmp_path / "in.wav", tmp_path / "out.wav")
    assert done.returncode == 0, done.stderr
    got, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    expected = enhance(x, RATE, model=model_path, backend="native", cutoff=3400.0)
    assert (rate, got.shape) == (16000, expected.shape)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


def test_memory_does_not_grow_with_the_length(tmp_path, model_path):
    path = tmp_path / "in.wav"
    soundfile.write(path, noise(RATE, 1), RATE)
    with path.open("r+b") as file:  # ten minutes of which most are not on the disk
        file.seek(40)
        file.write(struct.pack("<I", 2 * TEN_MINUTES))
        file.truncate(44 + 2 * TEN_MINUTES)
    words = [need(BUILT / "rtsr-cli"), "--model", str(model_path), str(path), str(tmp_path / "out.wav")]
    limited = ["bash", "-c", f'ulimit -d {MOST_KB}; exec "$@"', "bash", *words]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "out.wav").frames == 2 * TEN_MINUTES


def test_a_file_can_replace_itself(source, model_path):
    assert program("--model", model_path, source, source).returncode == 0
    assert soundfile.info(source).frames == 16000


def test_an_output_that_cannot_be_finished_leaves_what_was_there(source, model_path, tmp_path):
    target = tmp_path / "out.wav"
    target.write_bytes(b"precious")
    limit = (20_000, 20_000)  # bytes of a file: a full disk

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    command = [need(BUILT / "rtsr-cli"), "--model", str(model_path), str(source), str(target)]
    done = subprocess.run(command, preexec_fn=restrict, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "out.wav cannot be written" in done.stderr
    assert target.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav", "out.wav"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rate", "1e300", "got 1e300"),
        ("--rate", "nan", "got nan"),
        ("--rate", "9e9", "got 9e9"),
        ("--rate", "3", "got 3 Hz"),
        ("--cutoff", "nan", "cutoff"),
        ("--cutoff", "99999", "cutoff"),
        ("--gain", "nan", "gain"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_was_given(source, model_path, tmp_path, option, value, message):
    done = program("--model", model_path, option, value, source, tmp_path / "out.wav")
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "out.wav").exists()
