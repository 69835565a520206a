"""`rtsr live --install`: what systemd or a desktop reads is what was asked for, wherever it was asked."""

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
from rtsr.daemon.unit import NAME, install, uninstall
from rtsr.errors import RtsrError

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


SYSTEMCTL = """#!/bin/sh
[ "$1 $2" = "--user show-environment" ] && { [ ! -e "$0.alone" ]; exit; }
echo "$@" >> "$0.log"
[ ! -e "$0.refuses" ] || { echo "Failed: no such bus" >&2; exit 1; }
"""


@pytest.fixture
def unit(tmp_path, monkeypatch) -> Path:
    """Where the unit is written. Tests have no session of systemd: in its place a program notes what it is asked."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    return tmp_path / "config/systemd/user/rtsr-live.service"


def asked(tmp_path: Path) -> list[str]:
    """What systemctl was asked for."""
    log = tmp_path / "bin/systemctl.log"
    return log.read_text().splitlines() if log.exists() else []


def command(unit: Path) -> str:
    return re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)[1]


def test_every_argument_arrives_as_it_was_given(unit, tmp_path):
    said = install(["live", *HARD])
    assert read(command(unit)) == [os.path.abspath(sys.executable), "-m", "rtsr", "live", *HARD]
    assert said[0] == f"wrote {unit}"
    assert asked(tmp_path) == [f"--user {c}" for c in ("daemon-reload", f"enable {NAME}", f"restart {NAME}")]
    assert "Restart=on-failure" in unit.read_text()


def test_what_was_installed_is_removed_and_nothing_else(unit, tmp_path):
    other = unit.with_name("other.service")
    install(["live"])
    other.write_text("")
    assert uninstall() == [f"stopped it and removed {unit}"]
    assert asked(tmp_path)[-2:] == [f"--user disable --now {NAME}", "--user daemon-reload"]
    assert list(unit.parent.iterdir()) == [other]
    assert uninstall() == []


def test_a_second_installation_replaces_the_first(unit):
    install(["live", "--gain=1"])
    install(["live", "--gain=2"])
    assert read(command(unit))[4:] == ["--gain=2"]
    assert len(list(unit.parent.iterdir())) == 1


def test_what_systemd_refuses_is_said(unit, tmp_path):
    (tmp_path / "bin/systemctl.refuses").touch()
    with pytest.raises(RtsrError, match="daemon-reload to succeed: Failed: no such bus"):
        install(["live"])


def test_an_installation_that_is_refused_leaves_the_one_before(unit, tmp_path):
    install(["live", "--gain=1"])
    (tmp_path / "bin/systemctl.refuses").touch()
    with pytest.raises(RtsrError):
        install(["live", "--gain=2"])
    assert unit.exists()


def test_where_systemd_does_not_answer_any_more_no_link_is_left(unit, tmp_path, monkeypatch):
    install(["live"])
    link = unit.parent / "default.target.wants" / NAME  # as `systemctl enable` makes it
    link.parent.mkdir()
    link.symlink_to(unit)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert uninstall() == [f"removed {unit}; what it started runs until `rtsr ctl stop`"]
    assert not link.is_symlink()


@pytest.mark.parametrize("alone", [False, True], ids=["no systemctl", "no systemd for this user"])
def test_without_systemd_it_starts_with_the_desktop(unit, tmp_path, monkeypatch, alone):
    (tmp_path / "bin/systemctl.alone").touch()
    if not alone:
        monkeypatch.setenv("PATH", str(tmp_path))
    said = install(["live", *HARD])
    entry = tmp_path / "config/autostart/rtsr-live.desktop"
    assert said[0] == f"wrote {entry}"
    assert not unit.exists()
    assert entry_command(entry) == [os.path.abspath(sys.executable), "-m", "rtsr", "live", *HARD]
    assert uninstall() == [f"removed {entry}; what it started runs until `rtsr ctl stop`"]
    assert not entry.exists()


def entry_command(entry: Path) -> list[str]:
    """Read Exec as the Desktop Entry Specification says: a string's escapes first, then quotes, then field codes."""
    value = re.search(r"^Exec=(.*)$", entry.read_text(), re.MULTILINE)[1]
    plain = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
    value = re.sub(r"\\(.)", lambda m: plain[m[1]], value)
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', value, re.DOTALL)
    assert value == " ".join(f'"{word}"' for word in words)
    words = [re.sub(r"\\([\"`$\\])", r"\1", word) for word in words]
    assert not any(re.search(r"(?<!%)(%%)*%(?!%)", word) for word in words), "a field code"
    return [word.replace("%%", "%") for word in words]


def test_without_a_device_it_is_a_microphone(unit, run):
    code, printed, _ = run("live", "--install")
    assert code == 0
    assert read(command(unit))[4:] == ["--virtual-mic=rtsr microphone", "--smart"]
    assert "no smart filter: " in printed  # tests have no sound server
    assert 'choose "rtsr microphone"' in printed
    code, printed, _ = run("live", "--uninstall")
    assert (code, unit.exists()) == (0, False)
    assert "nothing is installed" in run("live", "--uninstall")[1]


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
    code, _, _ = run("live", *given, "--install")
    assert code == 0
    expected = {
        f"--config={tmp_path}/my rtsr.toml",
        f"--socket={tmp_path}/s",
        f"--model={tmp_path}/m.json",
        "--gain=-3.0",
        "--virtual-mic=rtsr microphone",
    }
    assert set(read(command(unit))[4:]) == expected
    run("live", "--model", "voice-48k", "--install")
    assert read(command(unit))[4:] == ["--virtual-mic=rtsr microphone", "--smart", "--model=voice-48k"]
    run("live", "--virtual-mic", "--virtual-speaker", "--install")
    assert read(command(unit))[4:] == ["--virtual-mic=rtsr microphone", "--virtual-speaker=rtsr speaker"]


def test_every_option_reaches_the_unit(unit, run, tmp_path):
    (tmp_path / "c.toml").write_text("[live]\n")
    numbers = {"rate": 48000, "gain": 1.0, "metrics": 0, "low-water": 9.0}
    values = {"config": tmp_path / "c.toml", "host": "jack", "worker": "python", "cutoff": "4000", **numbers}
    names = [n.replace("_", "-") for n in inspect.signature(live).parameters if n not in ("install", "uninstall")]
    given = ["--smart" if n == "smart" else f"--{n}={values.get(n, tmp_path / n)}" for n in names]
    assert run("live", *given, "--install")[0] == 0
    assert sorted(read(command(unit))[4:]) == sorted(given)
