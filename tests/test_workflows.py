"""The workflows of GitHub: actions pinned by commit, and scripts that people run too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_there_are_some():
    assert {w.stem for w in WORKFLOWS} >= {"test", "wheels", "release"}


def test_they_fit_the_schema_of_workflows():
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda w: w.stem)
def test_actions_are_pinned_and_the_scripts_are_there(workflow):
    text = workflow.read_text()
    for used in re.findall(r"uses: (.+)", text):
        assert used.startswith("./.github/") or re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", used), used
    for script in re.findall(r"run: (\.\S+)", text):
        assert os.access(ROOT / script, os.X_OK) or script.startswith(".venv/"), script
    assert re.search(r"^permissions:\n  contents: read$", text, re.MULTILINE)


def test_a_tag_of_another_version_is_refused_with_the_places():
    done = subprocess.run([ROOT / ".ci" / "version", "v9.8.7"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    places = ("pyproject.toml", "rtsr/__init__.py", "native/CMakeLists.txt", "CHANGELOG.md")
    assert [line.split(" in ")[1].split(" ")[0] for line in done.stderr.splitlines()] == list(places)
