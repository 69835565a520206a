"""Tokens and origins, without a network."""

from __future__ import annotations

import hmac

import pytest
from aiohttp.test_utils import make_mocked_request

from rtsr.bridge import authentication
from rtsr.bridge.authentication import Authentication
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


def test_any_bytes_in_a_header_are_a_wrong_token():
    assert not Authentication(("secret",), ()).accepts(b"Bearer \xff\xfe".decode("utf-8", "surrogateescape"))


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
    assert "unsafe" not in authentication.POLICY
