"""Smart filters without a sound server: which WirePlumber has them, before what they are, and how they are made."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from rtsr.io.device import ENDPOINT, GROUP, point_server_at
from rtsr.io.devices import PULSE, Device
from rtsr.io.smart import LOOPBACK, NoSmartFilter, SmartFilter, has_smart_filters, target_of
from rtsr.io.virtual import Virtual

MICROPHONE = Device("mic", "Microphone", "input", PULSE, 0, 1, 48_000, True)
FEED = Device("m_feed", "Feed", "output", PULSE, 0, 1, 48_000, False, made_by_rtsr=True)


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ("0.4.13", False),
        ("0.4.99", False),
        ("0.5.0", True),
        ("0.5.8", True),
        ("0.10.1", True),
        ("1.0", True),
        ("", False),
    ],
)
def test_wireplumber_has_them_from_0_5_on(version, has):
    assert has_smart_filters(version) is has


def test_it_is_before_a_device_or_before_what_a_filter_is_before():
    assert json.loads(target_of({"node.name": 'a "mic"'})) == {"node.name": 'a "mic"'}
    headset = {"node.name": "bluez_input.AA", "filter.smart": "true", "filter.smart.target": "{ device.id = 7 }"}
    assert target_of(headset) == "{ device.id = 7 }"
    assert target_of({"node.name": "any", "filter.smart": "true"}) is None
    assert target_of({"node.name": "any", "filter.smart": "false"}) is not None


@pytest.mark.parametrize("kind", ["microphone", "speaker"])
def test_only_the_end_for_programs_is_a_filter(kind):
    filter_ = SmartFilter(Virtual('my "é"', kind), "mark")
    sink, source = filter_.arguments('{"node.name": "real"}')
    programs, ours = (source, sink) if kind == "microphone" else (sink, source)
    assert 'filter.smart = "true"' in programs
    assert 'filter.smart.target = {"node.name": "real"}' in programs
    assert f"node.name = {json.dumps(filter_.virtual.name, ensure_ascii=False)}" in programs
    assert 'node.description = "my \\"é\\""' in programs
    assert "filter.smart" not in ours
    assert f'node.name = "{filter_.feed}"' in ours
    for end in (sink, source):
        assert 'rtsr.owner = "mark"' in end
        assert f'node.link-group = "{filter_.group}"' in end


def test_there_is_none_before_what_is_no_device_of_the_server():
    with pytest.raises(NoSmartFilter, match="no device of the sound server"):
        SmartFilter(Virtual("m", "microphone"), "mark").make(Device("hw", "hw", "input", "ALSA", 0, 1, 48_000, True))


def test_in_its_group_the_real_device_is_not_named(monkeypatch):
    for name in (*ENDPOINT.values(), GROUP):
        monkeypatch.delenv(name, raising=False)
    point_server_at(MICROPHONE, "group")
    assert GROUP in os.environ
    assert ENDPOINT["input"] not in os.environ
    point_server_at(FEED, "group")
    assert os.environ[ENDPOINT["output"]] == "m_feed"
    assert GROUP not in os.environ
    point_server_at(MICROPHONE)
    assert os.environ[ENDPOINT["input"]] == "mic"
    assert GROUP not in os.environ


@pytest.mark.parametrize("by", ["its input", "a signal"])
def test_the_loopback_ends_with_the_process_that_made_it(tmp_path, monkeypatch, by):
    program = tmp_path / "pw-loopback"
    program.write_text('#!/bin/sh\necho "$@"\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    command, pipe = ["sh", "-c", LOOPBACK, "sh", "{ a b }", "c"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "{ a b } c\n"
        assert process.poll() is None
        if by == "its input":
            process.stdin.close()
        else:
            process.terminate()
        assert process.wait(5) != 0
