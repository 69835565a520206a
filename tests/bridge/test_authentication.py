"""Tokens and origins, without a network."""

from __future__ import annotations

import asyncio
import hmac

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from rtsr.bridge import authentication
from rtsr.bridge.authentication import GUARDED, Authentication
from rtsr.bridge.page import FOLDER, files


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("Bearer secret", True),
        ("bearer secret", True),
        ("Bearer other", True),
        ("Bearer Secret", False),
        ("Bearer", False),
        ("Basic secret", False),
        ("Bearer sécret", False),
        ("", False),
        (None, False),
    ],
)
def test_tokens(header, accepted):
    assert Authentication(("secret", "other"), ()).accepts(header) is accepted


def test_without_tokens_everyone_is_accepted():
    assert Authentication((), ()).accepts(None)


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("given", ["secret", "other", "wrong"])
def test_the_comparison_in_constant_time_alone_decides_and_sees_every_token(monkeypatch, given, answer):
    """Nothing is compared beside it, before it, or only until one token fits."""
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append({one, other})
        return answer

    guard = Authentication(("secret", "other"), ())
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert guard.accepts(f"Bearer {given}") is answer
    assert compared == [{token, given.encode()} for token in (b"secret", b"other")]


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        (None, True),
        ("http://bridge.example:8443", True),
        ("https://named.example", True),
        ("https://bridge.example:8443", False),
        ("http://bridge.example", False),
        ("null", False),
        ("https://evil.example", False),
    ],
)
def test_origins(origin, known):
    headers = {"Host": "bridge.example:8443", **({"Origin": origin} if origin else {})}
    request = make_mocked_request("POST", "/rooms/x/offer", headers=headers)
    assert Authentication((), ("https://named.example",)).knows_origin(request) is known


PROXIED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "calls.example"}


@pytest.mark.parametrize(
    ("headers", "remote", "known"),
    [
        ({"Host": "calls.example", "X-Forwarded-Proto": "https"}, "192.0.2.1", True),
        ({"Host": "127.0.0.1:8443", **PROXIED}, "192.0.2.1", True),
        ({"Host": "calls.example:443", "X-Forwarded-Proto": "https"}, "192.0.2.1", True),
        ({"Host": "calls.example", "X-Forwarded-Proto": "http, https"}, "192.0.2.1", True),  # the client's, then ours
        ({"Host": "calls.example", "X-Forwarded-Proto": "https, http"}, "192.0.2.1", False),
        ({"Host": "calls.example", "X-Forwarded-Proto": "https"}, "192.0.2.2", False),
        ({"Host": "127.0.0.1:8443", **PROXIED}, "203.0.113.9", False),
        ({"Host": "calls.example"}, "192.0.2.1", False),
        ({"Host": "calls.example:8443", "X-Forwarded-Proto": "https"}, "192.0.2.1", False),
        ({"Host": "[", "X-Forwarded-Proto": "https"}, "192.0.2.1", False),
    ],
)
def test_the_own_page_behind_a_proxy_is_known_where_the_proxy_is_trusted(headers, remote, known):
    request = make_mocked_request("POST", "/rooms/x/offer", headers={"Origin": "https://calls.example", **headers})
    trusts = {"192.0.2.1"}.__contains__
    assert Authentication(("secret",), (), trusts).knows_origin(request.clone(remote=remote)) is known


@pytest.mark.parametrize(("forwarded", "meant"), [("evil.example", False), ("localhost", True), (None, True)])
def test_the_host_that_a_trusted_proxy_was_asked_for_is_the_one_that_counts(forwarded, meant):
    headers = {"Host": "127.0.0.1:8443", **({"X-Forwarded-Host": forwarded} if forwarded else {})}
    request = make_mocked_request("GET", "/rooms/x", headers=headers).clone(remote="127.0.0.1")
    assert Authentication((), (), {"127.0.0.1"}.__contains__).is_addressed(request) is meant


def test_tokens_may_be_replaced():
    guard = Authentication(("old",), ())
    guard.replace_tokens(("new",))
    assert guard.accepts("Bearer new")
    assert not guard.accepts("Bearer old")


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("127.0.0.1:8443", True),
        ("localhost:8443", True),
        ("[::1]:8443", True),
        ("named.example", True),
        ("evil.example:8443", False),  # a page whose name was given our address
        ("127.0.0.1.evil.example", False),
        ("[", False),
    ],
)
def test_without_tokens_only_requests_to_this_machine_are_meant_for_us(host, meant):
    request = make_mocked_request("GET", "/rooms/x", headers={"Host": host})
    assert Authentication((), ("https://named.example",)).is_addressed(request) is meant
    elsewhere = make_mocked_request("GET", "/", headers={"Host": "bridge.example"})
    assert Authentication(("secret",), ()).is_addressed(elsewhere)


async def handle(request: web.Request) -> web.StreamResponse:
    """What the guard lets through."""
    if request.path == "/rooms/none":
        raise web.HTTPMethodNotAllowed("PATCH", ["GET"])
    return web.Response(text="passed")


BEARER = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/healthz", {"Authorization": "Bearer wrong"}, 200),
        *(("GET", f"{path}x", {}, 401) for path in GUARDED),
        ("GET", "/rooms/x", {"Authorization": "Bearer wrong"}, 401),
        ("GET", "/rooms/x", BEARER, 200),
        ("PATCH", "/rooms/none", BEARER, 405),
        ("OPTIONS", "/rooms/x", {}, 204),
        ("GET", "/rooms/x", {**BEARER, "Origin": "https://evil.example"}, 403),
        ("OPTIONS", "/rooms/x", {"Origin": "https://evil.example"}, 403),
        ("GET", "/", {"Origin": "https://named.example"}, 200),
        ("GET", "/rooms/x", {"Origin": "https://named.example"}, 401),
    ],
)
def test_what_is_refused_is_not_handled_and_every_answer_has_its_headers(method, path, headers, status):
    guard = Authentication(("secret",), ("https://named.example",)).guard
    answer = asyncio.run(guard(make_mocked_request(method, path, headers=headers), handle))
    assert (answer.status, getattr(answer, "text", None) == "passed") == (status, status == 200)
    assert answer.headers["Content-Security-Policy"] == authentication.POLICY
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
    assert answer.headers.get("Allow") == ("GET" if status == 405 else None)
    named = headers.get("Origin") == "https://named.example"
    assert answer.headers.get("Access-Control-Allow-Origin") == ("https://named.example" if named else None)


def test_a_request_that_was_meant_for_another_host_is_not_handled():
    answer = asyncio.run(Authentication((), ()).guard(make_mocked_request("GET", "/", headers={"Host": "a"}), handle))
    assert answer.status == 421


def test_any_bytes_in_a_header_are_a_wrong_token():
    assert not Authentication(("secret",), ()).accepts(b"Bearer \xff\xfe".decode("utf-8", "surrogateescape"))


def test_the_page_asks_nobody_else_and_nothing_but_the_page_is_served():
    served = files()
    assert set(served) == {"", "index.html", "style.css", "app.js", "call.js", "connection.js", "sound.js", "icon.svg"}
    assert not [name for name in served if name.endswith(".py")]
    for path in FOLDER.iterdir():
        if path.suffix in (".js", ".css", ".html"):
            text = path.read_text()
            assert "http://" not in text
            assert "https://" not in text
            assert "innerHTML" not in text
    assert "unsafe" not in authentication.POLICY
