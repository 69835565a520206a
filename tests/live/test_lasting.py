"""What happens to `rtsr live` over a day: it is stopped, servers die, devices go, others are busy."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rtsr.daemon.config import LiveSettings
from rtsr.daemon.process import PathProcess
from tests.live.running import SETTLED_S, SLACK, THROUGH, TROUBLES, LossWatch, flows, voice
from tests.live.servers import RATE, Recorder, Server, play, wait_for
from tests.live.stall_monitor import Losses
from tests.signals import power_db, voice_like

GONE_S = 1.2  # long enough to be noticed
BACK_S = 2.0  # from when a device is there again


@pytest.mark.alone
@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_ends_it(pulse, live, signal_):
    for delay_s in (0.0, 0.1, 0.4, 1.2):
        running = live(pulse, *THROUGH, wait=False)
        wait_for(running.socket.exists, 30)
        time.sleep(delay_s)
        assert running.end(signal_) == 0, running.printed
        assert not running.socket.exists()


def test_a_stop_just_before_a_path_starts_is_not_forgotten(model_path):
    """The start of a process lasts a second or more where nothing has been loaded before."""
    process = PathProcess(LiveSettings(input="A.monitor", output="B", model=str(model_path)), lambda kind, line: None)
    process.give_up()
    process.start()
    try:
        began = time.monotonic()
        process.wait_until_ready()
        assert time.monotonic() - began < 0.1
    finally:
        process.stop()


def test_virtual_devices_are_there_once_even_after_a_crash_and_go_with_us(server, live):
    arguments = ("--virtual-mic", "--virtual-speaker", "--cutoff", "4000")
    crashed = live(server, *arguments, wait=False)
    crashed.wait_for_event("ready", times=2)
    children = crashed.children
    crashed.process.kill()
    for process in children:
        os.kill(process, signal.SIGKILL)
    crashed.process.wait()
    assert server.names("sources").count("rtsr_microphone") == 1  # left behind
    running = live(server, *arguments, wait=False)
    running.wait_for_event("ready", times=2)
    running.wait_for_event("stale")
    assert server.names("sources").count("rtsr_microphone") == 1
    assert server.names("sinks").count("rtsr_speaker") == 1
    assert "rtsr microphone" in server.pactl("list", "sources")
    assert "rtsr speaker" in server.pactl("list", "sinks")
    ends, sound = {"A": "rtsr_microphone", "rtsr_speaker": "B.monitor"}, voice(3)
    recorders = [Recorder(server, source) for source in ends.values()]
    for playing in [play(server, sink, sound) for sink in ends]:
        playing.wait(60)
    for recorder in recorders:
        heard, _ = recorder.stop()
        assert power_db(heard, RATE, 4500, 7500) > power_db(sound, RATE, 4500, 7500) + 20
    assert running.stop() == 0, running.printed
    assert not [n for n in server.names("sinks") + server.names("sources") if "rtsr" in n]


def speak(pipe: Path, sound: np.ndarray, rate: int) -> None:
    """Write 16 bits to a pipe as fast as they are heard."""
    step, began = rate // 50, time.monotonic()
    with pipe.open("wb", buffering=0) as out:
        for start in range(0, len(sound), step):
            time.sleep(max(0.0, began + start / rate - time.monotonic()))
            out.write((32_767 * sound[start : start + step]).astype("<i2").tobytes())


def test_a_headset_in_telephone_mode_is_a_wideband_microphone(server, live, tmp_path):
    """A Bluetooth headset with CVSD is a source of 8 kHz: as the default source it needs no setting."""
    pipe = tmp_path / "headset"
    module = server.load("module-pipe-source", "source_name=headset", f"file={pipe}", "rate=8000", "channels=1")
    server.pactl("set-default-source", "headset")
    try:
        running = live(server, "--virtual-mic", wait=False)
        running.wait_for_event("ready")
        sound = np.concatenate([np.zeros(3 * 8_000), 0.5 * voice_like(4, 8_000, seed=3)])
        speaking = threading.Thread(target=speak, args=(pipe, sound, 8_000))
        speaking.start()  # a pipe is a source whose samples come when they are written: recorders wait for them
        recorders = [Recorder(server, source) for source in ("headset", "rtsr_microphone")]
        speaking.join()
        heard, given = (recorder.stop()[0] for recorder in recorders)
        assert power_db(heard, RATE, 500, 3500) > power_db(heard, RATE, 4500, 7500) + 40
        assert power_db(given, RATE, 4500, 7500) > power_db(heard, RATE, 4500, 7500) + 20
        assert running.stop() == 0, running.printed
    finally:
        server.pactl("set-default-source", "A.monitor")
        server.pactl("unload-module", module)


def test_a_killed_path_is_started_again(pulse, live):
    running = live(pulse, *THROUGH)
    os.kill(running.children[0], signal.SIGKILL)
    running.wait_for_event("ready", times=2)
    wait_for(lambda: running.stats()["hops"] > 0)


def test_a_server_that_dies_and_comes_back_is_found(start_server, live, tmp_path):
    start_server("pulse")  # skipped or failed where there is none
    server = Server("pulse", tmp_path)
    server.start()
    try:
        running = live(server, *THROUGH, "--gain", "-3")
        hops = running.stats()["hops"]
        server.stop(signal.SIGKILL)
        time.sleep(GONE_S)
        server.start()
        running.wait_for_event("reconnect", seconds=BACK_S)
        sound = play(server, "A", voice(12))
        assert flows(server)
        sound.terminate()
        sound.wait()
        stats = running.stats()
        assert stats["hops"] > hops  # the same path went on, its state kept
        assert (stats["gain_db"], stats["reconnects"]) == (-3.0, 1)
        assert "event=restart" not in running.printed
        running.stop()
    finally:
        server.stop()


def test_a_device_that_is_removed_and_comes_back_is_found(pulse, live):
    make = ("module-null-sink", "sink_name=C", "norewinds=1", "rate=48000", "channels=1")
    number = pulse.load(*make)
    running = live(pulse, "--input", "A.monitor", "--output", "C", "--cutoff", "4000")
    pulse.pactl("unload-module", number)
    time.sleep(GONE_S)
    number = pulse.load(*make)
    running.wait_for_event("reconnect", seconds=BACK_S)
    sound = play(pulse, "A", voice(12))
    assert flows(pulse, "C.monitor")
    sound.terminate()
    sound.wait()
    running.stop()
    pulse.pactl("unload-module", number)


def test_a_new_default_is_followed(pulse, live):
    running = live(pulse, "--input", "A.monitor", "--cutoff", "4000")
    assert running.stats()["output"] == "B"
    number = pulse.load("module-null-sink", "sink_name=D", "norewinds=1", "rate=48000", "channels=1")
    pulse.pactl("set-default-sink", "D")
    running.wait_for_event("reconnect", seconds=BACK_S)
    assert running.stats()["output"] == "D"
    pulse.pactl("set-default-sink", "B")
    running.stop()
    pulse.pactl("unload-module", number)


def listen(seconds: float, server: Server, process: PathProcess, sound: np.ndarray) -> None:
    """Let a voice flow; raises `Losses` where anything was lost."""
    watch = LossWatch(lambda: {k: n for k, n in process.ask("stats").items() if k in TROUBLES})
    playing, before = play(server, "A", sound), process.ask("stats")
    watch.start()
    time.sleep(seconds)
    watch.stop()
    after = process.ask("stats")
    playing.terminate()
    playing.wait()
    assert after["hops"] - before["hops"] > 0.95 * 200 * seconds
    if watch.losses:
        raise Losses(watch.losses)


@pytest.mark.alone
def test_a_burning_interpreter_lock_costs_no_underrun(pulse, model_path, monkeypatch, excuses):
    """Two busy threads and one that sorts, in the process that started the path: what the voice does not notice."""
    for name, value in pulse.env.items():
        monkeypatch.setenv(name, value)
    burning = threading.Event()

    def count() -> None:
        while not burning.is_set():
            sum(range(1000))

    def sort() -> None:
        numbers = np.random.default_rng(0).random(400_000).tolist()
        while not burning.is_set():
            sorted(numbers)

    settings = LiveSettings(input="A.monitor", output="B", model=str(model_path), cutoff=4000.0, **SLACK)
    process = PathProcess(settings, lambda kind, line: None)
    process.start()
    threads = [threading.Thread(target=job) for job in (count, count, sort)]
    try:
        process.wait_until_ready()
        sound = voice_like(12, RATE)
        time.sleep(SETTLED_S)
        for thread in threads:
            thread.start()
        excuses.attempt(lambda: listen(10, pulse, process, sound))
    finally:
        burning.set()
        for thread in threads:
            if thread.ident:  # a path that never got ready leaves them unstarted
                thread.join()
        process.stop()
