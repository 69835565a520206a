"""Bodies of requests: text in UTF-8 and JSON, and what a client says they are."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rtsr.bridge.bodies import LONGEST_NAME, MOST_PLAIN, ids_of, options_of, read_json
from rtsr.bridge.call import CallOptions
from rtsr.bridge.service import errors
from rtsr.bridge.whip import read_text
from rtsr.errors import InvalidSetting


async def text(request: web.Request) -> web.Response:
    return web.Response(text=await read_text(request))


async def read(request: web.Request) -> web.Response:
    return web.json_response(await read_json(request))


def post(path: str, content_type: str, body: bytes) -> tuple[int, str]:
    async def ask() -> tuple[int, str]:
        app = web.Application(middlewares=[errors])
        app.add_routes([web.post("/text", text), web.post("/json", read)])
        async with TestClient(TestServer(app)) as client:
            reply = await client.post(path, data=body, headers={"Content-Type": content_type})
            return reply.status, await reply.text()

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/text", "/json"])
@pytest.mark.parametrize("charset", ["bogus", "punycode", "utf-7", "utf-16", "idna", "hex", "unicode_escape"])
def test_another_charset_is_refused(path, charset):
    status, text = post(path, f"application/sdp; charset={charset}", b'{"sdp": "v=0"}')
    assert status == 400
    assert charset in text


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", '; charset="UTF-8"', "; charset=us-ascii"])
def test_text_in_utf_8_is_read(charset):
    body = '{"name": "Jürgen"}'
    assert post("/text", f"application/sdp{charset}", body.encode()) == (200, body)
    assert post("/json", f"application/json{charset}", body.encode())[0] == 200


@pytest.mark.parametrize("path", ["/text", "/json"])
@pytest.mark.parametrize("more", [";" * 7_000, "; a=b" * 1_400, "(" * 3_000, "(" * 9, "; charset*0=u" * 500])
def test_a_content_type_that_takes_long_to_read_is_refused(path, more):
    """It is read as a header of an e-mail: 7000 semicolons take half a second, and 3000 brackets are too deep."""
    status, told = post(path, f"application/sdp{more}", b'{"sdp": "v=0"}')
    assert status == 400
    assert len(told) < 400


@pytest.mark.parametrize("path", ["/text", "/json"])
def test_what_is_no_text_is_refused(path):
    assert post(path, "application/json", b"\xff\xfe{}")[0] == 400


def test_what_a_caller_asks_for_is_read():
    assert options_of({"sdp": "v=0"}) == CallOptions()
    body = {"narrow_hz": 8_000, "echo": True, "name": LONGEST_NAME * "é", "replaces": "a-b_9", "client": 64 * "c"}
    assert options_of(body) == CallOptions(**body)
    assert options_of({"narrow_hz": None}) == CallOptions()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        *(({"narrow_hz": wrong}, "narrow_hz") for wrong in (8_001, 8_000.0, "8000", True, [8_000])),
        *(({"echo": wrong}, "echo") for wrong in (1, None, "true")),
        *(({"name": wrong}, "echo") for wrong in (None, 1, (LONGEST_NAME + 1) * "a")),
        *(({"replaces": wrong}, "replaces") for wrong in (None, 0, [], "a/b", 65 * "a", "a\n", "!")),
        *(({"client": wrong}, "client") for wrong in (None, 0, [], "a b", 65 * "a", "a\n", "!")),
    ],
)
def test_what_no_caller_may_ask_for_is_refused(body, said):
    with pytest.raises(InvalidSetting, match=said):
        options_of(body)


def test_calls_that_are_to_be_plain_are_ids_and_bounded():
    most = [str(number) for number in range(MOST_PLAIN)]
    assert ids_of(most) == frozenset(most)
    assert ids_of([]) == frozenset()
    for wrong in (None, "a", {"a": 1}, [*most, "a"], [1], [["a"]], ["a/b"], ["a", ""]):
        with pytest.raises(InvalidSetting, match="plain: expected"):
            ids_of(wrong)
