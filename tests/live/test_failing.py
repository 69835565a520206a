"""Parts of `rtsr live` that hang, die or lose their server: what it says of its health, and what it does about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from rtsr.daemon.control import request
from rtsr.errors import DeviceFailed
from rtsr.io import virtual
from rtsr.io.devices import list_served, server
from tests.live.running import ANY_S, START_S, THROUGH, Running, children
from tests.live.servers import Server, wait_for

BOTH = ("--virtual-mic", "--virtual-speaker", "--cutoff", "4000", "--metrics", "0")
NOTICED_S = 3.0  # until a path that does not answer is no longer called healthy
AGAIN_S = START_S  # until one that hangs was killed and is ready again


def health(running: Running) -> tuple[int, str]:
    """What /healthz says."""
    port = running.printed.split("http://127.0.0.1:")[1].split("/metrics")[0]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_path_that_hangs_is_unhealthy_and_started_again(pulse, live):
    running = live(pulse, *BOTH, wait=False)
    running.wait_for_event("metrics")
    assert health(running)[0] == 503  # nothing has started
    running.wait_for_event("ready", times=2)
    wait_for(lambda: health(running) == (200, "ok\n"), NOTICED_S, "both paths deliver")
    hanging = running.children[0]
    os.kill(hanging, signal.SIGSTOP)
    wait_for(lambda: health(running)[0] == 503, NOTICED_S, "one path does not")
    assert "no answer" in health(running)[1]
    assert health(running)[1].count("\n") == 1
    running.wait_for_event("restart", seconds=AGAIN_S)
    running.wait_for_event("ready", times=3, seconds=AGAIN_S)
    assert hanging not in running.children
    wait_for(lambda: health(running) == (200, "ok\n"), NOTICED_S, "both paths deliver again")


def test_a_path_that_died_is_unhealthy_and_comes_back_as_it_was(pulse, live):
    running = live(pulse, *BOTH, wait=False)
    running.wait_for_event("ready", times=2)
    assert running.ask("mute", "on") is True
    assert running.ask("gain", -6) == -6.0
    wait_for(lambda: health(running)[0] == 200, NOTICED_S)
    os.kill(running.children[0], signal.SIGKILL)
    wait_for(lambda: health(running)[0] == 503, NOTICED_S, "one path is gone")
    running.wait_for_event("ready", times=3, seconds=AGAIN_S)
    for stats in request(running.socket, "stats").values():
        assert (stats["mute"], stats["gain_db"]) == (True, -6.0)


def test_a_device_that_is_absent_when_a_path_died_is_waited_for(pulse, live):
    make = ("module-null-sink", "sink_name=C", "norewinds=1", "rate=48000", "channels=1")
    number = pulse.load(*make)
    running = live(pulse, "--input", "A.monitor", "--output", "C")
    pulse.pactl("unload-module", number)
    os.kill(running.children[0], signal.SIGKILL)
    running.wait_for_event("waiting", seconds=AGAIN_S)
    number = pulse.load(*make)
    running.wait_for_event("ready", times=2, seconds=AGAIN_S)
    assert running.printed.count("event=restart ") == 1
    running.stop(ANY_S)
    pulse.pactl("unload-module", number)


@pytest.fixture
def dying(start_server, tmp_path, monkeypatch) -> Server:
    """A server of this process's own, to be killed."""
    start_server("pulse")  # skipped or failed where there is none
    one = Server("pulse", tmp_path)
    one.start()
    for name, value in one.env.items():
        monkeypatch.setenv(name, value)
    yield one
    one.stop(signal.SIGKILL)


@pytest.mark.parametrize("query", ["server_info", "sink_list", "source_list"])
def test_a_server_that_dies_within_a_query_is_a_lost_server(dying, monkeypatch, query):
    import pulsectl

    assert list_served(0)
    asked = getattr(pulsectl.Pulse, query)

    def ask(pulse: pulsectl.Pulse) -> object:
        dying.stop(signal.SIGKILL)
        return asked(pulse)

    monkeypatch.setattr(pulsectl.Pulse, query, ask)
    assert list_served(0) == []


def test_a_server_that_dies_while_a_virtual_device_is_made_is_a_lost_server(dying, monkeypatch):
    import pulsectl

    loads = pulsectl.Pulse.module_load

    def load(pulse: pulsectl.Pulse, *words: str) -> object:
        dying.stop(signal.SIGKILL)
        return loads(pulse, *words)

    monkeypatch.setattr(pulsectl.Pulse, "module_load", load)
    holder = virtual.Holder(virtual.new_mark())
    with pytest.raises(DeviceFailed):
        virtual.ensure(virtual.Virtual("m", "microphone"), 48_000, holder)
    holder.release()


def test_a_stop_in_the_midst_of_a_slow_start_leaves_no_virtual_device(server, live):
    running = live(server, "--virtual-mic", wait=False)
    wait_for(lambda: "rtsr_microphone_feed" in server.names("sinks"), AGAIN_S, "the device is made")
    for process in running.children:
        os.kill(process, signal.SIGSTOP)  # what hangs in a device's open does nothing else either
    running.stop(ANY_S)
    assert not [n for n in server.names("sinks") + server.names("sources") if "rtsr" in n]


def test_half_a_virtual_device_is_made_whole(dying):
    mine = virtual.Virtual("m", "microphone")
    holder = virtual.Holder(virtual.new_mark())
    name, arguments = mine.modules(holder.mark, 48_000)[0]
    with server() as pulse:
        pulse.module_load(name, arguments)
    assert virtual.ensure(mine, 48_000, holder) == 0
    assert "m" in dying.names("sources")
    assert virtual.remove(holder.mark) == 2
    holder.release()


def test_devices_of_a_path_whose_process_cannot_be_seen_stay(pulse, live, tmp_path):
    """As in a container: the first one's numbers of processes mean nothing to the second."""
    enter = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("process namespaces are not allowed here")
    command = [sys.executable, "-m", "rtsr", "live", "--socket", str(tmp_path / "s"), "--virtual-mic", "hidden"]
    with (tmp_path / "log").open("wb") as log:
        hidden = subprocess.Popen([*enter, *command], env=pulse.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for(lambda: "event=ready" in (tmp_path / "log").read_text(), AGAIN_S, "the hidden one")
        other = live(pulse, "--virtual-mic", "seen")
        assert {"hidden", "seen"} <= set(pulse.names("sources"))
        assert "event=stale" not in other.printed
        other.stop(ANY_S)
    finally:
        for process in children(hidden.pid):
            os.kill(process, signal.SIGTERM)
        hidden.wait(AGAIN_S)
    wait_for(lambda: "hidden" not in pulse.names("sources"), why="its end")


def test_a_path_ends_with_whoever_started_it_also_while_it_answers(pulse, live):
    running = live(pulse, *THROUGH)
    children = running.children
    running.process.kill()
    running.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{p}").exists() for p in children), AGAIN_S, "the end of its process")
