"""Rooms as requests see them: which there are, who is in one, whether it is recorded, and its end."""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from ..errors import InvalidSetting
from .bodies import read_json
from .calls import CALLS


def route(router: web.UrlDispatcher, room: str) -> None:
    """Add the endpoints."""
    router.add_get("/rooms", _list)
    router.add_get(f"/rooms/{room}", _show)
    router.add_delete(f"/rooms/{room}", _end)
    router.add_patch(f"/rooms/{room}", _change)


async def _list(request: web.Request) -> web.Response:
    """Return how many calls each room has, how many fit in all, and why no more are let in."""
    calls = request.app[CALLS]
    found = {
        "rooms": Counter(call.leg.room for call in calls.by_id.values()),
        "limit": calls.limit,
        "load": round(calls.media.load, 3),
        "full": calls.why_full(),
    }
    return web.json_response(found)


async def _end(request: web.Request) -> web.Response:
    """End the calls of a room; unlike those that are hung up, each may be continued, here or by another bridge."""
    calls = request.app[CALLS]
    ended = calls.in_room(request.match_info["room"])
    for call in ended:
        calls.end(call.id, "its room was ended")
    return web.json_response({"ended": len(ended)})


async def _show(request: web.Request) -> web.Response:
    """Return who is in a room and how they are heard."""
    calls, room = request.app[CALLS], request.match_info["room"]
    found = {
        "calls": [call.stats() for call in calls.in_room(room)],
        "recorded": calls.recorder.records(room),
        "load": round(calls.media.load, 3),
        "cutoff_max_hz": calls.media.pool.spec.cutoff_max_hz,
    }
    return web.json_response(found)


async def _change(request: web.Request) -> web.Response:
    """Record a room that somebody is in, or do not: {"recorded": true}."""
    body, calls, room = await read_json(request), request.app[CALLS], request.match_info["room"]
    if set(body) != {"recorded"} or not isinstance(body["recorded"], bool):
        raise InvalidSetting('expected {"recorded": true} or {"recorded": false}')
    legs = [call.leg for call in calls.in_room(room)]
    if not legs:
        raise web.HTTPNotFound(text="nobody is in that room")
    calls.recorder.choose(room, legs, body["recorded"])
    return web.json_response(body)
