"""`rtsr live --smart` on a desktop with WirePlumber 0.5 or later: what programs hear that have chosen nothing.

`.ci/smart-filter` prepares that desktop and runs these; elsewhere they are skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtsr.daemon.control import request
from rtsr.io.smart import find_wireplumber, has_smart_filters
from tests.live.desktop import ROOT, Desktop, Headset, Microphone, end
from tests.live.running import Running, rtsr
from tests.live.servers import Recorder, wait_for

SMART = ("--virtual-mic", "--smart", "--cutoff", "3400")
SOON_S = 5.0
TRIES = 4  # a cutoff is detected, a stream is moved

LADSPA = Path(__file__).parents[2] / "build" / "native" / "plugin" / "ladspa"
CONTRIB = Path(__file__).parents[2] / "contrib" / "pipewire"

pytestmark = pytest.mark.alone


@contextlib.contextmanager
def started(*configuration: Path) -> Iterator[Desktop]:
    if ROOT not in os.environ:
        pytest.skip(f"no {ROOT}: .ci/smart-filter prepares a Debian for this")
    one = Desktop(*configuration)
    one.env["LADSPA_PATH"] = str(one.folder)
    if configuration:
        shutil.copy(LADSPA / "rtsr.so", one.folder)
    try:
        one.start()
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def desktop() -> Iterator[Desktop]:
    with started() as one:
        yield one


@pytest.fixture
def smart(desktop, live) -> Callable[..., Running]:
    """Start `rtsr live` as a smart filter, and wait until it is one."""

    def start(*arguments: str) -> Running:
        running = live(desktop, *(arguments or SMART))
        running.wait_for_event("smart")
        return running

    return start


@pytest.fixture
def headset(desktop) -> Iterator[Headset]:
    """A headset in its music mode; a headset that is connected becomes the default."""
    one = Headset(desktop)
    desktop.choose(one.name)
    yield one
    one.remove()
    desktop.choose("mic")


def hears(desktop: Desktop, what: str, source: str | None = None) -> bool:
    """Whether a program hears the raw or the enhanced voice, soon; prints what it hears."""
    for _ in range(TRIES):
        heard = desktop.hear_loudspeaker(source) if source == "B" else desktop.hear(source)
        print(f"{source or 'nothing chosen'}, to be {what}: {heard}")
        if getattr(heard, what):
            return True
    return False


def linked(desktop: Desktop, source: str, program: str) -> bool:
    """Whether a program records from a source."""
    links = re.search(rf"^{source}:capture_MONO\n((?:  .*\n)*)", desktop.links(), re.MULTILINE)
    return links is not None and program in links[1]


@pytest.mark.parametrize("host", ["sounddevice", "pyaudio"])
def test_a_program_that_chooses_nothing_is_enhanced(desktop, smart, host):
    assert hears(desktop, "raw")
    running = smart(*SMART, "--host", host)
    assert hears(desktop, "enhanced")
    assert hears(desktop, "enhanced", "mic")  # one that asks for the microphone by its name
    assert hears(desktop, "enhanced", "rtsr_microphone")
    assert desktop.default == "mic"  # the sound settings show what they showed
    assert running.stop() == 0
    assert hears(desktop, "raw")


def test_two_programs_at_once_are_enhanced_and_another_microphone_is_not(desktop, smart):
    smart()
    other = Microphone(desktop, "other", 48_000)
    first = Recorder(desktop, None)
    try:
        assert hears(desktop, "enhanced")
        assert hears(desktop, "raw", "other")
        assert linked(desktop, "rtsr_microphone", "parec")
    finally:
        first.stop()
        other.remove()


def test_the_control_socket_steers_it(desktop, smart):
    running = smart()
    running.ask("bypass", "on")
    assert hears(desktop, "raw")
    running.ask("bypass", "off")
    assert hears(desktop, "enhanced")
    request(running.socket, "stop")
    assert running.process.wait(SOON_S) == 0
    assert hears(desktop, "raw")


def test_a_recording_goes_on_with_the_raw_microphone_when_it_is_killed(desktop, smart):
    running = smart()
    program = Recorder(desktop, None)
    try:
        wait_for(lambda: linked(desktop, "rtsr_microphone", "parec"), SOON_S)
        running.process.kill()
        for process in running.children:
            os.kill(process, signal.SIGKILL)
        running.process.wait()
        wait_for(lambda: linked(desktop, "mic", "parec"), SOON_S, "the raw microphone")
        assert not [n for n in desktop.names("sources") + desktop.names("sinks") if "rtsr" in n]
    finally:
        program.stop()
    assert hears(desktop, "raw")


def test_a_path_that_is_killed_is_a_filter_again(desktop, smart):
    running = smart()
    os.kill(running.children[0], signal.SIGKILL)
    running.wait_for_event("smart", times=2)
    running.wait_for_event("ready", times=2)
    assert hears(desktop, "enhanced")


def test_it_follows_the_default_microphone(desktop, smart):
    running = smart()
    other = Microphone(desktop, "other", 48_000)
    try:
        desktop.choose("other")
        running.wait_for_event("reconnect")
        assert hears(desktop, "enhanced")
        assert hears(desktop, "raw", "mic")
    finally:
        other.remove()
    desktop.choose("mic")
    running.wait_for_event("reconnect", times=2)
    assert hears(desktop, "enhanced")


def test_a_bluetooth_headset_in_telephone_mode_is_enhanced(desktop, smart):
    running = smart("--virtual-mic", "--smart")
    headset = Headset(desktop)
    try:
        desktop.choose(headset.name)
        running.wait_for_event("reconnect")
        # in music mode a program is linked to the headset's own source, by which WirePlumber knows to change its mode
        program = Recorder(desktop, None)
        wait_for(lambda: linked(desktop, headset.name, "parec"), SOON_S)
        assert not desktop.hear().speaks  # nor is another microphone heard
        headset.call()
        assert hears(desktop, "enhanced")
        assert hears(desktop, "enhanced", headset.name)
        assert desktop.default == headset.name
        program.stop()
        headset.play_music()
        headset.call()
        assert hears(desktop, "enhanced")
    finally:
        headset.remove()
    desktop.choose("mic")
    running.wait_for_event("reconnect", times=2)
    assert hears(desktop, "enhanced")


def test_a_headset_that_was_there_before_is_enhanced_and_raw_without_it(desktop, smart, headset):
    headset.call()
    assert hears(desktop, "raw")
    running = smart()
    assert hears(desktop, "enhanced")
    assert running.stop() == 0
    assert hears(desktop, "raw")


def test_what_is_installed_needs_no_choice(desktop, model_path):
    config = desktop.folder / "config"
    installed = rtsr(desktop, "live", "--install", "--model", str(model_path), "--cutoff", "3400")
    assert installed.returncode == 0, installed.stderr
    print(installed.stdout)
    assert re.search(r"choose nothing in the call program: WirePlumber 0\.\d+\.\d+", installed.stdout)
    entry = config / "autostart" / "rtsr-live.desktop"
    command = shlex.split(re.search("^Exec=(.*)$", entry.read_text(), re.MULTILINE)[1])
    with (desktop.folder / "installed.log").open("wb") as log:
        process = subprocess.Popen(command, env=desktop.env, stdout=log, stderr=log)
    try:
        wait_for(lambda: "event=ready" in (desktop.folder / "installed.log").read_text(), 60)
        assert hears(desktop, "enhanced")
        assert json.loads(rtsr(desktop, "ctl", "bypass", "on").stdout) == {"microphone": True}
        assert hears(desktop, "raw")
    finally:
        rtsr(desktop, "ctl", "stop")
        assert process.wait(SOON_S) == 0
    assert "removed" in rtsr(desktop, "live", "--uninstall").stdout
    assert not entry.exists()


def test_what_others_say_is_enhanced_on_the_default_speaker(desktop, live):
    running = live(desktop, "--virtual-speaker", "--smart", "--cutoff", "3400")
    running.wait_for_event("smart")
    playing = desktop.begin("pw-cat", "-p", str(desktop.recording(48_000, 0.5)))
    try:
        assert hears(desktop, "enhanced", "B")
        running.ask("bypass", "on")
        assert hears(desktop, "raw", "B")
    finally:
        end(playing)


def test_the_version_is_read_from_the_server(desktop, monkeypatch):
    import pulsectl

    monkeypatch.setenv("PULSE_SERVER", desktop.env["PULSE_SERVER"])
    with pulsectl.Pulse("test") as pulse:
        version = find_wireplumber(pulse)
    assert has_smart_filters(version)
    assert version in desktop.run("wireplumber", "--version")


def test_the_files_for_pipewire_are_smart_filters(tmp_path):
    """As contrib/README.md says: with their two lines; and where the default is a headset they are not in the way."""
    files = [tmp_path / f"rtsr-{name}.conf" for name in ("microphone", "speaker")]
    for file in files:
        file.write_text((CONTRIB / file.name).read_text().replace("# filter.smart", "filter.smart"))
        assert file.read_text().count("filter.smart") == 2
    with started(*files) as desktop:
        assert hears(desktop, "enhanced")
        assert desktop.default == "mic"
        playing = desktop.begin("pw-cat", "-p", str(desktop.recording(48_000, 0.5)))
        try:
            assert hears(desktop, "enhanced", "B")
        finally:
            end(playing)
        headset = Headset(desktop)
        desktop.choose(headset.name)
        headset.call()
        assert hears(desktop, "raw")
        headset.remove()


def test_without_wireplumber_0_5_there_are_the_plain_devices(server, live):
    running = live(server, "--virtual-mic", "--smart")
    why = {"pulse": "the sound server is not PipeWire", "pipewire": "WirePlumber is older than 0.5"}[server.kind]
    assert f'event=plain msg="no smart filter: {why}' in running.printed
    assert "rtsr_microphone" in server.names("sources")
    installed = rtsr(server, "live", "--install")
    assert f"no smart filter: {why}" in installed.stdout
    assert 'choose "rtsr microphone" as the microphone' in installed.stdout
    assert "removed" in rtsr(server, "live", "--uninstall").stdout
