"""One file for the fleet and its bridges, and what each bridge is made from."""

from __future__ import annotations

import json

import pytest

from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.config import make_settings as make_bridge_settings
from rtsr.bridge.sip.settings import read_tables
from rtsr.errors import InvalidSetting
from rtsr.fleet.config import FleetSettings, as_json, check_bridge, from_json, make_settings, of_worker
from rtsr.fleet.sip_routes import NEW, Routes, Way

OPEN = {"listen": "0.0.0.0:8443", "tokens": ("secret",), "allow_plain_http": True}


def test_one_file_has_both_tables(tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text('[fleet]\nworkers = 2\n[bridge]\nmodel = "voice-48k"\n')
    assert make_settings(path, {"drain_s": 5.0}) == FleetSettings(workers=2, drain_s=5.0)
    assert make_bridge_settings(path, {}).model == "voice-48k"
    path.write_text("[fleet]\nworker = 2\n")
    with pytest.raises(InvalidSetting, match="did you mean 'workers'"):
        make_settings(path, {})


@pytest.mark.parametrize(("name", "value"), [("workers", 0), ("voices", 0), ("drain_s", -1.0), ("spare", -0.1)])
def test_settings_have_bounds(name, value):
    with pytest.raises(InvalidSetting, match=name):
        FleetSettings(**{name: value})


@pytest.mark.parametrize(
    "given",
    [{"rtp": "127.0.0.1:4000"}, {"audiosocket": "127.0.0.1:4001"}],
)
def test_what_one_bridge_alone_can_have_is_refused(given):
    with pytest.raises(InvalidSetting, match="in a bridge of its own"):
        check_bridge(BridgeSettings(**given))


def test_bridges_of_a_fleet_on_one_machine_listen_on_loopback():
    made = of_worker(BridgeSettings(), "192.0.2.7", "192.0.2.1", 12, "a", b"")
    assert (made.listen, made.calls, made.trusted_proxies) == ("127.0.0.1:0", 12, ("127.0.0.1",))
    assert of_worker(BridgeSettings(calls=4), "192.0.2.7", "192.0.2.1", 12, "a", b"").calls == 4


@pytest.mark.parametrize(("node", "listen"), [("192.0.2.7", "192.0.2.7:0"), ("2001:db8::7", "[2001:db8::7]:0")])
def test_bridges_on_other_machines_listen_at_their_node_and_trust_the_gateway(node, listen):
    settings = BridgeSettings(**OPEN, trusted_proxies=("192.0.2.99",))
    made = of_worker(settings, node, "192.0.2.1", 12, "a", b"")
    assert made.listen == listen
    assert made.trusted_proxies == ("192.0.2.99", "192.0.2.1")
    with pytest.raises(InvalidSetting, match="others reach"):
        of_worker(settings, "127.0.0.1", "192.0.2.1", 12, "a", b"")


LINE = {"name": "office", "listen": "192.0.2.1:5060", "sources": ["198.51.100.0/24"], "accounts": {"a": "b"}}


def test_lines_of_sip_are_the_gateways_and_workers_send_and_take_through_it():
    registered = {"advertise": "203.0.113.1", "register": True, "server": "sip:x", "username": "u"}
    settings = BridgeSettings(**OPEN, sip=({**LINE, **registered},))
    made = of_worker(settings, "192.0.2.7", "192.0.2.1", 12, "a", b"key")
    (line,) = read_tables(made.sip)
    assert (line.name, line.listen, line.proxies) == ("office", "0.0.0.0:0", ("192.0.2.1",))
    assert (line.accounts, line.register, line.advertise, line.server) == ({}, False, None, "sip:x")
    assert line.first_hop(("192.0.2.99", 5060)) == ("192.0.2.1", 5060)
    assert Routes(b"key").read(line.first_route[0]) == Way(NEW, "a")
    assert made.rtp_host == "192.0.2.7", "audio comes to the node"
    alone = of_worker(BridgeSettings(sip=(LINE,)), "192.0.2.7", "192.0.2.1", 12, "a", b"key")
    (line,) = read_tables(alone.sip)
    assert set(line.proxies) == {"127.0.0.1", "192.0.2.1"}, "the gateway sends from where it listens"


@pytest.mark.parametrize(
    ("listen", "why"), [("192.0.2.1:0", "expected a port"), ("127.0.0.1:5060", "that other nodes reach")]
)
def test_lines_that_workers_could_not_reach_are_refused(listen, why):
    with pytest.raises(InvalidSetting, match=why):
        check_bridge(BridgeSettings(**OPEN, sip=({**LINE, "listen": listen},)))


def test_settings_survive_json():
    settings = BridgeSettings(**OPEN, stun=("stun:192.0.2.5",), sip=({"listen": "127.0.0.1:5060"},))
    assert from_json(json.loads(json.dumps(as_json(settings)))) == settings
