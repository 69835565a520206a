"""Tokens and origins, without a network."""

from __future__ import annotations

import inspect

import pytest
from aiohttp.test_utils import make_mocked_request

from rtsr.bridge import door
from rtsr.bridge.door import Door
from rtsr.bridge.page import FOLDER, files


@pytest.mark.parametrize(
    ("header", "opens"),
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
def test_tokens(header, opens):
    assert Door(("secret", "other"), ()).opens(header) is opens


def test_without_tokens_it_stands_open():
    assert Door((), ()).opens(None)


def test_tokens_are_compared_in_constant_time():
    assert "hmac.compare_digest" in inspect.getsource(Door.opens)


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
    assert Door((), ("https://named.example",)).knows(request) is known


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
    assert Door((), ("https://named.example",)).is_addressed(request) is meant
    assert Door(("secret",), ()).is_addressed(make_mocked_request("GET", "/", headers={"Host": "bridge.example"}))


def test_any_bytes_in_a_header_are_a_wrong_token():
    assert not Door(("secret",), ()).opens(b"Bearer \xff\xfe".decode("utf-8", "surrogateescape"))


def test_the_page_asks_nobody_else_and_nothing_but_the_page_is_served():
    served = files()
    assert set(served) == {"", "index.html", "style.css", "app.js", "call.js", "sound.js", "icon.svg"}
    assert not [name for name in served if name.endswith(".py")]
    for path in FOLDER.iterdir():
        if path.suffix in (".js", ".css", ".html"):
            text = path.read_text()
            assert "http://" not in text
            assert "https://" not in text
            assert "innerHTML" not in text
    assert "unsafe" not in door.POLICY
