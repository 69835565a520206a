"""Sound servers of our own, headless, and the ends of a path through them: play into a sink, record from a source."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 48_000
RECORDER_MS = 50  # with less, a recorder loses blocks itself: at 20 where the machine stops for 25 ms
PRIORITY = 4  # of a server and of what plays and records, real-time; under PulseAudio's own threads
CONF = """load-module module-native-protocol-unix auth-anonymous=1
load-module module-null-sink sink_name=A norewinds=1 format=float32le rate=48000 channels=1
load-module module-null-sink sink_name=B norewinds=1 format=float32le rate=48000 channels=1
set-default-sink B
set-default-source A.monitor
"""


def wait_for(what: Callable[[], object], seconds: float = 10.0, why: str = "") -> None:
    """Wait until something holds; fails the test where it does not in time."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s: {why or what}"
        time.sleep(0.02)


def hurry(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Let it run in real time where that is allowed: what else the machine does is not to decide what is heard."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(process.pid, os.SCHED_RR, os.sched_param(PRIORITY))
    return process


class Server:
    """A PulseAudio, or a PipeWire with its PulseAudio and JACK faces, in a folder of its own; sinks A and B.

    With `root` the programs are those of another system in that folder, where `folder` is to have the same path.
    """

    def __init__(self, kind: str, folder: Path, root: Path | None = None) -> None:
        self.kind, self.folder = kind, folder
        self.inside = () if root is None else ("chroot", str(root))
        self.running: list[subprocess.Popen[bytes]] = []
        (folder / "pulse").mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        self.env = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_SERVER": f"unix:{folder / 'pulse' / 'native'}",
        }
        self.env.pop("PULSE_SINK", None)
        self.env.pop("PULSE_SOURCE", None)

    def start(self) -> None:
        """Start it and wait until the two sinks are there."""
        if self.kind == "pulse":
            (self.folder / "conf.pa").write_text(CONF)
            options = ("--exit-idle-time=-1", "--disallow-exit", "--daemonize=no", "--use-pid-file=no")
            options += ("--disable-shm=yes", "--no-cpu-limit=yes")  # it may abort on a killed client's shared memory
            self._run("pulseaudio", "-n", "-F", str(self.folder / "conf.pa"), *options)
        else:
            address = f"unix:path={self.folder / 'bus'}"
            self.env["DBUS_SESSION_BUS_ADDRESS"] = address
            self._run("dbus-daemon", "--session", "--nofork", f"--address={address}")
            wait_for((self.folder / "bus").exists, why="dbus-daemon")
            for program in ("pipewire", "wireplumber", "pipewire-pulse"):
                self._run(program)
                if program == "pipewire":
                    wait_for((self.folder / "pipewire-0").exists, why="pipewire")
        wait_for(lambda: self._pactl("info").returncode == 0, why=f"{self.kind} answers")
        if self.kind == "pipewire":
            for name in ("A", "B"):
                self.load("module-null-sink", f"sink_name={name}", "rate=48000", "channels=1")
            self.pactl("set-default-sink", "B")
            self.pactl("set-default-source", "A.monitor")
        wait_for(lambda: {"A", "B"} <= set(self.names("sinks")), why="sinks A and B")

    def _run(self, *command: str) -> None:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*self.inside, *command], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.running.append(hurry(process))

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End it, or kill it, and wait for its end."""
        for process in reversed(self.running):
            process.send_signal(how)
        for process in self.running:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = []
        for left in ("pulse/native", "pulse/pid", "bus", "pipewire-0", "pipewire-0.lock"):
            (self.folder / left).unlink(missing_ok=True)

    def _pactl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["pactl", *words], env=self.env, capture_output=True, text=True, timeout=10, check=False)

    def pactl(self, *words: str) -> str:
        """Run pactl and return what it prints."""
        done = self._pactl(*words)
        assert done.returncode == 0, f"pactl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def load(self, *words: str) -> str:
        """Load a module and return its number."""
        return self.pactl("load-module", *words).strip()

    def names(self, what: str) -> list[str]:
        """Return the names of the server's sinks, sources, modules' arguments, ..."""
        return [line.split("\t")[1] for line in self._pactl("list", "short", what).stdout.splitlines() if "\t" in line]


class Recorder:
    """`parec` on a source, without one (None) as a program in which nothing is chosen.

    `stop` returns (samples, moment of the first sample on the monotonic clock).
    """

    def __init__(self, server: Server, source: str | None) -> None:
        what = ("--format=float32le", f"--rate={RATE}", "--channels=1", f"--latency-msec={RECORDER_MS}")
        command = ["parec", *([] if source is None else ["-d", source]), *what]
        self.process = hurry(subprocess.Popen(command, env=server.env, stdout=subprocess.PIPE))
        self.raw = bytearray()
        self.began = np.inf
        self.count = 0
        self.thread = threading.Thread(target=self._read)
        self.thread.start()
        wait_for(lambda: self.count > 0, why=f"parec of {source} records")

    def _read(self) -> None:
        fd = self.process.stdout.fileno()
        while raw := os.read(fd, 1 << 16):
            now = time.monotonic()
            self.raw += raw
            self.count = len(self.raw) // 4
            if self.count > RATE:  # the first blocks come in bursts; of the later ones the least delayed tells
                self.began = min(self.began, now - self.count / RATE)

    def so_far(self) -> np.ndarray:
        """What was recorded until now."""
        return np.frombuffer(bytes(self.raw[: self.count * 4]), np.float32)

    def stop(self) -> tuple[np.ndarray, float]:
        self.process.terminate()
        self.thread.join()
        self.process.wait()
        self.process.stdout.close()
        return self.so_far(), self.began


def play(server: Server, sink: str, signal_: np.ndarray) -> subprocess.Popen[bytes]:
    """Play float32 mono at 48 kHz into a sink; returns the process, which ends with the sound."""
    raw = server.folder / f"play-{time.monotonic_ns()}.raw"
    raw.write_bytes(np.ascontiguousarray(signal_, "<f4").tobytes())
    command = ["paplay", "--raw", "-d", sink, "--format=float32le", f"--rate={RATE}", "--channels=1", str(raw)]
    return hurry(subprocess.Popen(command, env=server.env))


def missing_programs(*programs: str) -> list[str]:
    """Return those that are not installed."""
    return [p for p in programs if shutil.which(p) is None]
