"""The settings of `rtsr bridge`: what is taken, and the errors where one is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rtsr.bridge.config import BridgeSettings, address, make_settings, port_range
from rtsr.errors import InvalidSetting

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"listen": "0.0.0.0:0"}, "--token"),
        ({"listen": "[::]:1"}, "--token"),
        ({"listen": "0.0.0.0:0", "tokens": ("secret",)}, "--allow-plain-http"),
        ({"listen": "192.0.2.1:0", "token_file": "tokens"}, "without TLS"),
        ({"trusted_proxies": ("proxy.example",)}, "an address or a network"),
        ({"trusted_proxies": ("10.0.0.1/8",)}, "host bits"),
        ({"http_s": 0.5}, "1 to 3600"),
        ({"connections": 0}, "1 to 100000"),
        ({"listen": "nonsense"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:70000"}, "HOST:PORT"),
        ({"rtp": "127.0.0.1:x"}, "HOST:PORT"),
        ({"rtp": "0.0.0.0:4000"}, "--rtp-source"),
        ({"rtp_sources": ("192.0.2.1/24",)}, "network"),
        ({"rtp_silent_s": 0.5}, "1 to 600"),
        ({"codec": "g729"}, "pcmu"),
        ({"room": "a/b"}, "letters"),
        ({"packet_ms": 15}, "10 or 20"),
        ({"tls_cert": "x.pem"}, "both"),
        ({"tokens": ("",)}, "empty"),
        ({"calls": 0}, "1 to 1000"),
        ({"peers": 1}, "2 to 1000"),
        ({"idle_s": True}, "float"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_expected(given, said):
    with pytest.raises(InvalidSetting, match=re.escape(said)):
        make_settings(None, given)


def test_a_file_is_read_and_overridden(tmp_path):
    path = tmp_path / "rtsr.toml"
    path.write_text(
        '[live]\nrate = 16000\n[bridge]\nlisten = "0.0.0.0:9000"\ntokens = ["a", "b"]\npeers = 4\n'
        "allow_plain_http = true\n"
    )
    settings = make_settings(path, {"peers": 3, "room": None})
    assert settings == BridgeSettings(listen="0.0.0.0:9000", tokens=("a", "b"), peers=3, allow_plain_http=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[bridge]\nport = 1\n", "no setting"), ("[brige]\n", "bridge"), ("bridge = 1\n", "table"), ("[", "TOML")],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, text, said):
    path = tmp_path / "rtsr.toml"
    path.write_text(text)
    with pytest.raises(InvalidSetting, match=re.escape(said)):
        make_settings(path, {})


def test_addresses():
    assert address("127.0.0.1:80", "x") == ("127.0.0.1", 80)
    assert address("[::1]:8443", "x") == ("::1", 8443)
    assert address("localhost:0", "x") == ("localhost", 0)
    assert address("localhost:65535", "x") == ("localhost", 65_535)


@pytest.mark.parametrize("text", ["a", ":1", "a:", "a:-1", "a:65536", "a:000001", "a:²", "a:" + 5_000 * "9"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidSetting, match="x: expected HOST:PORT"):
        address(text, "x")


@pytest.mark.parametrize(
    ("text", "read"), [("10000-10999", (10_000, 10_999)), ("2-3", (2, 3)), ("1-3", (1, 3)), ("1-65535", (1, 65_535))]
)
def test_a_range_of_ports_is_read(text, read):
    assert port_range(text, "x") == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (text, "FIRST-LAST")
            for text in ("", "9", "9-", "-9", "0-9", "9-65536", "000002-9", "2-²", "2-" + 5_000 * "9")
        ),
        *((text, "an even port and the next one") for text in ("1-2", "2-2", "9-2")),
    ],
)
def test_a_range_without_a_pair_of_ports_is_refused(text, said):
    with pytest.raises(InvalidSetting, match=f"x: expected .*{said}"):
        port_range(text, "x")


def test_tokens_without_tls_may_pass_where_that_is_said_or_nobody_is_on_the_way():
    BridgeSettings(listen="0.0.0.0:0", tokens=("secret",), allow_plain_http=True)
    BridgeSettings(listen="0.0.0.0:0", tokens=("secret",), tls_cert="cert.pem", tls_key="key.pem")
    BridgeSettings(listen="127.0.0.1:0", tokens=("secret",))
    BridgeSettings(listen="[::1]:0", tokens=("secret",))


def test_tokens_of_a_file(tmp_path):
    path = tmp_path / "tokens"
    settings = BridgeSettings(tokens=("a",), token_file=str(path))
    with pytest.raises(InvalidSetting, match="cannot be read"):
        settings.all_tokens()
    path.write_text(" \n")
    with pytest.raises(InvalidSetting, match="a token a line"):
        settings.all_tokens()
    path.write_bytes(b"\xff\n")
    with pytest.raises(InvalidSetting, match="cannot be read"):
        settings.all_tokens()
    path.write_text("b\n\n c \r\n")
    assert settings.all_tokens() == ("a", "b", "c")
    assert BridgeSettings(tokens=("a",)).all_tokens() == ("a",)


def test_who_is_trusted():
    settings = BridgeSettings(trusted_proxies=("192.0.2.1", "10.0.0.0/8", "fd00::/8"))
    assert all(map(settings.trusts, ("192.0.2.1", "10.9.9.9", "fd00::1")))
    assert not any(map(settings.trusts, ("192.0.2.2", "::1", "", "unix")))
    assert not BridgeSettings().trusts("127.0.0.1")


def test_tokens_of_the_environment(monkeypatch):
    from typer.testing import CliRunner

    from rtsr.bridge import service
    from rtsr.cli import app, bridge  # noqa: F401  bridge registers its command

    seen: list[BridgeSettings] = []

    class BridgeService:
        def __init__(self, settings: BridgeSettings, read: object) -> None:
            seen.append(settings)

        def run(self) -> None:
            """Nothing is served here."""

    monkeypatch.setattr(service, "BridgeService", BridgeService)
    monkeypatch.setenv("RTSR_BRIDGE_TOKENS", "one two")
    for arguments in (["bridge"], ["bridge", "--token", "three"]):
        assert CliRunner().invoke(app, arguments).exit_code == 0
    assert [settings.tokens for settings in seen] == [("one", "two"), ("three",)]


def test_the_command_line_explains_itself_and_fails_in_one_line():
    def rtsr(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rtsr", "bridge", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    shown = rtsr("--help").stdout
    assert "rtsr bridge --rtp 127.0.0.1:4000 --room desk" in " ".join(shown.split())
    refused = rtsr("--listen", "0.0.0.0:8443")
    assert refused.returncode == 1
    assert "--token" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_is_advertised_stands_for_an_address_of_its_version_but_not_for_loopback():
    settings = BridgeSettings(advertise=("203.0.113.4", "2001:db8::4"))
    hosts = ("10.8.0.2", "fd00::2", "127.0.0.1", "::1", "0.0.0.0")
    found = [settings.address_for_others(host) for host in hosts]
    assert found == ["203.0.113.4", "2001:db8::4", "127.0.0.1", "::1", "203.0.113.4"]
    assert BridgeSettings(advertise=("203.0.113.4",)).address_for_others("fd00::2") == "fd00::2"
