"""The manifests for KubeRay: what they name exists, and is the same throughout."""

from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path

import pytest

from rtsr.bridge.config import BridgeSettings, address, port_range
from rtsr.bridge.config import make_settings as make_bridge_settings
from rtsr.fleet.config import check_bridge, make_settings, of_worker

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
SECRET, SERVICE = yaml.safe_load_all((ROOT / "contrib" / "kuberay" / "fleet.yaml").read_text())
CLUSTER = SERVICE["spec"]["rayClusterConfig"]
HEAD, WORKERS = CLUSTER["headGroupSpec"], CLUSTER["workerGroupSpecs"][0]


def settings(tmp_path: Path) -> BridgeSettings:
    path = tmp_path / "fleet.toml"
    path.write_text(SECRET["stringData"]["fleet.toml"])
    make_settings(path, {})
    return make_bridge_settings(path, {})


def test_the_settings_are_those_of_a_fleet_on_several_machines(tmp_path):
    bridge = settings(tmp_path)
    check_bridge(bridge)
    of_worker(bridge, "192.0.2.2", "192.0.2.1", 16, "a", b"")
    assert bridge.ice_ports is not None
    port_range(bridge.ice_ports, "ice_ports")


def test_serve_runs_the_gateway_with_these_settings_at_their_port(tmp_path):
    serve = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])
    (app,) = serve["applications"]
    module, _, name = app["import_path"].partition(":")
    source = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text())
    assert name in {one.name for one in source.body if isinstance(one, ast.FunctionDef)}
    host, port = address(settings(tmp_path).listen, "listen")
    assert serve["http_options"] == {"host": host, "port": port}
    assert serve["proxy_location"] == "HeadOnly", "its address is the one that bridges trust"
    for group in (HEAD, WORKERS):
        pod = group["template"]["spec"]
        (mount,) = pod["containers"][0]["volumeMounts"]
        (volume,) = pod["volumes"]
        assert volume["secret"]["secretName"] == SECRET["metadata"]["name"]
        assert mount["name"] == volume["name"]
        assert app["args"]["config"] == f"{mount['mountPath']}/{next(iter(SECRET['stringData']))}"


def test_workers_have_voices_and_the_network_that_clients_reach():
    voices = json.loads(json.loads(WORKERS["rayStartParams"]["resources"]))
    assert list(voices) == ["rtsr_voices"]
    assert voices["rtsr_voices"] > 0
    assert WORKERS["template"]["spec"]["hostNetwork"] is True
    assert "hostNetwork" not in HEAD["template"]["spec"]
    assert WORKERS["minReplicas"] <= WORKERS["replicas"] <= WORKERS["maxReplicas"]


def test_every_pod_has_the_pinned_ray_tells_nobody_and_is_not_nice():
    pinned = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray=="))
    assert CLUSTER["rayVersion"] == pinned.removeprefix("ray==")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for group in (HEAD, WORKERS):
        (container,) = group["template"]["spec"]["containers"]
        env = {one["name"]: one["value"] for one in container["env"]}
        assert env == {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        assert container["image"].endswith(f":{version}")
