"""A desktop of another Debian, headless: its PipeWire and WirePlumber, microphones, and a Bluetooth headset.

`.ci/smart-filter` prepares the system. No Bluetooth is needed: the headset has the nodes, with the properties, that
WirePlumber 0.5 makes of one (scripts/monitors/bluez.lua), and is changed between its two modes by hand.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

from rtsr.io.smart import LOOPBACK
from tests.live.servers import RATE, Recorder, Server, wait_for
from tests.signals import narrowed, power_db, voice_like

ROOT = "RTSR_DESKTOP"  # names the folder of the system
TELEPHONE = 8_000  # Hz, of a headset in telephone mode (CVSD)
DEVICE = "device.id = 999"  # of the headset
SPOKEN_S, HEARD_S, BEGAN_S = 800, 2.0, 0.5  # nobody falls silent before the last test
BAND = (4_500.0, 7_500.0)  # what a telephone leaves out
RECEIVED = (300.0, 3_400.0)
FRAME = 2_400
MOST_DB = 40.0  # that the missing band is below the received one, where it is enhanced


class Desktop(Server):
    """PipeWire and WirePlumber in the system that RTSR_DESKTOP names; one microphone, `mic`, and it is the default."""

    def __init__(self, *configuration: Path) -> None:
        """`configuration`: files for PipeWire's pipewire.conf.d."""
        root = Path(os.environ[ROOT]).absolute()
        super().__init__("pipewire", Path(tempfile.mkdtemp(prefix="rtsr-", dir=root / "run")), root)
        programs = self.folder / "bin"  # where rtsr finds those of that system
        programs.mkdir()
        for name in ("pw-loopback", "pw-metadata"):
            (programs / name).write_text(f'#!/bin/sh\nexec chroot {root} /usr/bin/{name} "$@"\n')
            (programs / name).chmod(0o755)
        configured = self.folder / "config" / "pipewire" / "pipewire.conf.d"
        configured.mkdir(parents=True)
        for file in configuration:
            shutil.copy(file, configured)
        self.env["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def start(self) -> None:
        super().start()
        self.microphone = Microphone(self, "mic", RATE)
        self.choose("mic")

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.microphone.remove()
        super().stop(how)
        shutil.rmtree(self.folder, ignore_errors=True)

    def choose(self, source: str) -> None:
        """Make it the default in the sound settings."""
        self.pactl("set-default-source", source)
        wait_for(lambda: self.default == source, why=f"{source} is the default")

    @property
    def default(self) -> str:
        """The default microphone, as programs and sound settings show it."""
        return self.pactl("get-default-source").strip()

    def run(self, *command: str) -> str:
        """Run one of its programs to its end and return what it prints."""
        done = subprocess.run([*self.inside, *command], env=self.env, capture_output=True, text=True, check=False)
        return done.stdout

    def begin(self, *command: str) -> subprocess.Popen[bytes]:
        """Start one of its programs; its stdin is a pipe."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*self.inside, *command], env=self.env, stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def loopback(self, sink: str, source: str) -> subprocess.Popen[bytes]:
        """Join a sink to a source, of these properties, until its stdin is closed."""
        ends = (f"--capture-props={{ {sink} }}", f"--playback-props={{ {source} }}")
        return self.begin("sh", "-c", LOOPBACK, "sh", "--channels=1", "--channel-map=[ MONO ]", *ends)

    def recording(self, rate: int, level: float) -> Path:
        """Write a file with a voice of telephone band."""
        path = self.folder / f"voice-{rate}-{level}.wav"
        if path.exists():  # somebody may be playing it
            return path
        voice = level * narrowed(voice_like(8, RATE, seed=3), RATE, 3_400)[:: RATE // rate]
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(np.tile(np.round(32_000 * voice).astype("<i2"), SPOKEN_S // 8).tobytes())
        return path

    def hear(self, source: str | None = None) -> Heard:
        """Record as a program does: from a source by name, or with nothing chosen."""
        recorder = Recorder(self, source)
        time.sleep(HEARD_S + BEGAN_S)
        return Heard(recorder.stop()[0])

    def hear_loudspeaker(self, sink: str) -> Heard:
        """Record what a sink gives; a program that asks for its monitor by name gets that of the filter before it."""
        path = self.folder / "loudspeaker.wav"
        what = ("--rate", str(RATE), "--channels=1", "--format=s16", "-P", "{ node.name = ear }")
        recorder = self.begin("pw-cat", "-r", "--target", "0", *what, str(path))
        wait_for(lambda: "ear:input_MONO" in self.run("pw-link", "-i"))
        self.run("pw-link", f"{sink}:monitor_MONO", "ear:input_MONO")
        time.sleep(HEARD_S + BEGAN_S)
        end(recorder)
        with wave.open(str(path)) as file:
            return Heard(np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32_768))

    def links(self) -> str:
        """Who is linked to whom."""
        return self.run("pw-link", "-l")


class Heard:
    """What was recorded: how far the missing band is below the received one in loud frames, in the middle and at most.

    Real-time priority is not to be had in the other system. Of clicks a frame has a missing band, never none.
    """

    def __init__(self, samples: np.ndarray) -> None:
        samples = samples[round(BEGAN_S * RATE) :]
        frames = [samples[i : i + FRAME] for i in range(0, len(samples) - FRAME, FRAME)]
        received = np.array([power_db(frame, RATE, *RECEIVED) for frame in frames] or [-np.inf])
        missing = np.array([power_db(frame, RATE, *BAND) for frame in frames] or [-np.inf])
        loud = received > received.max() - 15
        self.speaks = bool(received.max() > 0)
        below = (received - missing)[loud] if self.speaks else np.zeros(1)
        self.middle_db, self.most_db = (float(np.percentile(below, share)) for share in (50, 90))

    @property
    def enhanced(self) -> bool:
        return self.speaks and self.middle_db < MOST_DB

    @property
    def raw(self) -> bool:
        return self.speaks and self.most_db > MOST_DB + 10

    def __repr__(self) -> str:
        if not self.speaks:
            return "silence"
        return f"4.5 to 7.5 kHz are {self.middle_db:.0f} dB below the received band, at most {self.most_db:.0f} dB"


class Microphone:
    """A microphone with a clock of its own, into which somebody speaks."""

    def __init__(self, desktop: Desktop, name: str, rate: int) -> None:
        self.desktop = desktop
        kind = ("media.class=Audio/Source/Virtual", f"rate={rate}", "channels=1", "channel_map=mono")
        self.module = desktop.load("module-null-sink", f"sink_name={name}", *kind)
        voice = desktop.recording(rate, 0.5)
        named = ("-P", f"{{ node.name = voice-{name} }}")
        self.voice = desktop.begin("pw-cat", "-p", "--target", "0", *named, str(voice))
        ends = (f"voice-{name}:output_MONO", f"{name}:input_MONO")
        wait_for(lambda: ends[0] in desktop.run("pw-link", "-o") and ends[1] in desktop.run("pw-link", "-i"))
        desktop.run("pw-link", *ends)

    def remove(self) -> None:
        end(self.voice)
        self.desktop.pactl("unload-module", self.module)


class Headset:
    """A Bluetooth headset that can do both: music without its microphone, and telephone mode, in which it is 8 kHz.

    For programs it is one source that is always there. WirePlumber makes that a smart filter before the source that is
    only there in telephone mode.
    """

    name = "bluez_input.AA_BB"

    def __init__(self, desktop: Desktop) -> None:
        self.desktop, self.telephone = desktop, None
        target = f"{{ bluez5.loopback-target = true bluez5.loopback = false {DEVICE} }}"
        capture = "node.name = bluez_capture_internal.AA_BB media.class = Stream/Input/Audio/Internal "
        capture += "bluez5.loopback = true stream.dont-remix = true node.passive = true node.dont-fallback = true "
        capture += "node.linger = true state.restore-props = false"
        shown = f"node.name = {self.name} node.description = Headset node.virtual = false media.class = Audio/Source "
        shown += f"{DEVICE} priority.driver = 2010 priority.session = 2010 bluez5.loopback = true "
        shown += f"filter.smart = true filter.smart.target = {target}"
        self.shown = desktop.loopback(capture, shown)
        wait_for(lambda: self.name in desktop.names("sources"), why="the headset is there")

    def call(self) -> None:
        """Change to telephone mode: its microphone is there, and somebody speaks."""
        node = "bluez_input_internal.AA_BB.0"
        props = f"node.name = {node} media.class = Audio/Source/Internal audio.rate = {TELEPHONE} {DEVICE} "
        props += "bluez5.loopback-target = true bluez5.loopback = false api.bluez5.internal = true "
        props += "api.bluez5.profile = headset-head-unit api.bluez5.codec = cvsd"
        line = f"node.name = bluez_line media.class = Audio/Sink audio.rate = {TELEPHONE}"
        self.telephone = self.desktop.loopback(line, props)
        wait_for(lambda: "bluez_line" in self.desktop.names("sinks"), why="the headset's microphone is there")
        voice = self.desktop.recording(TELEPHONE, 0.25)
        self.voice = self.desktop.begin("pw-cat", "-p", "--target", "bluez_line", str(voice))

    def play_music(self) -> None:
        """Change back: its microphone is gone."""
        if self.telephone is not None:
            end(self.voice)
            end(self.telephone)
            self.telephone = None

    def remove(self) -> None:
        self.play_music()
        end(self.shown)
        wait_for(lambda: self.name not in self.desktop.names("sources"), why="the headset is gone")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program that a desktop began."""
    process.terminate()
    process.stdin.close()
    process.wait(5)
