"""What happens to `rtsr live` over a day: servers die, devices go, others are busy, somebody turns the knobs."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from servers import RATE, Recorder, Server, play, wait_for
from signals import power_db, voice_like
from test_sound import THROUGH, voice

from rtsr.daemon.config import Settings
from rtsr.daemon.process import EngineProcess


def steps(signal_: np.ndarray) -> float:
    return float(np.abs(np.diff(signal_)).max())


def flows(server: Server, source: str = "B.monitor", seconds: float = 1.0) -> bool:
    """Whether something is heard at a source now."""
    recorder = Recorder(server, source)
    time.sleep(seconds)
    return float(np.abs(recorder.stop()[0]).max()) > 0.01


def test_ready_within_three_seconds_without_torch_and_stopped_within_one(pulse, live):
    live(pulse, *THROUGH).stop()
    running = live(pulse, *THROUGH)
    ready_s = time.monotonic() - running.asked
    child = subprocess.run(
        ["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert child
    for process in (*child, str(running.process.pid)):
        assert "libtorch" not in Path(f"/proc/{process}/maps").read_text()
    began = time.monotonic()
    assert running.stop() == 0
    stop_s = time.monotonic() - began
    print(f"ready after {ready_s:.2f} s, stopped after {stop_s:.2f} s")
    assert ready_s < 3
    assert stop_s < 1
    assert "event=stopped" in running.printed


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_ends_it(pulse, live, signal_):
    for delay_s in (0.1, 0.5, 0.9, 1.3):
        running = live(pulse, *THROUGH, wait=False)
        wait_for((pulse.folder / "rtsr.sock").exists)
        time.sleep(delay_s)
        running.process.send_signal(signal_)
        assert running.process.wait(2) == 0, running.printed
        assert not (pulse.folder / "rtsr.sock").exists()


def test_a_virtual_microphone_and_speaker_are_there_once_and_go_with_us(server, live):
    running = live(server, "--virtual-mic", "--virtual-speaker", "--cutoff", "4000", wait=False)
    running.wait_for_event("ready", times=2)
    assert server.names("sources").count("rtsr_microphone") == 1
    assert server.names("sinks").count("rtsr_speaker") == 1
    assert "rtsr microphone" in server.pactl("list", "sources")
    assert "rtsr speaker" in server.pactl("list", "sinks")
    for sink, source in (("A", "rtsr_microphone"), ("rtsr_speaker", "B.monitor")):
        recorder, sound = Recorder(server, source), voice(3)
        play(server, sink, sound).wait(20)
        heard, _ = recorder.stop()
        assert power_db(heard, RATE, 4500, 7500) > power_db(sound, RATE, 4500, 7500) + 20
    assert running.stop() == 0
    assert not [n for n in server.names("sinks") + server.names("sources") if "rtsr" in n]


def test_what_a_crash_left_behind_is_removed_by_the_next_start(server, live):
    crashed = live(server, "--virtual-mic", "--input", "A.monitor")
    child = subprocess.run(["pgrep", "-P", str(crashed.process.pid)], capture_output=True, text=True, check=True).stdout
    crashed.process.kill()
    for process in child.split():
        os.kill(int(process), signal.SIGKILL)
    crashed.process.wait()
    assert server.names("sources").count("rtsr_microphone") == 1
    again = live(server, "--virtual-mic", "--input", "A.monitor")
    again.wait_for_event("stale")
    assert server.names("sources").count("rtsr_microphone") == 1
    again.stop()
    assert server.names("sources").count("rtsr_microphone") == 0


def test_a_killed_engine_is_started_again(pulse, live):
    running = live(pulse, *THROUGH)
    child = subprocess.run(["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True, check=True).stdout
    os.kill(int(child.split()[0]), signal.SIGKILL)
    running.wait_for_event("ready", times=2)
    assert running.stats()["hops"] > 0


def test_a_server_that_dies_and_comes_back_is_found_within_two_seconds(live, tmp_path):
    server = Server("pulse", tmp_path)
    server.start()
    try:
        running = live(server, *THROUGH, "--gain", "-3")
        hops = running.stats()["hops"]
        server.stop(signal.SIGKILL)
        time.sleep(1.5)
        server.start()
        back = time.monotonic()
        running.wait_for_event("reconnect")
        took = time.monotonic() - back
        print(f"connected again {took:.2f} s after the server was back")
        assert took < 2
        sound = play(server, "A", voice(4))
        assert flows(server)
        sound.wait()
        stats = running.stats()
        assert stats["hops"] > hops  # the same engine went on, its state kept
        assert (stats["gain_db"], stats["reconnects"]) == (-3.0, 1)
        assert running.printed.count("event=reconnect ") == 1
        assert "event=restart" not in running.printed
        running.stop()
    finally:
        server.stop()


def test_a_device_that_is_removed_and_comes_back_is_found_within_two_seconds(pulse, live):
    number = pulse.load("module-null-sink", "sink_name=C", "norewinds=1", "rate=48000", "channels=1")
    running = live(pulse, "--input", "A.monitor", "--output", "C", "--cutoff", "4000")
    pulse.pactl("unload-module", number)
    time.sleep(1.5)
    number = pulse.load("module-null-sink", "sink_name=C", "norewinds=1", "rate=48000", "channels=1")
    back = time.monotonic()
    running.wait_for_event("reconnect")
    took = time.monotonic() - back
    print(f"connected again {took:.2f} s after the device was back")
    assert took < 2
    sound = play(pulse, "A", voice(4))
    assert flows(pulse, "C.monitor")
    sound.wait()
    running.stop()
    pulse.pactl("unload-module", number)


def test_a_new_default_is_followed_within_two_seconds(pulse, live):
    running = live(pulse, "--input", "A.monitor", "--cutoff", "4000")
    assert running.stats()["output"] == "B"
    number = pulse.load("module-null-sink", "sink_name=D", "norewinds=1", "rate=48000", "channels=1")
    changed = time.monotonic()
    pulse.pactl("set-default-sink", "D")
    running.wait_for_event("reconnect")
    took = time.monotonic() - changed
    print(f"on the new default after {took:.2f} s")
    assert running.stats()["output"] == "D"
    assert took < 2
    pulse.pactl("set-default-sink", "B")
    running.stop()
    pulse.pactl("unload-module", number)


def test_a_burning_interpreter_lock_costs_no_underrun(pulse, model_path, monkeypatch):
    """Two busy threads and one that sorts, in the process that started the engine: what the voice does not notice."""
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

    settings = Settings(input="A.monitor", output="B", model=str(model_path), cutoff=4000.0)
    engine = EngineProcess(settings, lambda kind, line: None)
    engine.start()
    threads = [threading.Thread(target=job) for job in (count, count, sort)]
    try:
        engine.wait_until_ready()
        time.sleep(1.5)
        before = engine.ask("stats")
        sound = play(pulse, "A", voice_like(22, RATE))
        for thread in threads:
            thread.start()
        time.sleep(20)
        burning.set()
        after = engine.ask("stats")
        sound.terminate()
        sound.wait()
        assert after["hops"] - before["hops"] > 19 * 200
        assert after["underruns"] - before["underruns"] == 0
        assert after["starved"] - before["starved"] == 0
    finally:
        burning.set()
        for thread in threads:
            thread.join()
        engine.stop()


def test_bypass_gain_and_a_model_switch_while_a_voice_flows_make_no_click(pulse, live, model_path):
    running = live(pulse, *THROUGH)
    time.sleep(1.5)  # until the ring has learnt how little it needs
    recorder = Recorder(pulse, "B.monitor")
    sound = play(pulse, "A", voice(6))
    time.sleep(1)
    assert running.ctl("bypass", "on") is True
    time.sleep(0.5)
    assert running.stats()["bypass"]
    assert running.ctl("bypass", "toggle") is False
    assert running.ctl("model", str(model_path)) == json.loads(model_path.read_text())["name"]
    assert running.ctl("gain", "-6") == -6.0
    running.wait_for_event("model")
    sound.wait(20)
    heard, _ = recorder.stop()
    stats = running.stats()
    assert stats["overloads"] == 0
    calm = Recorder(pulse, "B.monitor")
    running.ctl("gain", "0")
    play(pulse, "A", voice(6)).wait(20)
    expected, _ = calm.stop()
    assert steps(heard) <= 1.1 * steps(expected)


def test_the_socket_is_its_users_alone_and_refuses_nonsense(pulse, live):
    running = live(pulse, *THROUGH)
    path = pulse.folder / "rtsr.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        lines = connection.makefile("rb")
        for sent, word in (
            (b"nonsense\n", "one JSON object"),
            (b"[1]\n", '"do"'),
            (b'{"do": "bypas"}\n', "'bypass'"),
            (b'{"do": "gain", "value": "loud"}\n', "-120 to 24"),
            (b'{"do": "model", "value": "voice-16"}\n', "no model named"),
        ):
            connection.sendall(sent)
            answer = json.loads(lines.readline())
            assert not answer["ok"]
            assert word in answer["error"]
        connection.sendall(b'{"do": "mute", "value": "on"}\n')
        assert json.loads(lines.readline()) == {"ok": True, "value": {"voice": True}}
    assert running.ctl("stop") is True
    assert running.process.wait(2) == 0
    assert not path.exists()


def test_metrics_and_health(pulse, live):
    running = live(pulse, *THROUGH, "--metrics", "0")
    wait_for(lambda: "event=metrics" in running.printed)
    base = running.printed.split("http://")[1].split("/metrics")[0]

    def healthy() -> bool:
        try:
            return urllib.request.urlopen(f"http://{base}/healthz", timeout=2).status == 200
        except urllib.error.HTTPError as error:
            return error.code != 503

    wait_for(healthy, 5)
    text = urllib.request.urlopen(f"http://{base}/metrics", timeout=2).read().decode()
    assert 'rtsr_underruns_total{path="voice"}' in text
    assert 'rtsr_latency_ms{part="algorithm",path="voice"} 11.33' in text
    assert base.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--input", "nobody"), "no input device named 'nobody'"),
        (("--output", "C"), "no output device named 'C'"),
        (("--rate", "44100"), "try --rate 48000"),
        (("--rate", "1"), "expected 16000 to 192000"),
        (("--host", "sounddevise"), "did you mean 'sounddevice'"),
        (("--model", "voice-15k"), "no model named 'voice-15k'"),
        (("--config", "/nowhere.toml"), "/nowhere.toml: cannot be read"),
        (("--socket", "/proc/rtsr.sock"), "choose another place with --socket"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_to_do(pulse, arguments, word):
    command = [sys.executable, "-m", "rtsr", "live", *arguments]
    done = subprocess.run(command, env=pulse.env, capture_output=True, text=True, timeout=20, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 1
    assert len(lines) == 1
    assert word in lines[0]
    assert "Traceback" not in done.stderr


def test_no_server_and_a_second_instance_are_said_in_one_line(pulse, live, tmp_path):
    live(pulse, *THROUGH)
    command = [sys.executable, "-m", "rtsr", "live"]
    second = subprocess.run(command, env=pulse.env, capture_output=True, text=True, timeout=20, check=False)
    assert (second.returncode, "another rtsr live listens" in second.stderr) == (1, True)
    nowhere = {**pulse.env, "PULSE_SERVER": f"unix:{tmp_path}/none", "XDG_RUNTIME_DIR": str(tmp_path)}
    for more, word in (((), "no input device"), (("--virtual-mic",), "needs a PulseAudio or PipeWire server")):
        lonely = subprocess.run([*command, *more], env=nowhere, capture_output=True, text=True, timeout=20, check=False)
        assert lonely.returncode == 1
        assert word in lonely.stderr
