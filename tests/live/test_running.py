"""What a running `rtsr live` answers, shows and refuses: one process for all of it, ended by the last test."""

from __future__ import annotations

import json
import socket
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from running import rtsr, voice
from servers import Recorder, play, wait_for


def steps(signal_: np.ndarray) -> float:
    return float(np.abs(np.diff(signal_)).max())


def test_bypass_gain_and_a_model_switch_while_a_voice_flows_make_no_click(pulse, running, model_path):
    calm = Recorder(pulse, "B.monitor")
    play(pulse, "A", voice(4)).wait(60)
    expected, _ = calm.stop()
    recorder = Recorder(pulse, "B.monitor")
    sound = play(pulse, "A", voice(4))
    time.sleep(0.7)
    assert running.ask("bypass", "on") is True
    time.sleep(0.5)
    assert running.stats()["bypass"]
    assert running.ask("bypass", "toggle") is False
    assert running.ask("model", str(model_path)) == json.loads(model_path.read_text())["name"]
    assert running.ask("gain", -6.0) == -6.0
    running.wait_for_event("model")
    sound.wait(60)
    heard, _ = recorder.stop()
    assert running.ask("gain", 0.0) == 0.0
    assert np.abs(expected).max() > 0.1
    assert steps(heard) <= 1.1 * steps(expected)


def test_the_command_line_steers_it(pulse, running):
    def ctl(*words: str) -> dict[str, object]:
        done = rtsr(pulse, "ctl", *words, "--socket", str(running.socket))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert ctl("gain", "-3") == {"voice": -3.0}
    assert ctl("stats")["voice"]["gain_db"] == -3.0
    assert ctl("gain", "0") == {"voice": 0.0}


def test_a_probe_measures_the_round_trip(pulse, running):
    ends = ("--output", "A", "--input", "B.monitor", "--socket", str(running.socket))
    done = rtsr(pulse, "latency", "--loop", *ends)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("│ ").split("│") for line in done.stdout.splitlines() if "│" in line]
    found = {name.strip(): value.strip() for name, value in rows}
    assert found["computed, voice: algorithm"] == "11.3 ms"
    assert float(found["measured round trip, median"].removesuffix(" ms")) > 11.3


def test_metrics_and_health(running):
    wait_for(lambda: "event=metrics" in running.printed)
    base = running.printed.split("http://")[1].split("/metrics")[0]

    def healthy() -> bool:
        try:
            return urllib.request.urlopen(f"http://{base}/healthz", timeout=10).status == 200
        except urllib.error.HTTPError as error:
            return error.code != 503

    wait_for(healthy)
    text = urllib.request.urlopen(f"http://{base}/metrics", timeout=10).read().decode()
    assert 'rtsr_underruns_total{path="voice"}' in text
    assert 'rtsr_latency_ms{part="algorithm",path="voice"} 11.33' in text
    assert base.startswith("127.0.0.1:")


def test_there_is_no_torch_in_it(running):
    assert running.engines
    for process in (running.process.pid, *running.engines):
        assert "libtorch" not in Path(f"/proc/{process}/maps").read_text()


def test_the_socket_is_its_users_alone_and_refuses_nonsense(running):
    assert stat.S_IMODE(running.socket.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(running.socket))
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
        connection.sendall(b'{"do": "mute", "value": "off"}\n')
        assert json.loads(lines.readline()) == {"ok": True, "value": {"voice": False}}


def test_a_second_instance_and_no_server_are_said_in_one_line(pulse, running, tmp_path):
    second = rtsr(pulse, "live", "--socket", str(running.socket))
    assert (second.returncode, "another rtsr live listens" in second.stderr) == (1, True)
    nowhere = {**pulse.env, "PULSE_SERVER": f"unix:{tmp_path}/none", "XDG_RUNTIME_DIR": str(tmp_path)}
    for more, word in (((), "no input device"), (("--virtual-mic",), "needs a PulseAudio or PipeWire server")):
        lonely = rtsr(nowhere, "live", *more)
        assert lonely.returncode == 1
        assert word in lonely.stderr


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
    done = rtsr(pulse, "live", *arguments)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 1
    assert len(lines) == 1
    assert word in lines[0]
    assert "Traceback" not in done.stderr


def test_it_ends_as_told_on_its_socket(running):
    assert running.ask("stop") is True
    assert running.process.wait(15) == 0
    assert not running.socket.exists()
    assert "event=stopped" in running.printed
