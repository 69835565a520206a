"""`rtsr live` as a person starts it, and a voice through it. The benchmarks of `bench/live.py` use this too."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rtsr.daemon.control import request
from tests.live.servers import RATE, Recorder, Server, play, wait_for
from tests.live.stall_monitor import Loss, Losses
from tests.signals import narrowed, voice_like

THROUGH = ("--input", "A.monitor", "--output", "B", "--cutoff", "4000")
THROUGH_JACK = ("--input", "A Audio/Sink sink", "--output", "B Audio/Sink sink", "--cutoff", "4000", "--host", "jack")
SETTLED_S = 1.2  # until the ring has learnt how little it needs
MOST_S = 0.2  # by which anything may be late
LEAD_S, STARTED_S = 0.5, 0.3  # of silence before a sound, and when its player has started
KEPT_S = 0.06  # of that silence: a recorder may lose some as it starts
JACK_BLOCK = {"block_ms": 512 / 48}  # the same for all of JACK: a recorder of 64 samples at a time loses some itself
SLACK = {"block_ms": 10.0, "low_water_ms": 40.0}  # that what is heard be whole where the machine stops for 25 ms
JACK_SLACK = {"block_ms": 2048 / 48, "low_water_ms": 40.0}
START_S = 90.0  # until an event comes, where that is not what is tested: a start compiles, and is in no hurry
LOOK_S = 0.2  # between two looks at what is lost
STOP_S, ANY_S = 1.0, 15.0  # from a signal to the end; where that is not what is tested
TROUBLES = ("worker_underruns", "overloads", "reconnects", "input_underruns", "device_xruns")


class Running:
    """A started `rtsr live`, on a socket of its own."""

    def __init__(self, server: Server, arguments: tuple[str, ...]) -> None:
        name = f"live-{time.monotonic_ns()}"
        self.env, self.log, self.socket = server.env, server.folder / f"{name}.log", server.folder / f"{name}.sock"
        self.asked = time.monotonic()
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "rtsr", "live", "--socket", str(self.socket), *arguments]
            self.process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def printed(self) -> str:
        return self.log.read_text()

    @property
    def children(self) -> list[int]:
        """The processes in which its sound flows."""
        return children(self.process.pid)

    def wait_for_event(self, event: str, times: int = 1, seconds: float = START_S) -> None:
        """Wait until an event was logged so many times."""
        wait_for(
            lambda: self.printed.count(f"event={event} ") >= times or self.process.poll() is not None,
            seconds,
            f"{event} x {times}",
        )
        assert self.printed.count(f"event={event} ") >= times, self.printed

    def ask(self, do: str, value: Any = None) -> Any:
        """Ask on the socket, the answer of its only path."""
        answer = request(self.socket, do, value)
        return next(iter(answer.values())) if isinstance(answer, dict) else answer

    def stats(self) -> dict[str, Any]:
        return self.ask("stats")

    def troubles(self) -> dict[str, int]:
        """What may have cost the voice its band or a sample: all zero where the machine was quick enough."""
        stats = self.stats()
        return {k: stats[k] for k in TROUBLES}

    def stop(self, within_s: float = STOP_S) -> int:
        """SIGTERM, and the exit code."""
        return self.end(signal.SIGTERM, within_s)

    def end(self, by: int, within_s: float = STOP_S) -> int:
        """Send a signal; returns the exit code, which fails the test where it does not come in time."""
        self.process.send_signal(by)
        return self.process.wait(within_s)


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if parent == process:
            found.append(int(folder.name))
    return found


def start(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Start `rtsr ARGUMENTS`."""
    command, pipe = [sys.executable, "-m", "rtsr", *arguments], subprocess.PIPE
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def rtsr(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `rtsr ARGUMENTS` to its end."""
    process = start(server.env, *arguments)
    printed, error = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, printed, error)


def configured(folder: Path, settings: dict[str, float]) -> tuple[str, str]:
    """Arguments with which `rtsr live` takes these settings from a file."""
    config = folder / "rtsr.toml"
    config.write_text("\n".join(["[live]", *(f"{name} = {value}" for name, value in settings.items())]))
    return "--config", str(config)


def voice(seconds: float) -> np.ndarray:
    """A voice without anything above 3.9 kHz."""
    return narrowed(voice_like(seconds, RATE, seed=3), RATE, 3900)


def through(
    server: Server,
    sink: str,
    source: str,
    sound: np.ndarray,
    begin: Callable[[], None] = lambda: None,
    meanwhile: Callable[[], None] = lambda: None,
    end: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Play into a sink; return what its monitor heard, what the source gave at the same time, and the delay in ms.

    `begin` is called when both are recorded and a player runs that says nothing yet, `meanwhile` after that, `end` when
    all is said and both are recorded still. To start a program can stop the machine for 50 ms (a kernel that does not
    preempt itself), and where one ends a server gives the others larger blocks, whoever carries the sound.
    """
    lead, kept = round(LEAD_S * RATE), round(KEPT_S * RATE)
    before, after = Recorder(server, f"{sink}.monitor"), Recorder(server, source)
    playing = play(server, sink, np.concatenate([np.zeros(lead, np.float32), sound]))
    time.sleep(STARTED_S)
    begin()
    meanwhile()
    playing.wait(60)
    time.sleep(0.3)
    end()
    (heard, began), (given, given_began) = before.stop(), after.stop()
    skipped = round((given_began - began) * RATE)
    heard, given = heard[lead - kept + max(0, skipped) :], given[lead - kept + max(0, -skipped) :]
    n = min(len(heard), len(given))
    return heard[:n], given[:n], 1000 * lag(heard[:n], given[:n]) / RATE


class LossWatch:
    """Looks at counters again and again between `start` and `stop`, on a thread of its own, and notes when one grew."""

    def __init__(self, look: Callable[[], dict[str, int]]) -> None:
        self.look = look
        self.losses: list[Loss] = []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.since_s, self.before = time.monotonic(), self.look()
        self.thread.start()

    def _run(self) -> None:
        while not self.ending.wait(LOOK_S):
            self._note()

    def _note(self) -> None:
        asked_s, now = time.monotonic(), self.look()
        until_s = time.monotonic()
        grown = {k: n - self.before[k] for k, n in now.items() if n > self.before[k]}
        self.losses += [Loss(k, n, self.since_s, until_s) for k, n in grown.items()]
        self.since_s, self.before = asked_s, now

    def stop(self) -> None:
        """Look for the last time."""
        self.ending.set()
        self.thread.join()
        self._note()


def through_whole(
    running: Running, server: Server, sound: np.ndarray, meanwhile: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return what `through` does from A to B; raises `Losses` where anything was lost on the way."""
    watch = LossWatch(running.troubles)
    recorded = through(server, "A", "B.monitor", sound, watch.start, meanwhile, watch.stop)
    if watch.losses:
        raise Losses(watch.losses, running.printed)
    return recorded


def lag(reference: np.ndarray, signal: np.ndarray) -> int:
    """Return by how many samples `signal` is late, at most MOST_S; a voice resembles itself a syllable later."""
    size = 2 * len(reference)
    cross = np.fft.irfft(np.fft.rfft(signal, size) * np.conj(np.fft.rfft(reference, size)), size)
    return int(np.argmax(cross[: int(MOST_S * RATE)]))


def flows(server: Server, source: str = "B.monitor", seconds: float = 10.0) -> bool:
    """Whether something is heard at a source soon; asks no longer than it takes."""
    recorder, deadline = Recorder(server, source), time.monotonic() + seconds
    heard = False
    while not heard and time.monotonic() < deadline:
        time.sleep(0.1)
        heard = recorder.count > 0 and float(np.abs(recorder.so_far()).max()) > 0.01
    recorder.stop()
    return heard
