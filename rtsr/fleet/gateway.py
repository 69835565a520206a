"""The gateway in Ray Serve: one replica on the head node, whose HTTP proxy is the only one that clients meet.

One, as rooms are placed in one place. It keeps nothing that the workers do not report: where it ends, Serve makes
another, which finds workers, rooms and calls as they are.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from starlette.requests import Request
from starlette.responses import Response

from ..bridge.config import BridgeSettings, address
from ..bridge.config import make_settings as make_bridge_settings
from ..bridge.log import to_stderr
from ..bridge.sip.settings import read_tables
from ..daemon.priority import be_less_nice
from ..errors import RtsrError
from .config import FleetSettings, as_json, check_bridge, from_json, make_settings
from .forward import Answer, Asked, Forward, refuse
from .nodes import HEAD, Nodes
from .placement import Fleet
from .signalling import Signalling
from .sip_proxy import SipProxy
from .sip_routes import Routes, make_key
from .watch import Watch

QUIET = {"log_level": "WARNING", "enable_access_log": False}  # of Serve; the bridge's events are written all the same
AT_ONCE = 1_000  # requests; a call to a number takes as long as it rings


class Gateway:
    """Takes the requests of clients and watches the workers."""

    async def __init__(self, settings: dict[str, Any], bridge: dict[str, Any], key: bytes) -> None:  # type: ignore[misc]  # Serve awaits it
        to_stderr()
        be_less_nice()  # signalling is little work, and a bridge may be on the same machine
        fleet_settings, bridge_settings = FleetSettings(**settings), from_json(bridge)
        self._most = bridge_settings.sdp_bytes
        forward = Forward(bridge_settings)
        fleet = Fleet()
        self._signalling = Signalling(fleet, fleet_settings, bridge_settings, forward)
        watch = Watch(self._signalling, Nodes(fleet_settings, bridge_settings, key))
        self._watching = asyncio.get_running_loop().create_task(watch.run())
        self._sip = [
            SipProxy(table, fleet, Routes(key), self._signalling.lost, self._signalling.faults)
            for table in read_tables(bridge_settings.sip)
        ]
        for proxy in self._sip:
            await proxy.open()

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > self._most:
                return respond(refuse(413, f"expected a body of at most {self._most} bytes"))
        asked = Asked(
            request.method,
            request.url.path,
            request.url.query,
            {name.lower(): value for name, value in request.headers.items()},
            body,
            request.url.scheme,
            request.client.host if request.client else "",
        )
        return respond(await self._signalling.answer(asked))

    async def __del__(self) -> None:
        """End what is registered; Serve awaits it when the gateway is to end."""
        for proxy in self._sip:
            await proxy.close()

    def check_health(self) -> None:
        """Raise where the workers are not watched any more: Serve makes another replica then."""
        if self._watching.done():
            raise RuntimeError("the watch has ended")


GATEWAY: Any = serve.deployment(
    name="gateway",
    num_replicas=1,
    max_ongoing_requests=AT_ONCE,
    max_queued_requests=AT_ONCE,
    ray_actor_options={"num_cpus": 0, "resources": {HEAD: 0.001}},
    logging_config=QUIET,
)(Gateway)


def respond(answer: Answer) -> Response:
    """Return an answer as Starlette sends it; a header may be there several times."""
    response = Response(answer.body, answer.status)
    response.raw_headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    return response


def deploy(settings: FleetSettings, bridge: BridgeSettings) -> str:
    """Start Serve and the gateway on the Ray cluster of this process, and return the URL; takes seconds.

    Raises `InvalidSetting`, and `RtsrError` where the gateway does not start.
    """
    host, port = address(bridge.listen, "listen")
    options = HTTPOptions(
        host=host,
        port=port,
        keep_alive_timeout_s=round(bridge.http_s),
        ssl_certfile=bridge.tls_cert,
        ssl_keyfile=bridge.tls_key,
    )
    key = make_key(bridge)
    asyncio.run(Nodes(settings, bridge, key).reconcile())  # workers begin now; the gateway finds them
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=options, logging_config=QUIET)
    try:
        serve.run(bind(settings, bridge, key), name="rtsr", route_prefix="/")
    except RuntimeError as error:  # on a cluster that ran before, where its addresses cannot be tried from here
        message = serve.status().applications["rtsr"].deployments["gateway"].message  # ends with the exception
        why = next((line for line in reversed(message.splitlines()) if line), str(error))
        raise RtsrError(f"the gateway does not start: {why}") from error
    return f"{'https' if bridge.tls_cert else 'http'}://{bridge.listen}"


def bind(settings: FleetSettings, bridge: BridgeSettings, key: bytes) -> Any:
    """Return the application for Ray Serve; raises `InvalidSetting` for what a fleet cannot have."""
    check_bridge(bridge)
    return GATEWAY.bind(asdict(settings), as_json(bridge), key)


def app(given: dict[str, str]) -> Any:
    """Build the application for `serve build`, `serve run` and KubeRay's RayService: config is the path of the file."""
    config = Path(given["config"]) if "config" in given else None
    bridge = make_bridge_settings(config, {})
    return bind(make_settings(config, {}), bridge, make_key(bridge))
