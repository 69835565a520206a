"""Who may ask about the whole fleet, and what a bridge is told of the client."""

from __future__ import annotations

import pytest

from rtsr.bridge.authentication import Authentication
from rtsr.bridge.config import BridgeSettings
from rtsr.fleet.access import refusal
from rtsr.fleet.forward import Asked, kept, last


@pytest.mark.parametrize(
    ("tokens", "headers", "status"),
    [
        ((), {"host": "127.0.0.1:8443"}, None),
        ((), {"host": "localhost"}, None),
        ((), {"host": "rebound.example"}, 421),
        ((), {"host": "["}, 421),
        ((), {}, 421),
        ((), {"host": "127.0.0.1", "origin": "http://127.0.0.1"}, 403),
        (("secret",), {"host": "fleet.example"}, 401),
        (("secret",), {"host": "fleet.example", "authorization": "Bearer wrong"}, 401),
        (("secret",), {"host": "fleet.example", "authorization": "Bearer secret"}, None),
    ],
)
def test_who_may_ask(tokens, headers, status):
    settings = BridgeSettings(tokens=tokens)
    answer = refusal(Asked("GET", "/fleet", "", headers), settings, Authentication(tokens, ()))
    assert (answer.status if answer else None) == status
    if status == 401:
        assert ("WWW-Authenticate", "Bearer") in answer.headers


def test_the_value_of_the_nearest_proxy_counts():
    assert last("https, http") == "http"
    assert last("") == ""


def test_headers_about_the_connection_stay_behind():
    given = [("Location", "/x"), ("Link", "a"), ("Link", "b"), ("Content-Length", "4"), ("Date", "now")]
    assert kept(given) == given[:3]
