"""`rtsr plugins`: links for this user's programs, and nothing else touched."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtsr.cli import app, plugins
from rtsr.errors import MissingDependency, OutputExists
from tests.speech import missing


@pytest.fixture
def built() -> Path:
    try:
        return plugins.find_plugins()
    except MissingDependency:
        missing("the plug-ins in build/native")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["plugins", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_they_are_linked_and_removed_again(built, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run().strip() == str(built)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        assert run("--install").count("→") == 8
    assert (tmp_path / ".lv2" / "rtsr.lv2" / "manifest.ttl").is_file()
    theirs = tmp_path / ".lv2" / "theirs.lv2"
    theirs.mkdir()
    run("--remove")
    assert list(tmp_path.glob(".*/*")) == [theirs]


def test_a_host_loads_it_through_the_link(built, tmp_path, monkeypatch):
    if importlib.util.find_spec("pedalboard") is None:
        missing("pedalboard")
    from pedalboard import load_plugin

    monkeypatch.setenv("HOME", str(tmp_path))
    run("--install")
    assert "amount_db" in load_plugin(str(tmp_path / ".vst3" / "rtsr.vst3")).parameters


def test_what_is_not_ours_stays(built, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    theirs = tmp_path / ".ladspa" / "rtsr.so"
    theirs.parent.mkdir()
    theirs.write_text("theirs")
    with pytest.raises(OutputExists, match="no link of ours"):
        run("--install")
    run("--remove")
    assert theirs.read_text() == "theirs"
