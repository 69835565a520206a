"""STUN and TURN servers: URLs, credentials, and what peers are told."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from rtsr.bridge.config import BridgeSettings, make_settings
from rtsr.bridge.ice_servers import Credential, IceServer, IceServers
from rtsr.errors import InvalidSetting

TURN = "turn:turn.example.org?transport=tcp"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("turn:a.example", ("a.example", 3478, False, "udp")),
        ("turn:192.0.2.1:80?transport=tcp", ("192.0.2.1", 80, False, "tcp")),
        ("turns:a.example", ("a.example", 5349, True, "tcp")),
        ("turns:[2001:db8::1]:443?transport=tcp", ("2001:db8::1", 443, True, "tcp")),
    ],
)
def test_urls_of_turn(url, expected):
    one = IceServer.read(url, "turn")
    assert (one.host, one.port, one.tls, one.transport) == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stun": ("turn:a",)}, "stun: expected a URL"),
        ({"stun": ("stun:a?transport=udp",)}, "stun: expected a URL"),
        ({"turn": ("stun:a",), "turn_secret": "s"}, "turn: expected a URL"),
        ({"turn": ("turn:a:0",), "turn_secret": "s"}, "1 to 65535"),
        ({"turn": ("turns:a?transport=udp",), "turn_secret": "s"}, "DTLS"),
        ({"turn": ("turn:a\r\nX: y",), "turn_secret": "s"}, "turn: expected a URL"),
        ({"turn": (TURN,)}, "turn_secret, or turn_username"),
        ({"turn": (TURN,), "turn_secret": "s", "turn_username": "u", "turn_password": "p"}, "not both"),
        ({"turn": (TURN,), "turn_username": "u"}, "both or none"),
        ({"turn": (TURN,), "turn_username": "u", "turn_password": "p\n"}, "printable"),
        ({"turn_secret": "s"}, "expected a TURN server"),
        ({"turn": (TURN,), "turn_secret": "s", "turn_lifetime_s": 1.0}, "60 to 604800"),
        ({"advertise": ("bridge.example",)}, "numeric address"),
        ({"advertise": ("192.0.2.1", "192.0.2.2")}, "one of each"),
        ({"ice_ports": "20000"}, "FIRST-LAST"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InvalidSetting, match=said):
        make_settings(None, settings)


def test_a_secret_makes_credentials_that_expire():
    servers = IceServers(turn=(TURN,), secret="shared", lifetime_s=600, clock=lambda: 1_000.2)
    one, other = servers.credential(), servers.credential()
    expires, _, user = one.username.partition(":")
    assert expires == "1600"
    assert user.startswith("rtsr-")
    assert one.username != other.username
    digest = hmac.new(b"shared", one.username.encode(), hashlib.sha1).digest()
    assert one.password == base64.b64encode(digest).decode()


def test_what_peers_are_told():
    servers = IceServers(("stun:s.example",), (TURN,), Credential("u", 'p"w'))
    assert servers.configuration() == [
        {"urls": ["stun:s.example"]},
        {"urls": [TURN], "username": "u", "credential": 'p"w'},
    ]
    assert servers.links() == [
        '<stun:s.example>; rel="ice-server"',
        f'<{TURN}>; rel="ice-server"; username="u"; credential="p\\"w"; credential-type="password"',
    ]
    assert IceServers().configuration() == IceServers().links() == []


def test_settings_make_servers():
    settings = BridgeSettings(turn=(TURN,), turn_username="u", turn_password="p")
    assert settings.ice_servers().credential() == Credential("u", "p")
