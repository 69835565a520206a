"""The manifest of an archive: what is still to be done, whenever a run ended, and whose an output is."""

from __future__ import annotations

import pytest

from rtsr.archive.manifest import DONE, FAILED, PLANNED, REFUSED, Entry, Manifest, open_manifest
from rtsr.errors import InvalidSetting

SETTINGS = {"model": "voice-16k", "cutoff": "auto"}


def names(entries: list[Entry]) -> list[str]:
    return [entry.file for entry in entries]


def test_the_largest_files_come_first():
    todo = Manifest(SETTINGS).plan({"a.wav": 1, "b.wav": 3, "c.wav": 3}, {})
    assert names(todo) == ["b.wav", "c.wav", "a.wav"]


def test_an_output_that_was_there_before_is_refused_until_it_is_gone():
    manifest = Manifest(SETTINGS)
    assert names(manifest.plan({"a.wav": 1, "b.wav": 1}, {"a.wav": 9})) == ["b.wav"]
    assert manifest.entries["a.wav"].status == REFUSED
    assert "--force" in manifest.entries["a.wav"].error
    assert names(manifest.plan({"a.wav": 1, "b.wav": 1}, {"a.wav": 9})) == ["b.wav"]
    assert names(manifest.plan({"a.wav": 1, "b.wav": 1}, {})) == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("status", "has_output", "again"),
    [(PLANNED, False, True), (PLANNED, True, True), (DONE, True, False), (DONE, False, True), (FAILED, False, True)],
)
def test_what_a_run_that_was_ended_left_is_done_once(status, has_output, again):
    """A planned file with an output was published by the killed run: a worker only has to describe it."""
    manifest = Manifest(SETTINGS, {"a.wav": Entry("a.wav", status)})
    todo = manifest.plan({"a.wav": 1}, {"a.wav": 9} if has_output else {})
    assert names(todo) == (["a.wav"] if again else [])


def test_new_sources_are_added_and_those_that_went_are_forgotten_unless_done():
    manifest = Manifest(SETTINGS, {"old.wav": Entry("old.wav"), "done.wav": Entry("done.wav", DONE)})
    assert names(manifest.plan({"new.wav": 1}, {"done.wav": 9})) == ["new.wav"]
    assert sorted(manifest.entries) == ["done.wav", "new.wav"]


def test_it_is_read_as_it_was_written_whatever_files_are_called():
    entry = Entry("caf\udce9 [red]\n.wav", DONE, 1, 2, 0.5, "00ff", "")
    manifest = Manifest(SETTINGS, {entry.file: entry})
    assert open_manifest(manifest.encode(), SETTINGS, "there") == manifest


def test_other_settings_are_refused_with_both_values():
    with pytest.raises(InvalidSetting, match=r"there was begun with cutoff auto, got 3400.*--force"):
        open_manifest(Manifest(SETTINGS).encode(), {**SETTINGS, "cutoff": "3400"}, "there")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff", b"{}\n", b'{"rtsr_manifest": 2, "settings": {}}', b'{"rtsr_manifest": 1}', b"1\n2",
     b'{"rtsr_manifest": 1, "settings": {}}\n{"name": 1}', b'{"rtsr_manifest": 1, "settings": 1}'],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(InvalidSetting, match="there is no manifest"):
        open_manifest(content, SETTINGS, "there")
