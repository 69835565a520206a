"""Who may ask the gateway about the whole fleet. What goes on to a bridge is checked there."""

from __future__ import annotations

from yarl import URL

from ..bridge.authentication import Authentication
from ..bridge.config import BridgeSettings, is_loopback
from .forward import Answer, Asked, refuse


def refusal(asked: Asked, settings: BridgeSettings, authentication: Authentication) -> Answer | None:
    """Return the answer to a request that may not be, None for one that may.

    Pages may not (403), nor who has no token (401); without tokens, only who means this machine (421): a page may give
    its own name our address.
    """
    if "origin" in asked.headers:
        return refuse(403, "a page may not")
    if not authentication.accepts(asked.headers.get("authorization")):
        return refuse(401, "expected a bearer token", ("WWW-Authenticate", "Bearer"))
    if not settings.all_tokens() and not is_loopback(_host(asked.headers.get("host", ""))):
        return refuse(421, "expected a Host of this machine")
    return None


def _host(header: str) -> str:
    try:
        return URL(f"//{header}").host or ""
    except ValueError:
        return ""
