"""The manifests for KubeRay: they fit the schemas of those who read them, and what they name exists and is the same."""

from __future__ import annotations

import ast
import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rtsr.bridge.config import BridgeSettings, address, port_range
from rtsr.bridge.config import make_settings as make_bridge_settings
from rtsr.fleet.config import check_bridge, make_settings, of_worker

yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")
kubernetes = pytest.importorskip("kubernetes_validate")
ROOT = Path(__file__).parents[2]
SECRET, SERVICE = yaml.safe_load_all((ROOT / "contrib" / "kuberay" / "fleet.yaml").read_text())
CLUSTER = SERVICE["spec"]["rayClusterConfig"]
HEAD, WORKERS = CLUSTER["headGroupSpec"], CLUSTER["workerGroupSpecs"][0]
BOOLEAN, INTEGER, TEXT, OBJECT = ({"type": name} for name in ("boolean", "integer", "string", "object"))
TEXTS = OBJECT | {"additionalProperties": TEXT}


def known(names: dict[str, Any], *required: str) -> dict[str, Any]:
    """The schema of an object with these names and no others."""
    return OBJECT | {"properties": names, "required": list(required), "additionalProperties": False}


# KubeRay's API ray.io/v1, around the pods: no package has its schema. Kubernetes drops a name that it does not know.
GROUP = {"rayStartParams": TEXTS, "template": OBJECT}
HEAD_GROUP = GROUP | {"serviceType": TEXT, "headService": OBJECT, "enableIngress": BOOLEAN}
COUNTS = dict.fromkeys(("replicas", "minReplicas", "maxReplicas", "numOfHosts", "idleTimeoutSeconds"), INTEGER)
WORKER_GROUP = GROUP | COUNTS | {"groupName": TEXT, "suspend": BOOLEAN, "scaleStrategy": OBJECT}
RAY_CLUSTER = {
    "rayVersion": TEXT,
    "enableInTreeAutoscaling": BOOLEAN,
    "autoscalerOptions": OBJECT,
    "gcsFaultToleranceOptions": OBJECT,
    "headServiceAnnotations": TEXTS,
    "suspend": BOOLEAN,
    "managedBy": TEXT,
    "headGroupSpec": known(HEAD_GROUP, *GROUP),
    "workerGroupSpecs": {"type": "array", "items": known(WORKER_GROUP, "groupName", *GROUP)},
}
RAY_SERVICE = {
    "serveConfigV2": TEXT,
    "rayClusterConfig": known(RAY_CLUSTER, "headGroupSpec"),
    "serveService": OBJECT,
    "upgradeStrategy": OBJECT,
    "excludeHeadPodFromServeSvc": BOOLEAN,
}


def check(secret: dict[str, Any], service: dict[str, Any]) -> None:
    """Raise what is wrong, as Kubernetes, KubeRay and Ray Serve read the manifests."""
    serve_schema = pytest.importorskip("ray.serve.schema").ServeDeploySchema
    kubernetes.validate(secret, "1.37", strict=True)
    kubernetes.validate(secret | {"metadata": service["metadata"]}, "1.37", strict=True)  # the same in every kind
    names = {"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": "RayService"}, "metadata": OBJECT}
    jsonschema.validate(service, known(names | {"spec": known(RAY_SERVICE, "rayClusterConfig")}, *names, "spec"))
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        kubernetes.validate({"apiVersion": "v1", "kind": "Pod", **group["template"]}, "1.37", strict=True)
    serve = yaml.safe_load(service["spec"]["serveConfigV2"])
    read = serve_schema.model_validate(serve).model_dump(mode="json", exclude_unset=True)
    assert read == serve, "Ray Serve ignores names that it does not know"


def settings(tmp_path: Path) -> BridgeSettings:
    path = tmp_path / "fleet.toml"
    path.write_text(SECRET["stringData"]["fleet.toml"])
    make_settings(path, {})
    return make_bridge_settings(path, {})


def test_they_are_valid():
    check(SECRET, SERVICE)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("stringData", "stringdata"),
        ("enableInTreeAutoscaling", "enableAutoscaling"),
        ("groupName", "name"),
        ("hostNetwork", "hostNetworking"),
        ("memory: 4Gi", "memory: [4]"),
        ("secretName", "secret"),
        ("replicas: 2", "replicas: two"),
        ('num-cpus: "0"', "num-cpus: 0"),
        ("import_path", "importpath"),
        ("http_options", "http"),
        ("HeadOnly", "Head"),
    ],
)
def test_a_mistake_is_seen(part, wrong):
    text = (ROOT / "contrib" / "kuberay" / "fleet.yaml").read_text()
    assert part in text
    with pytest.raises((ValueError, AssertionError, jsonschema.ValidationError)):
        check(*yaml.safe_load_all(text.replace(part, wrong)))


def test_rays_autoscaler_reads_the_groups():
    autoscaling_config = pytest.importorskip("ray.autoscaler._private.kuberay.autoscaling_config")
    cluster = {"metadata": SERVICE["metadata"] | {"namespace": "default"}, "spec": CLUSTER}
    read = autoscaling_config._derive_autoscaling_config_from_ray_cr(copy.deepcopy(cluster))["available_node_types"]
    assert read["headgroup"]["resources"]["CPU"] == 0, "nothing is placed on the head but the gateway"
    workers = read[WORKERS["groupName"]]
    assert workers["resources"]["rtsr_voices"] == 16
    assert (workers["min_workers"], workers["max_workers"]) == (WORKERS["minReplicas"], WORKERS["maxReplicas"])


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
