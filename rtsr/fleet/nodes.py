"""Workers as Ray actors: one after another on every node that has voices, made again where a node or an actor is lost.

An actor only supervises the process of its bridge, and answers where that listens.
"""

from __future__ import annotations

import asyncio
import logging
from operator import itemgetter
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..bridge.config import BridgeSettings
from ..bridge.log import to_stderr
from .config import FleetSettings, as_json, from_json, of_worker
from .process import BridgeProcess

VOICES = "rtsr_voices"  # the resource of a node: calls that its machine carries
HEAD = "node:__internal_head__"  # Ray's own resource of its head node
NAMESPACE = "rtsr"
ANSWER_S = 2.0
STOP_S = 5.0

log = logging.getLogger("rtsr.bridge")


class SupervisedBridge:
    """Keeps one bridge running on its node, for as many calls as the voices that the actor holds."""

    def __init__(self, name: str, settings: dict[str, Any], gateway_host: str, voices: int, key: bytes) -> None:
        to_stderr()
        own = of_worker(from_json(settings), ray.util.get_node_ip_address(), gateway_host, voices, name, key)
        self._bridge = BridgeProcess(own)

    def where(self) -> dict[str, Any]:
        """Return where the bridge takes calls (a URL of "" while it does not), its process, and how often it began."""
        bridge = self._bridge
        return {"url": bridge.url, "sip": bridge.sip, "pid": bridge.pid, "starts": bridge.starts}

    def stop(self) -> None:
        """End the bridge, and every call on it."""
        self._bridge.stop()


WORKER: Any = ray.remote(num_cpus=0, max_restarts=-1)(SupervisedBridge)


class Nodes:
    """The `Directory` of a Ray cluster: `workers` actors a node, which share its voices."""

    def __init__(self, settings: FleetSettings, bridge: BridgeSettings, key: bytes) -> None:
        """`key` is that of the routes of SIP."""
        self._settings, self._bridge, self._key = settings, as_json(bridge), key
        self._actors: dict[str, ActorHandle[Any]] = {}
        self._head = ""  # the address of the head node, where the gateway is
        self._wanted = 0

    async def reconcile(self) -> dict[str, str]:
        """Have an actor for each place; return the node of each actor by its name."""
        return await asyncio.to_thread(self._reconcile)

    def _reconcile(self) -> dict[str, str]:
        found: dict[str, str] = {}
        nodes = ray.nodes()
        self._head = next((one["NodeManagerAddress"] for one in nodes if HEAD in one["Resources"]), self._head)
        for node in nodes:
            voices = int(node["Resources"].get(VOICES, 0)) // self._settings.workers
            if not node["Alive"] or voices < 1:
                continue
            for number in range(self._settings.workers):
                name = f"{node['NodeID'][:8]}-{number}"
                found[name] = node["NodeID"][:8]
                if name not in self._actors:
                    self._actors[name] = self._make(name, node["NodeID"], voices)
        for name in [name for name in self._actors if name not in found]:
            del self._actors[name]
        return found

    def _make(self, name: str, node: str, voices: int) -> ActorHandle[Any]:
        return WORKER.options(
            name=f"worker-{name}",
            namespace=NAMESPACE,
            lifetime="detached",  # a gateway that begins anew finds it, calls and all
            get_if_exists=True,
            resources={VOICES: voices},
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(name, self._bridge, self._head, voices, self._key)

    async def where(self, name: str) -> tuple[str, dict[str, int]]:
        """Return the URL of a worker's bridge, "" where it does not take calls now, and the ports of its lines."""
        actor = self._actors.get(name)
        if actor is None:
            return "", {}
        try:
            return itemgetter("url", "sip")(await asyncio.wait_for(actor.where.remote(), ANSWER_S))
        except (TimeoutError, ray.exceptions.RayError) as error:
            if isinstance(error, ray.exceptions.RayActorError):
                self._actors.pop(name, None)  # of a node that is gone, or that never began; made again if it is there
                log.warning("worker %s: %s", name, str(error).splitlines()[0])
            return "", {}

    async def want(self, voices: int) -> None:
        """Ask Ray's autoscaler, where one runs, for nodes with so many voices in all."""
        if voices != self._wanted:
            self._wanted = voices
            await asyncio.to_thread(_request, voices)


def _request(voices: int) -> None:
    from ray.autoscaler.sdk import request_resources

    try:
        request_resources(bundles=[{VOICES: 1}] * voices)
    except Exception as error:  # whatever an autoscaler that is absent leads to: the fleet works without
        log.warning("Ray's autoscaler could not be asked for %d voices: %s", voices, error)


def end_all() -> None:
    """End every worker of the cluster, and every call on them."""
    for one in ray.util.list_named_actors(all_namespaces=True):
        if one["namespace"] == NAMESPACE:
            actor = ray.get_actor(one["name"], NAMESPACE)
            try:
                ray.get(actor.stop.remote(), timeout=STOP_S)
            except ray.exceptions.RayError:
                log.warning("%s does not answer and is killed", one["name"])
            ray.kill(actor)
