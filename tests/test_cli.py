"""The command line as a person uses it: what it leaves, what it prints, and how it fails."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import rtsr

RATE = 8000


def tone(seconds: float = 0.3, rate: int = RATE, channels: int = 1) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (400 + 200 * c) * t) for c in range(channels)], 1)


@pytest.fixture
def call_wav(tmp_path) -> Path:
    path = tmp_path / "call.wav"
    soundfile.write(path, tone(), RATE)
    return path


def test_a_file_becomes_a_wideband_file_of_the_same_duration(run, call_wav, tmp_path):
    code, _, _ = run("enhance", call_wav, tmp_path / "wide.wav")
    wide, rate = soundfile.read(tmp_path / "wide.wav")
    assert (code, rate, len(wide)) == (0, 16000, 2 * len(tone()))
    expected = rtsr.enhance(soundfile.read(call_wav, dtype="float32")[0], RATE)
    np.testing.assert_allclose(wide, expected, atol=2 / 32768)


@pytest.mark.parametrize("rate_out", [16000, 44100, 48000])
def test_rate_of_the_output(run, call_wav, tmp_path, rate_out):
    code, _, _ = run("enhance", call_wav, tmp_path / "wide.flac", "--rate", rate_out, "--backend", "null")
    info = soundfile.info(tmp_path / "wide.flac")
    assert (code, info.samplerate, info.frames) == (0, rate_out, round(len(tone()) * rate_out / RATE))


def test_an_output_rate_below_the_models_is_refused(run, call_wav, tmp_path):
    code, _, err = run("enhance", call_wav, tmp_path / "wide.wav", "--rate", 8000)
    assert code == 1
    assert "16000" in err
    assert not (tmp_path / "wide.wav").exists()


def test_an_output_that_exists_is_kept_unless_forced(run, call_wav, tmp_path):
    target = tmp_path / "wide.wav"
    target.write_text("precious")
    code, _, err = run("enhance", call_wav, target)
    assert code == 1
    assert "--force" in err
    assert target.read_text() == "precious"
    assert run("enhance", call_wav, target, "--force", "--backend", "null")[0] == 0
    assert soundfile.info(target).samplerate == 16000


def test_a_place_that_cannot_be_written_is_one_clear_line(run, call_wav, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = run("enhance", call_wav, tmp_path / "file" / "wide.wav")
    assert code == 1
    assert "cannot be written" in err


@pytest.mark.parametrize(("subtype", "kept"), [("PCM_24", "PCM_24"), ("FLOAT", "FLOAT"), ("ULAW", "PCM_16")])
def test_sample_width_follows_the_input_unless_it_is_lossy(run, tmp_path, subtype, kept):
    soundfile.write(tmp_path / "in.wav", tone(), RATE, subtype=subtype)
    assert run("enhance", tmp_path / "in.wav", tmp_path / "out.wav", "--backend", "null")[0] == 0
    assert soundfile.info(tmp_path / "out.wav").subtype == kept


@pytest.mark.parametrize(("rate", "channels"), [(96000, 1), (48000, 6), (11025, 2), (4000, 1)])
def test_any_rate_and_any_channels(run, tmp_path, rate, channels):
    soundfile.write(tmp_path / "in.wav", tone(0.1, rate, channels), rate)
    assert run("enhance", tmp_path / "in.wav", tmp_path / "out.wav", "--backend", "null")[0] == 0
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.channels, info.frames) == (channels, round(int(0.1 * rate) * 16000 / rate))


def bad_files(folder: Path) -> dict[str, Path]:
    files = {name: folder / f"{name}.wav" for name in ("empty", "text", "headless", "silentless")}
    files["empty"].write_bytes(b"")
    files["text"].write_text("this is no sound")
    soundfile.write(files["headless"], tone(), RATE)
    files["headless"].write_bytes(files["headless"].read_bytes()[:20])
    soundfile.write(files["silentless"], np.zeros(0), RATE)
    return files


@pytest.mark.parametrize("kind", ["empty", "text", "headless", "silentless"])
def test_a_file_that_is_no_audio_is_one_clear_line(run, tmp_path, kind):
    path = bad_files(tmp_path)[kind]
    code, _, err = run("enhance", path, tmp_path / "out" / "wide.wav")
    assert code == 1
    assert path.name in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("out/*"))


def test_a_truncated_file_gives_what_is_there(run, call_wav, tmp_path):
    call_wav.write_bytes(call_wav.read_bytes()[:2044])  # the header promises more than the 1000 samples that follow
    assert run("enhance", call_wav, tmp_path / "out.wav", "--backend", "null")[0] == 0
    assert soundfile.info(tmp_path / "out.wav").frames == 2000


def test_a_folder_goes_on_after_a_bad_file_and_says_so(run, tmp_path):
    folder, out = tmp_path / "calls", tmp_path / "wide"
    (folder / "monday").mkdir(parents=True)
    soundfile.write(folder / "a.wav", tone(), RATE)
    (folder / "b.wav").write_text("broken")
    soundfile.write(folder / "monday" / "c.flac", tone(), RATE)
    code, _, err = run("enhance", folder, out, "--backend", "null")
    assert code == 1
    assert "b.wav" in err
    assert "1 of 3" in err
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == ["a.wav", "monday/c.flac"]


def test_a_folder_goes_on_whatever_its_files_are_called(run, tmp_path):
    names = [b"caf\xe9.wav", b"\xff.wav", b"[red].wav", b"a\x1b[2Jb.wav", b"plain.wav"]
    (tmp_path / "calls").mkdir()
    for name in names:
        soundfile.write(tmp_path / "call.wav", tone(), RATE)
        (tmp_path / "call.wav").rename(tmp_path / "calls" / os.fsdecode(name))
    (tmp_path / "calls" / os.fsdecode(b"\xfe\x1b.wav")).write_text("broken")
    code, _, err = run("enhance", tmp_path / "calls", tmp_path / "wide", "--backend", "null")
    assert code == 1
    assert "1 of 6 files failed" in err
    assert "\\udcfe\\x1b.wav" in err
    assert sorted(os.listdir(os.fsencode(tmp_path / "wide"))) == sorted(names)


def test_a_folder_without_audio(run, tmp_path):
    (tmp_path / "notes.txt").write_text("no audio here")
    code, _, err = run("enhance", tmp_path, tmp_path / "out")
    assert code == 1
    assert "no audio" in err


def test_unknown_names_list_those_there_are(run, call_wav, tmp_path):
    code, _, err = run("enhance", call_wav, tmp_path / "o.wav", "--model", "voice-61k")
    assert code == 1
    assert "voice-16k" in err
    code, _, err = run("enhance", call_wav, tmp_path / "o.wav", "--backend", "otr")
    assert code == 1
    assert "Did you mean 'ort'" in err


@pytest.mark.parametrize("cutoff", ["high", "-1", "10", "nan", "99999"])
def test_a_cutoff_that_cannot_be(run, call_wav, tmp_path, cutoff):
    code, _, err = run("enhance", call_wav, tmp_path / "o.wav", f"--cutoff={cutoff}")
    assert code == 1
    assert "cutoff" in err
    assert cutoff in err


def test_raw_samples_on_a_pipe_come_out_aligned_and_as_long():
    samples = (tone(0.5)[:, 0] * 32767).astype("<i2")
    command = [sys.executable, "-m", "rtsr", "enhance", "-", "-", "--input-rate", "8000", "--backend", "null"]
    done = subprocess.run(command, input=samples.tobytes() + b"\x01", capture_output=True, check=True, timeout=120)
    wide = np.frombuffer(done.stdout, "<i2")
    assert len(wide) == 2 * len(samples)
    expected = rtsr.enhance(samples.astype(np.float32) / 32768, RATE, backend="null")
    np.testing.assert_allclose(wide / 32768, expected, atol=2 / 32768)


def test_a_pipe_needs_both_ends(run, tmp_path):
    code, _, err = run("enhance", "-", tmp_path / "out.wav")
    assert code == 1
    assert "both" in err


def test_a_setting_that_cannot_be_is_said_once_whatever_the_folder_holds(run, tmp_path):
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", tone(), RATE)
    for option, value in (("--gain", "nan"), ("--rate", "8000"), ("--rate", "-5"), ("--cutoff", "10")):
        code, _, err = run("enhance", tmp_path, tmp_path / "out", option, value)
        assert code == 1
        assert err.count("error:") == 1
        assert value in err


def test_a_file_that_only_its_rate_rules_out_is_named(run, tmp_path):
    soundfile.write(tmp_path / "slow.wav", tone(rate=3000), 3000)
    code, _, err = run("enhance", tmp_path / "slow.wav", tmp_path / "out.wav", "--backend", "null")
    assert code == 1
    assert "slow.wav" in err
    assert "3000 Hz" in err


def test_the_version(run, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", {"rtsr": "1.2.3"}.__getitem__)
    assert run("--version")[:2] == (0, "rtsr 1.2.3\n")


def test_models_lists_what_ships(run):
    code, out, _ = run("models")
    assert code == 0
    assert "voice-16k" in out


EXPLAINED = ("enhance", "demo", "train", "evaluate", "listen", "export", "bench", "live", "ctl", "latency", "bridge")


@pytest.mark.parametrize("command", EXPLAINED)
def test_help_has_examples(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"rtsr {command}" in out.split("Example")[1]


def test_demo_leaves_sound_and_picture(run, tmp_path):
    code, out, _ = run("demo", "--fast", "--out", tmp_path)
    assert code == 0
    assert "10.0 ms" in out
    wide, rate = soundfile.read(tmp_path / "demo.wav")
    assert rate == 16000
    spectrum = np.abs(np.fft.rfft(wide))
    assert spectrum[len(spectrum) // 2 :].mean() > 1e-3 * spectrum.mean(), "nothing was generated above 4 kHz"
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_demo_refuses_a_model_of_another_rate(run, tmp_path):
    code, _, err = run("demo", "--fast", "--out", tmp_path, "--model", "voice-48k", "--backend", "null")
    assert code == 1
    assert "16000" in err


def test_a_published_network_enhances_at_its_rate_alone(run, call_wav, tmp_path):
    torch = pytest.importorskip("torch", reason="baselines need torch")
    pytest.importorskip("scipy", reason="the interpolation needs scipy")
    from rtsr.net.baselines import network

    for factor in (2, 4):
        folder = tmp_path / f"x{factor}"
        folder.mkdir()
        record = {"baseline": {"name": "hetherly", "factor": factor, "rate": 16000}}
        (folder / "run.json").write_text(json.dumps(record))
        torch.save({"net": network("hetherly", factor).state_dict()}, folder / "checkpoint.pt")
    code, _, _ = run("enhance", call_wav, tmp_path / "wide.wav", "--model", tmp_path / "x2")
    wide, rate = soundfile.read(tmp_path / "wide.wav")
    assert (code, rate, len(wide)) == (0, 16000, 2 * len(tone()))
    code, _, err = run("enhance", call_wav, tmp_path / "other.wav", "--model", tmp_path / "x4")
    assert code == 1
    assert "4000 Hz" in err
