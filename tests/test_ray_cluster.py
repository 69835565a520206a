"""What has no cluster, and no address to listen on, is refused in a line, before Ray is started."""

from __future__ import annotations

import importlib.util
import socket

import numpy as np
import pytest
import soundfile

from rtsr import ray_cluster
from rtsr.errors import InvalidSetting
from tests.speech import missing

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Ray Serve imports


@pytest.fixture(autouse=True)
def needs_ray() -> None:
    if not importlib.util.find_spec("ray"):
        missing("ray (pip install 'rtsr[fleet]')")


@pytest.fixture
def taken():
    """An address at which something listens that is no Ray cluster."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield f"127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    monkeypatch.setattr(ray_cluster, "CONNECT_S", 0.1)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:x", "[::1]:1"])
def test_where_nothing_listens_there_is_no_cluster(address):
    with pytest.raises(InvalidSetting, match="expected the address of a Ray cluster that runs"):
        ray_cluster.join(address)


def test_a_fleet_is_refused_where_its_gateway_cannot_listen(run, taken):
    code, _, printed = run("fleet", "run", "--voices", 2, "--listen", taken)
    assert code == 1
    assert f"cannot listen on {taken}" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_fleet_is_refused_where_its_line_of_sip_cannot_listen(run, tmp_path, kind):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        taken = f"127.0.0.1:{one.getsockname()[1]}"
        config = tmp_path / "fleet.toml"
        config.write_text(f'[bridge]\nlisten = "127.0.0.1:0"\n[[bridge.sip]]\nlisten = "{taken}"\n')
        code, _, printed = run("fleet", "run", "--voices", 2, "--config", config)
    assert (code, printed.count("Traceback")) == (1, 0)
    assert f"sip: cannot listen on {taken}" in printed


def test_an_archive_and_a_fleet_say_that_there_is_no_cluster(run, tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "voice.wav", np.zeros(800, np.float32), 8000)
    for command in (("fleet", "run"), ("enhance", tmp_path / "in", tmp_path / "out", "--ray")):
        option = "--address" if command[0] == "fleet" else "--ray-address"
        code, _, printed = run(*command, option, "127.0.0.1:1")
        assert (code, "a Ray cluster that runs" in printed) == (1, True)
