"""Every plug-in in a real host gives, sample for sample, what rtsr-cli gives, as late as it reports.

The plug-ins lie in build/native/plugin, where .ci/native puts them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsr import Reblock, load
from rtsr.net.weights import SHIPPED
from tests.signals import narrowed, noise, voice_like
from tests.speech import missing

BUILT = Path(__file__).parents[2] / "build" / "native"
PLUGINS = BUILT / "plugin"
RATES = [16000, 44100, 48000]
LIMIT_BYTES = 16_000_000


def need(what: Path | str) -> str:
    """Return the program or file; skip, or fail in CI, where it is not there."""
    found = what.exists() if isinstance(what, Path) else shutil.which(what)
    if not found:
        missing(str(what))
    return str(what)


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module", params=RATES)
def recording(request, tmp_path_factory) -> tuple[int, Path, np.ndarray]:
    """A rate, a recording, and what rtsr-cli makes of it at that rate."""
    rate, folder = request.param, tmp_path_factory.mktemp("recording")
    x = narrowed(voice_like(2.0, rate), rate, 3800) + noise(2 * rate, 1, 1e-4)
    soundfile.write(folder / "in.wav", x, rate, subtype="FLOAT")
    run(need(BUILT / "rtsr-cli"), "--model", str(SHIPPED / "voice-16k.json"), "--cutoff", "4000",
        str(folder / "in.wav"), str(folder / "cli.wav"))  # fmt: skip
    return rate, folder / "in.wav", soundfile.read(folder / "cli.wav", dtype="float32")[0]


def latency(rate: int) -> int:
    return Reblock(load("voice-16k", "null"), rate, rate).latency


def check(rendered: Path, rate: int, expected: np.ndarray) -> None:
    """What the host wrote is the expected signal after the latency, bit for bit."""
    got, late = soundfile.read(rendered, dtype="float32")[0], latency(rate)
    np.testing.assert_array_equal(got[late:], expected[: len(got) - late])
    assert len(got) >= len(expected)


def test_the_cli_gives_what_python_gives(recording):
    rate, source, got = recording
    path = Reblock(load("voice-16k", "eager"), rate, rate, cutoff=4000.0)
    x = soundfile.read(source, dtype="float32")[0]
    expected = np.concatenate([path.process(x), path.flush()])[path.latency :]
    assert np.abs(got).max() > 0.3
    assert np.abs(got - expected).max() <= 1e-4


def test_ladspa_in_ffmpeg(recording, tmp_path):
    rate, source, expected = recording
    need(PLUGINS / "ladspa" / "rtsr.so")
    run(need("ffmpeg"), "-v", "error", "-i", str(source), "-af", "ladspa=file=rtsr:plugin=rtsr:c=c1=4000",
        "-c:a", "pcm_f32le", str(tmp_path / "out.wav"), LADSPA_PATH=str(PLUGINS / "ladspa"))  # fmt: skip
    check(tmp_path / "out.wav", rate, expected)


def test_lv2_in_ffmpeg(recording, tmp_path):
    rate, source, expected = recording
    need(PLUGINS / "lv2" / "rtsr.lv2")
    run(need("ffmpeg"), "-v", "error", "-i", str(source), "-af", r"lv2=p=urn\\:rtsr\\:mono:c=cutoff=4000",
        "-c:a", "pcm_f32le", str(tmp_path / "out.wav"), LV2_PATH=str(PLUGINS / "lv2"))  # fmt: skip
    check(tmp_path / "out.wav", rate, expected)


def test_lv2_in_lv2apply(recording, tmp_path):
    rate, source, expected = recording
    need(PLUGINS / "lv2" / "rtsr.lv2")
    run(need("lv2apply"), "-i", str(source), "-o", str(tmp_path / "out.wav"), "-c", "cutoff", "4000", "urn:rtsr:mono",
        LV2_PATH=str(PLUGINS / "lv2"))  # fmt: skip
    check(tmp_path / "out.wav", rate, expected)


@pytest.mark.parametrize("block", [1, 333, 8192])
def test_vst3_in_pedalboard(recording, block):
    rate, source, expected = recording
    path = need(PLUGINS / "vst3" / "rtsr.vst3")
    try:
        import pedalboard
    except ImportError:
        missing("pedalboard")
    plugin = pedalboard.load_plugin(path)
    plugin.cutoff_0_detects_hz = 4000.0
    x = soundfile.read(source, dtype="float32")[0]
    got = plugin.process(x[None], rate, buffer_size=block)[0]  # it takes out the latency that is reported
    np.testing.assert_array_equal(got, expected)


def test_channels_of_the_stereo_plug_in_do_not_hear_each_other(recording, tmp_path):
    rate, source, expected = recording
    need(PLUGINS / "ladspa" / "rtsr-stereo.so")
    x = soundfile.read(source, dtype="float32")[0]
    soundfile.write(tmp_path / "in.wav", np.stack([x, 0 * x], 1), rate, subtype="FLOAT")
    run(need("ffmpeg"), "-v", "error", "-i", str(tmp_path / "in.wav"), "-af",
        "ladspa=file=rtsr-stereo:plugin=rtsr_stereo:c=c1=4000", "-c:a", "pcm_f32le", str(tmp_path / "out.wav"),
        LADSPA_PATH=str(PLUGINS / "ladspa"))  # fmt: skip
    got, late = soundfile.read(tmp_path / "out.wav", dtype="float32")[0], latency(rate)
    np.testing.assert_array_equal(got[late:, 0], expected[: len(got) - late])
    assert not got[:, 1].any()


def test_a_rate_that_cannot_be_passes_through_and_says_why(tmp_path):
    need(PLUGINS / "ladspa" / "rtsr.so")
    x = voice_like(0.5, 8000)
    soundfile.write(tmp_path / "in.wav", x, 8000, subtype="FLOAT")
    said = run(need("ffmpeg"), "-v", "error", "-i", str(tmp_path / "in.wav"), "-af", "ladspa=file=rtsr:plugin=rtsr",
               "-c:a", "pcm_f32le", str(tmp_path / "out.wav"), LADSPA_PATH=str(PLUGINS / "ladspa"))  # fmt: skip
    assert "passes audio through: expected an output rate of at least 16000 Hz, got 8000 Hz" in said
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav", dtype="float32")[0], x)


def test_a_plug_in_fits_its_size():
    need(PLUGINS)
    binaries = [*PLUGINS.glob("ladspa/*.so"), *PLUGINS.glob("*/*/**/rtsr*.so"), *PLUGINS.glob("clap/*.clap")]
    assert len(binaries) == 8
    assert max(b.stat().st_size for b in binaries) <= LIMIT_BYTES
