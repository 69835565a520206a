"""A running bridge in front of slow clients, allowed pages, a reverse proxy, and a certificate that is replaced."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.live.bridge.test_calls import goes_on_hearing
from tests.live.bridge.test_limits import TONE

PAGE = "https://calls.example"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
TIMEOUT_S = 15.0


def port_of(bridge: Bridge) -> int:
    return int(bridge.url.rpartition(":")[2])


def answer(bridge: Bridge, source: str) -> bytes:
    """What GET /healthz says to a client at an address of this machine."""
    with socket.create_connection(("127.0.0.1", port_of(bridge)), TIMEOUT_S, (source, 0)) as client:
        client.sendall(HEAD + b"Connection: close\r\n\r\n")
        return client.recv(64)


def test_slow_and_idle_clients_are_closed_and_disturb_no_call(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null", settings="http_s = 2.0\nconnections_per_address = 40")

    async def attack() -> None:
        async with Client(bridge.url) as client:
            listener = await client.call("r", VoiceTrack(TONE))
            await client.call("r", VoiceTrack(TONE, loop=True))
            slow = [socket.create_connection(("127.0.0.1", port_of(bridge))) for _ in range(60)]
            for number, one in enumerate(slow):
                one.settimeout(TIMEOUT_S)
                one.send((b"", HEAD, HEAD + b"\r\n")[number % 3])
            assert b"200" in await asyncio.to_thread(answer, bridge, "127.0.0.2")
            await goes_on_hearing(listener)
            for one in slow:
                await asyncio.to_thread(drain, one)
            assert b"200" in await asyncio.to_thread(answer, bridge, "127.0.0.1")
            assert (await client.metrics())["rtsr_bridge_connections_refused_total"] > 0

    asyncio.run(attack())
    assert bridge.stop() == 0


def drain(client: socket.socket) -> None:
    """Read to the end; raises TimeoutError where it does not come."""
    with client:
        try:
            while client.recv(4_096):
                pass
        except ConnectionError:
            pass


def test_it_ends_though_a_client_has_not_sent_all_of_its_request(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null")
    with socket.create_connection(("127.0.0.1", port_of(bridge))) as client:
        client.sendall(b"POST /rooms/x/offer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.5)
        began = time.monotonic()
        bridge.process.send_signal(signal.SIGINT)
        bridge.wait_for("event=stopped", 30)
        assert time.monotonic() - began < 8  # its body has ten seconds
    assert bridge.stop(limit_s=60) == 0


@pytest.mark.parametrize("path", ["/rooms/two/offer", "/whip/two"])
def test_an_allowed_page_sees_why_and_when_to_retry(start_bridge: Callable[..., Bridge], path: str):
    bridge = start_bridge("--backend", "null", settings=f'origins = ["{PAGE}"]\nrooms = 1')

    async def ask() -> None:
        async with Client(bridge.url) as client:
            await client.call("one", VoiceTrack(TONE))
            offer = await client.offer()
            more = {"data": offer, "headers": {"Origin": PAGE, "Content-Type": "application/sdp"}}
            if path.startswith("/rooms"):
                more = {"json": {"sdp": offer}, "headers": {"Origin": PAGE}}
            async with client.http.post(path, **more) as reply:
                assert reply.status == 503
                assert reply.headers["Access-Control-Allow-Origin"] == PAGE
                assert "Retry-After" in reply.headers["Access-Control-Expose-Headers"]
                assert int(reply.headers["Retry-After"]) > 0
            async with client.http.post("/rooms/two/offer", data=b"{", headers={"Origin": PAGE}) as reply:
                assert reply.status == 400
                assert reply.headers["Access-Control-Allow-Origin"] == PAGE
                assert reply.headers["X-Content-Type-Options"] == "nosniff"

    asyncio.run(ask())


@pytest.mark.parametrize(("trusted", "status"), [("127.0.0.1", 400), ("192.0.2.1", 403)])
def test_the_page_behind_a_proxy_may_post_where_the_proxy_is_trusted(
    start_bridge: Callable[..., Bridge], trusted: str, status: int
):
    """400: it went as far as the offer, which is none."""
    bridge = start_bridge("--backend", "null", "--token", "secret", "--trusted-proxy", trusted)

    async def ask() -> int:
        async with Client(bridge.url, "secret") as client:
            headers = {"Origin": PAGE, "Host": "calls.example", "X-Forwarded-Proto": "https"}
            async with client.http.post("/rooms/x/offer", data=b"{", headers=headers) as reply:
                return reply.status

    assert asyncio.run(ask()) == status


def test_tokens_come_from_the_environment_and_show_in_no_list_of_processes(
    start_bridge: Callable[..., Bridge], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RTSR_BRIDGE_TOKENS", "verysecret another")
    bridge = start_bridge("--backend", "null")
    assert b"verysecret" not in Path(f"/proc/{bridge.process.pid}/cmdline").read_bytes()
    assert [status(bridge, token) for token in ("verysecret", "another", "wrong")] == [200, 200, 401]


def status(bridge: Bridge, token: str, context: ssl.SSLContext | None = None) -> int:
    """What a request with a token is answered with."""
    request = urllib.request.Request(bridge.url + "/rooms/x", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def certify(cert: Path, key: Path) -> ssl.SSLContext:
    """Write a new certificate with its key, and return the context of a client that trusts it alone."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", *curve, *name, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return ssl.create_default_context(cafile=str(cert))


def test_sighup_reads_the_certificate_and_the_tokens_again(start_bridge: Callable[..., Bridge], tmp_path: Path):
    cert, key, tokens = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "tokens"
    old = certify(cert, key)
    tokens.write_text("first\n")
    bridge = start_bridge("--backend", "null", "--tls", str(cert), str(key), "--token-file", str(tokens))
    assert status(bridge, "first", old) == 200
    new = certify(cert, key)
    tokens.write_text("second\n")
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait_for("event=reloaded")
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        status(bridge, "second", old)
    assert [status(bridge, token, new) for token in ("first", "second")] == [401, 200]
    cert.write_text("no certificate")
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait_for("event=not-reloaded why=")
    assert status(bridge, "second", new) == 200
    assert bridge.stop() == 0
