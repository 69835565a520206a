"""SIGHUP: what is secret is read again, and calls go on."""

from __future__ import annotations

import asyncio
import re
import secrets
import signal
import socket
import ssl
import threading
from pathlib import Path

import numpy as np
import pytest

from rtsr.bridge.sip.digest import Authenticator, credentials
from rtsr.bridge.sip.message import Response, answer, parse
from tests.bridge.sip_phone import Phone
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.live.bridge.test_http import certify

TLS_PORT = r"event=sip name=locked address=127.0.0.1:(\d+)"


class Registrar(threading.Thread):
    """Takes registrations of "room" with one password."""

    def __init__(self, password: str) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.authenticator = Authenticator("registrar", {"room": password})
        self.start()

    def run(self) -> None:
        while True:
            data, place = self.socket.recvfrom(1 << 16)
            request = parse(data)
            if request is None:
                return
            known = self.authenticator.user_of(request)[0]
            reply = answer(request, 200) if known else answer(request, 401, self.authenticator.challenges(), tag="r")
            self.socket.sendto(reply.write(), place)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"end", self.socket.getsockname())
        self.join(5)
        self.socket.close()


def settings(folder: Path, registrar: Registrar, password: str) -> str:
    return f"""
turn = ["turn:127.0.0.1:9"]
turn_username = "user"
turn_password = "{password}"
relay = false
[[bridge.sip]]
name = "locked"
listen = "127.0.0.1:0"
transport = "tls"
tls_cert = "{folder}/cert.pem"
tls_key = "{folder}/key.pem"
accounts = {{ alice = "{password}" }}
[[bridge.sip]]
name = "pbx"
listen = "127.0.0.1:0"
server = "sip:127.0.0.1:{registrar.socket.getsockname()[1]}"
register = true
username = "room"
password = "{password}"
"""


def invite(port: int, password: str, trusted: ssl.SSLContext) -> int:
    """Call by TLS as alice, and return the final status."""

    def ask(connection: ssl.SSLSocket, more: str) -> Response:
        branch = secrets.token_hex(8)
        connection.sendall(phone.message("INVITE", more=more, branch=branch).replace(b"SIP/2.0/UDP", b"SIP/2.0/TLS"))
        came = b""
        while not (final := re.search(rb"SIP/2\.0 [2-6]", came)):
            came += connection.recv(1 << 16)
        reply = parse(came[final.start() :])
        assert isinstance(reply, Response)
        return reply

    phone = Phone(port)
    Phone.opened.remove(phone)
    phone.own = 5061
    plain = socket.create_connection(("127.0.0.1", port), 5)
    with plain, trusted.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        first = ask(connection, "")
        name, value = credentials(first, "INVITE", f"sip:desk@127.0.0.1:{port}", "alice", password)
        return ask(connection, f"{name}: {value}").status


async def turn_password(bridge: Bridge) -> str:
    async with Client(bridge.url) as client, client.http.get("/ice") as reply:
        return (await reply.json())["iceServers"][0]["credential"]


@pytest.mark.alone
def test_passwords_and_certificates_of_sip_and_turn_are_read_again(start_bridge, tmp_path: Path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    old, registrar = certify(cert, key), Registrar("two")
    bridge = start_bridge("--backend", "null", settings=settings(tmp_path, registrar, "one"))
    port, config = int(bridge.wait_for(TLS_PORT)), tmp_path / "bridge.toml"
    bridge.wait_for("sip not registered")

    async def run() -> None:
        async with Client(bridge.url) as client:
            await client.call("lasts", VoiceTrack(np.zeros(960, np.float32)))
            assert [invite(port, password, old) for password in ("one", "two")] == [200, 401]
            new = certify(cert, key)
            config.write_text(f"[bridge]\n{settings(tmp_path, registrar, 'two')}")
            bridge.process.send_signal(signal.SIGHUP)
            bridge.wait_for("event=reloaded")
            with pytest.raises(ssl.SSLCertVerificationError):
                invite(port, "two", old)
            assert [invite(port, password, new) for password in ("one", "two")] == [401, 200]
            assert await turn_password(bridge) == "two"
            bridge.wait_for('event="?sip registered"? name=pbx', 2.0)
            key.write_text("no key")
            config.write_text(f"[bridge]\n{settings(tmp_path, registrar, 'three')}")
            bridge.process.send_signal(signal.SIGHUP)
            bridge.wait_for("event=not-reloaded why=")
            await asyncio.sleep(1)  # credentials are taken once, and there is a new challenge each second
            assert invite(port, "two", new) == 200
            assert await turn_password(bridge) == "two"
            assert len(await client.room("lasts")) == 1

    try:
        asyncio.run(run())
        assert bridge.stop() == 0
    finally:
        registrar.stop()
