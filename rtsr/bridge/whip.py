"""The standard endpoints: WHIP (RFC 9725) to publish a voice into a room, WHEP (draft-ietf-wish-whep) to listen."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from ..errors import InvalidSetting
from .call import Call, CallOptions
from .calls import CALLS
from .ice_restarts import add_candidates, names_another_user, restart
from .recorder import RECORDED

SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"
KINDS = {
    "whip": CallOptions(kind="whip", speaks=True, listens=False, name="WHIP"),
    "whep": CallOptions(kind="whep", speaks=False, listens=True),
}
READ_S = 10.0  # that a request's body may take
LONGEST_TYPE = 128  # characters of a Content-Type
CHARSETS = ("utf-8", "utf8", "us-ascii")  # the last is a part of the first


def route(router: web.UrlDispatcher, room: str, call: str) -> None:
    """Add the endpoints: POST where sessions are made, PATCH and DELETE where they are, and the servers for both."""
    router.add_get("/ice", _servers)
    for kind in KINDS:
        router.add_post(f"/{kind}/{room}", _begin)
        router.add_patch(f"/{kind}/{room}/{call}", _trickle)
        router.add_delete(f"/{kind}/{room}/{call}", _end)


async def _servers(request: web.Request) -> web.Response:
    """Return the STUN and TURN servers, with credentials, as an RTCConfiguration of a browser has them."""
    return web.json_response({"iceServers": request.app[CALLS].ice_servers.configuration()})


async def _begin(request: web.Request) -> web.Response:
    """Answer an offer: 201, with the session's place and its tag."""
    if media_type(request) != SDP:
        raise web.HTTPUnsupportedMediaType(text=f"expected {SDP}, got {request.content_type}")
    kind = request.path.split("/")[1]
    offer = await read_text(request)
    calls = request.app[CALLS]
    call, answer = await calls.answer(request.match_info["room"], offer, KINDS[kind])
    fixed = {"Location": f"/{kind}/{call.leg.room}/{call.id}", "ETag": call.etag, "Accept-Patch": FRAGMENT}
    if calls.recorder.records(call.leg.room):
        answer = re.sub(r"(m=audio .*\r\nc=.*\r\n)", rf"\1{RECORDED}\r\n", answer)
    headers = [*fixed.items(), *(("Link", link) for link in calls.ice_servers.links())]
    return web.Response(status=201, text=answer, content_type=SDP, headers=headers)


def media_type(request: web.Request) -> str:
    """Return what a request says its body is; raises `InvalidSetting` for a Content-Type that takes long to read.

    aiohttp reads it as a header of an e-mail: in quadratic time, and with comments that may lie in one another.
    """
    told = request.headers.get("Content-Type", "")
    if len(told) > LONGEST_TYPE or "(" in told:
        raise InvalidSetting(f"expected a Content-Type of at most {LONGEST_TYPE} characters without comments")
    return request.content_type


async def read_text(request: web.Request) -> str:
    """Return a request's body; raises `InvalidSetting` for what is not UTF-8, and `TimeoutError` for a slow one.

    No other charset is looked up: a client may name one that does not exist, or one that takes quadratic time.
    """
    media_type(request)
    charset = request.charset or "utf-8"
    if charset.lower() not in CHARSETS:
        raise InvalidSetting(f"expected text in UTF-8, got charset {charset[:40]!r}")
    async with asyncio.timeout(READ_S):
        body = await request.read()
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidSetting("expected text in UTF-8") from None


def _session(request: web.Request) -> Call:
    call = request.app[CALLS].by_id.get(request.match_info["call"])
    kind = request.path.split("/")[1]
    if call is None or call.kind != kind or call.leg.room != request.match_info["room"]:
        raise web.HTTPNotFound(text="no such session")
    return call


async def _trickle(request: web.Request) -> web.Response:
    """Take candidates that were found later (204), or begin an ICE restart (200, with our fragment and a new tag)."""
    call = _session(request)
    if media_type(request) != FRAGMENT:
        raise web.HTTPUnsupportedMediaType(text=f"expected {FRAGMENT}, got {request.content_type}")
    tag = request.headers.get("If-Match")
    if tag is None:
        raise web.HTTPPreconditionRequired(text="expected If-Match with the session's ETag")
    if tag not in (call.etag, "*"):
        raise web.HTTPPreconditionFailed(text=f"expected If-Match: {call.etag}")
    fragment = await read_text(request)
    if names_another_user(call, fragment):
        answer = await restart(request.app[CALLS], call, fragment)
        return web.Response(text=answer, content_type=FRAGMENT, headers={"ETag": call.etag})
    if tag == "*":
        raise web.HTTPUnprocessableEntity(text="expected an ICE restart with If-Match: *")
    await add_candidates(call, fragment)
    return web.Response(status=204)


async def _end(request: web.Request) -> web.Response:
    """End a session."""
    request.app[CALLS].hang_up(_session(request).id, "deleted")
    return web.Response(status=200)
