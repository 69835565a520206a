"""What the JSON of a request asks for."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from ..errors import InvalidSetting
from . import whip
from .call import CallOptions
from .config import NAME
from .media import NARROW_RATES

LONGEST_NAME = 64
MOST_PLAIN = 1_000  # calls that one listener may name: as many as a room may have peers


async def read_json(request: web.Request) -> dict[str, Any]:
    """Return a request's JSON object; raises `InvalidSetting` for any other body, `TimeoutError` for a slow one."""
    try:
        body = json.loads(await whip.read_text(request))
    except (ValueError, RecursionError):
        raise InvalidSetting("expected a JSON object") from None
    if not isinstance(body, dict):
        raise InvalidSetting("expected a JSON object")
    return body


def options_of(body: dict[str, Any]) -> CallOptions:
    """Return what a caller of `POST /rooms/{id}/offer` asks for; raises `InvalidSetting`."""
    narrow_hz, echo, name = body.get("narrow_hz"), body.get("echo", False), body.get("name", "")
    replaces, client = body.get("replaces", ""), body.get("client", "")
    if narrow_hz is not None and not (isinstance(narrow_hz, int) and narrow_hz in NARROW_RATES):  # 8000.0 is in it too
        raise InvalidSetting(f"narrow_hz: expected one of {NARROW_RATES}, got {narrow_hz!r}")
    if not isinstance(echo, bool) or not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise InvalidSetting(f"expected echo to be true or false, and name a text of at most {LONGEST_NAME} characters")
    if replaces != "" and not (isinstance(replaces, str) and NAME.fullmatch(replaces)):
        raise InvalidSetting("replaces: expected the id of a call, as the answer to its offer had it")
    if client != "" and not (isinstance(client, str) and NAME.fullmatch(client)):
        raise InvalidSetting("client: expected 1 to 64 random letters, digits, - or _")
    return CallOptions(narrow_hz=narrow_hz, echo=echo, name=name, replaces=replaces, client=client)


def ids_of(plain: Any) -> frozenset[str]:
    """Return the calls that a listener wants to hear plain; raises `InvalidSetting`."""
    if not isinstance(plain, list) or len(plain) > MOST_PLAIN:
        raise InvalidSetting(f"plain: expected a list of at most {MOST_PLAIN} calls")
    if not all(isinstance(one, str) and NAME.fullmatch(one) for one in plain):
        raise InvalidSetting("plain: expected ids of calls, as GET /rooms/ROOM lists them")
    return frozenset(plain)
