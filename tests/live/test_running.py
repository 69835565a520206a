"""What a running `rtsr live` answers, shows and refuses: one process for all of it, ended by the last test."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from tests.live.running import SETTLED_S, SLACK, STOP_S, THROUGH, Running, configured, rtsr, start, through_whole, voice
from tests.live.servers import RATE, wait_for

pytestmark = pytest.mark.alone

REFUSED = {
    "no such input": (("--input", "nobody"), "no input device named 'nobody'"),
    "no such output": (("--output", "C"), "no output device named 'C'"),
    "impossible rate": (("--rate", "44100"), "try --rate 48000"),
    "no such model": (("--model", "voice-15k"), "no model named 'voice-15k'"),
    "unwritable socket": (("--socket", "/proc/rtsr.sock"), "choose another place with --socket"),
    "second instance": (("--socket", "{socket}"), "another rtsr live listens"),
    "busy port": (("--metrics", "{port}"), "choose another"),
    "no server": ((), "no input device"),
    "no server for a microphone": (("--virtual-mic",), "needs a PulseAudio or PipeWire server"),
    "no server of JACK's": (("--host", "jack"), "no input device"),
}


CLICK_HZ = 12_000  # above it neither the voice, nor a model for 16 kHz, nor a resampler leaves anything
TRIP_MS = 80.0  # of a probe, from callback to callback, at most
JUMP = 0.01  # of the peak, from one sample to the next: a tenth of the voice's own steps
WITHIN = slice(RATE // 4, 15 * RATE // 4)  # of four seconds: the recording begins and ends in the midst of a voice


def loudest_click(sound: np.ndarray) -> float:
    """What jumps leave above the band, over the peak. Steps of the hiss below differ with where its hops begin."""
    high = sosfiltfilt(butter(8, CLICK_HZ, "highpass", fs=RATE, output="sos"), sound)[WITHIN]
    return float(np.abs(high).max() / np.abs(sound).max())


def jumping(sound: np.ndarray) -> np.ndarray:
    """Add what a hard switch would: a jump in the middle, and a slide back over a second."""
    out, middle = sound.copy(), len(sound) // 2
    out[middle : middle + RATE] += JUMP * np.abs(sound).max() * np.linspace(1, 0, RATE)
    return out


def test_bypass_gain_and_a_model_switch_while_a_voice_flows_make_no_click(pulse, live, model_path, excuses, tmp_path):
    running = live(pulse, *THROUGH, *configured(tmp_path, SLACK))
    time.sleep(SETTLED_S)

    def switch() -> None:
        time.sleep(1.2)
        assert running.ask("bypass", "on") is True
        time.sleep(0.3)
        assert running.stats()["bypass"]
        assert running.ask("bypass", "toggle") is False
        assert running.ask("model", str(model_path)) == json.loads(model_path.read_text())["name"]
        assert running.ask("gain", -6.0) == -6.0

    def listen() -> None:
        assert running.ask("gain", 0.0) == 0.0
        _, expected, _ = through_whole(running, pulse, voice(4))
        _, heard, _ = through_whole(running, pulse, voice(4), switch)
        assert np.abs(expected).max() > 0.1
        jump = loudest_click(jumping(expected))
        print("loudest clicks:", loudest_click(expected), loudest_click(heard), "of a small jump:", jump)
        assert loudest_click(expected) < jump / 4
        assert loudest_click(heard) < jump / 2

    excuses.attempt(listen)
    running.wait_for_event("model")


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
    assert 11.3 < float(found["measured round trip, median"].removesuffix(" ms")) < TRIP_MS


def metrics_port(running: Running) -> int:
    wait_for(lambda: "event=metrics" in running.printed)
    return int(running.printed.split("http://127.0.0.1:")[1].split("/metrics")[0])


def test_metrics_and_health(running):
    base = f"127.0.0.1:{metrics_port(running)}"

    def health() -> tuple[int, bytes]:
        try:
            answer = urllib.request.urlopen(f"http://{base}/healthz", timeout=10)
            return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def healthy() -> bool:
        code, said = health()
        assert (code, said) == (200, b"ok\n") or code == 503, (code, said)
        return code == 200

    wait_for(healthy)
    text = urllib.request.urlopen(f"http://{base}/metrics", timeout=10).read().decode()
    assert 'rtsr_worker_underruns_total{path="voice"}' in text
    assert 'rtsr_latency_ms{part="algorithm",path="voice"} 11.33' in text


def test_there_is_no_torch_in_it(running):
    assert running.children
    for process in (running.process.pid, *running.children):
        assert "libtorch" not in Path(f"/proc/{process}/maps").read_text()


def test_its_memory_stays_where_it_may(running):
    locked = int(re.search(r"VmLck:\s+(\d+)", Path(f"/proc/{running.children[0]}/status").read_text())[1])
    assert locked > 0 if 'event=memory msg="locked"' in running.printed else "allow memlock" in running.printed


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


@pytest.fixture(scope="module")
def refused(pulse, running, tmp_path_factory) -> dict[str, subprocess.Popen[str]]:
    """Every `rtsr live` that cannot be, all started at once."""
    folder = tmp_path_factory.mktemp("refused")
    nowhere = {**pulse.env, "PULSE_SERVER": f"unix:{folder}/none", "XDG_RUNTIME_DIR": str(folder)}
    started = {}
    for name, (arguments, _) in REFUSED.items():
        own = () if "--socket" in arguments else ("--socket", str(folder / name.replace(" ", "-")))
        filled = [a.format(socket=running.socket, port=metrics_port(running)) for a in (*arguments, *own)]
        started[name] = start(nowhere if name.startswith("no server") else pulse.env, "live", *filled)
    return started


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_one_line_that_says_what_to_do(refused, name):
    _, printed = refused[name].communicate(timeout=60)
    lines = [line for line in printed.splitlines() if line.startswith("error:")]
    assert refused[name].returncode == 1, printed
    assert len(lines) == 1, printed
    assert REFUSED[name][1] in lines[0]
    assert "Traceback" not in printed


def test_it_ends_on_request_on_its_socket(running):
    assert running.ask("stop") is True
    assert running.process.wait(STOP_S) == 0
    assert not running.socket.exists()
    assert "event=stopped" in running.printed
