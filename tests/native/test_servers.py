"""The LADSPA plug-in inside real sound servers of our own, headless, set up as contrib/README.md says."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import rtsr
from tests.live.running import voice
from tests.live.servers import RATE, Recorder, Server, missing_programs, play
from tests.signals import narrowed, power_db
from tests.speech import missing

ROOT = Path(__file__).parents[2]
LADSPA = ROOT / "build" / "native" / "plugin" / "ladspa"
CONTRIB = ROOT / "contrib" / "pipewire"
PROGRAMS = {
    "pulse": ("pulseaudio", "pactl", "paplay", "parec"),
    "pipewire": ("pipewire", "wireplumber", "pipewire-pulse", "dbus-daemon", "pactl", "paplay", "parec"),
}
SECONDS = 4
TRIES = 3  # a recorder on a busy machine may lose a block

pytestmark = pytest.mark.live


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Call it with a kind of server and configuration files: starts one that finds the plug-in."""
    started: list[Server] = []

    def start(kind: str, *files: Path) -> Server:
        if lacking := missing_programs(*PROGRAMS[kind]):
            missing(", ".join(lacking))
        if not (LADSPA / "rtsr.so").is_file():
            missing("the LADSPA plug-in (cmake -S native -B build/native -DRTSR_PLUGINS=ON)")
        server = Server(kind, tmp_path)
        server.env["LADSPA_PATH"] = str(LADSPA)
        configured = tmp_path / "config" / "pipewire" / "pipewire.conf.d"
        configured.mkdir(parents=True)
        for file in files:
            shutil.copy(file, configured)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


def heard(server: Server, sink: str, source: str) -> np.ndarray:
    """What a source gives while a narrow voice is played into a sink."""
    recorder = Recorder(server, source)
    play(server, sink, voice(SECONDS)).wait(60)
    return recorder.stop()[0]


def begin(expected: np.ndarray, got: np.ndarray) -> int:
    """Where in `got` what is expected begins."""
    size = len(expected) + len(got)
    return int(np.argmax(np.fft.irfft(np.fft.rfft(got, size) * np.conj(np.fft.rfft(expected, size)), size)))


def lost_db(expected: np.ndarray, got: np.ndarray) -> float:
    """How far what differs in the received band is under it."""
    low, low_got = narrowed(expected, RATE, 3900), narrowed(got, RATE, 3900)
    return power_db(low_got - low, RATE, 200, 3500) - power_db(low, RATE, 200, 3500)


def check(server: Server, sink: str, source: str) -> None:
    """What comes out is what rtsr makes of what went in: the received band whole, the missing one as loud."""
    whole = rtsr.enhance(voice(SECONDS), RATE, RATE, cutoff=4000)
    spoken = slice(RATE, (SECONDS - 1) * RATE)
    for _ in range(TRIES):
        got = heard(server, sink, source)
        got = got[begin(whole, got) :]
        lost = lost_db(whole[spoken], got[spoken])
        if lost < -40:
            break
    bands = [power_db(x[spoken], RATE, 4500, 7500) for x in (voice(SECONDS), whole, got)]
    print(f"{sink}: received band {lost:.1f} dB off, 4.5 to 7.5 kHz", *(f"{b:.1f} dB" for b in bands))
    assert lost < -40
    assert bands[1] > bands[0] + 15
    assert bands[2] == pytest.approx(bands[1], abs=1.5)


def test_a_sink_of_pulseaudio(start):
    server = start("pulse")
    server.load(
        "module-ladspa-sink", "sink_name=wide", "sink_master=B", "plugin=rtsr", "label=rtsr", "control=0,4000,0,0"
    )
    check(server, "wide", "B.monitor")


@pytest.mark.parametrize("name", ["speaker", "microphone"])
def test_the_files_for_pipewire(start, name):
    server = start("pipewire", CONTRIB / f"rtsr-{name}.conf")
    names = server.names("sinks" if name == "speaker" else "sources")
    assert f"rtsr_{name}" in names
    check(server, *{"speaker": ("rtsr_speaker", "B.monitor"), "microphone": ("A", "rtsr_microphone")}[name])
