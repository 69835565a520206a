"""The systemd unit: what systemd reads from it is what was asked for, wherever it was asked."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtsr.cli.live import live
from rtsr.daemon.unit import install

HARD = ["my mic", "it's", 'a "b"', "back\\slash", "\\x41", "100 %h", "$HOME ${HOME}", "line\nbreak\ttab", ";", "é", ""]


def read(command: str) -> list[str]:
    """Read a command as systemd.syntax(7), systemd.unit(5) and systemd.service(5) say, of what `install` may write."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', command)
    assert command == " ".join(f'"{w}"' for w in words)
    plain = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
    words = [re.sub(r"\\(.)", lambda m: plain[m[1]], w) for w in words]
    assert not any(re.search(r"(?<!%)(%%)*%(?!%)", w) for w in words), "a specifier"
    assert not any(re.search(r"(?<!\$)(\$\$)*\$(?!\$)", w) for w in words), "a variable"
    return [w.replace("%%", "%").replace("$$", "$") for w in words]


@pytest.fixture
def unit(tmp_path, monkeypatch) -> Path:
    """Where the unit is written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config/systemd/user/rtsr-live.service"


def command(unit: Path) -> str:
    return re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)[1]


def test_every_argument_arrives_as_it_was_given(unit):
    said = install(["live", *HARD])
    assert read(command(unit)) == [os.path.abspath(sys.executable), "-m", "rtsr", "live", *HARD]
    assert "systemctl --user enable --now rtsr-live.service" in said
    assert "Restart=on-failure" in unit.read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_unit(unit):
    install(["live", *HARD])
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", unit],
        env={**os.environ, "XDG_RUNTIME_DIR": str(unit.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not [line for line in done.stderr.splitlines() if unit.name in line], done.stderr


def test_paths_are_absolute_as_the_unit_starts_elsewhere(unit, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my rtsr.toml").write_text("[live]\n")
    given = ["--config", "my rtsr.toml", "--socket=s", "--model", "m.json", "--gain", "-3", "--virtual-mic"]
    code, _, _ = run("live", *given, "--install-unit")
    assert code == 0
    expected = {
        f"--config={tmp_path}/my rtsr.toml",
        f"--socket={tmp_path}/s",
        f"--model={tmp_path}/m.json",
        "--gain=-3.0",
        "--virtual-mic=rtsr microphone",
    }
    assert set(read(command(unit))[4:]) == expected
    run("live", "--model", "voice-48k", "--install-unit")
    assert read(command(unit))[4:] == ["--model=voice-48k"]


def test_every_option_reaches_the_unit(unit, run, tmp_path):
    (tmp_path / "c.toml").write_text("[live]\n")
    numbers = {"rate": 48000, "gain": 1.0, "metrics": 0, "low-water": 9.0}
    values = {"config": tmp_path / "c.toml", "host": "jack", "worker": "python", "cutoff": "4000", **numbers}
    names = [n.replace("_", "-") for n in inspect.signature(live).parameters if n != "install_unit"]
    given = [f"--{n}={values.get(n, tmp_path / n)}" for n in names]
    assert run("live", *given, "--install-unit")[0] == 0
    assert sorted(read(command(unit))[4:]) == sorted(given)
