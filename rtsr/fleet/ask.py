"""Questions to a gateway that runs, and orders, as an operator has them."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

from ..bridge.config import BridgeSettings, address, make_settings
from ..errors import ControlFailed, UnknownName
from .forward import trust

ANSWER_S = 10.0
LOOK_S = 1.0
__all__ = ["ask", "drain", "make_settings", "url_of"]
HERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def url_of(settings: BridgeSettings) -> str:
    """Return where the gateway of these settings is asked from its own machine."""
    host, port = address(settings.listen, "listen")
    shown = HERE.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if settings.tls_cert else 'http'}://{shown}:{port}"


def ask(settings: BridgeSettings, url: str | None, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON that the gateway answers; raises `ControlFailed` with its reason."""
    tokens = settings.all_tokens()
    headers = {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}
    data = None if body is None else json.dumps(body).encode()
    base = (url or url_of(settings)).rstrip("/")
    tls = trust(settings)
    context = tls if url is None and isinstance(tls, ssl.SSLContext) else None
    try:
        request = urllib.request.Request(base + path, data, headers)
        with urllib.request.urlopen(request, timeout=ANSWER_S, context=context) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise ControlFailed(f"{base}: {error.code} {_reason(error)}") from error
    except (OSError, ValueError) as error:
        raise ControlFailed(f"{base}: expected the gateway of a fleet there ({error})") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def drain(settings: BridgeSettings, url: str | None, name: str, limit_s: float | None, on: bool) -> None:
    """Drain a worker or a node and wait until it has no room, or let it take rooms again.

    Raises `UnknownName` and `ControlFailed`.
    """
    workers = ask(settings, url, "/fleet")["workers"]
    kind = "node" if any(one["node"] == name for one in workers) else "worker"
    if kind == "worker" and not any(one["name"] == name for one in workers):
        raise UnknownName("worker or node", name, {one["name"] for one in workers} | {one["node"] for one in workers})
    limit = {} if limit_s is None else {"limit_s": limit_s}
    said = ask(settings, url, "/fleet/drain", {kind: name, "drain": on, **limit})
    while on and any(one["rooms"] for one in said["workers"] if name in (one["name"], one["node"])):
        time.sleep(LOOK_S)
        said = ask(settings, url, "/fleet")
