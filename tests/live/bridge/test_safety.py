"""What a hostile client and a vanished peer do to the calls of others: nothing."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
import struct
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import aiohttp
import numpy as np

from rtsr.bridge.rtp import write
from tests.live.bridge.peers import Client, VoiceTrack
from tests.live.bridge.server import Bridge
from tests.live.bridge.test_calls import goes_on_hearing, nobody, until

TONE = (0.3 * np.sin(2 * np.pi * 500 * np.arange(48_000) / 48_000)).astype(np.float32)
SDP = {"Content-Type": "application/sdp"}


def broken(offer: str, rng: random.Random) -> str:
    """An offer with a few of its lines lost, doubled, moved, or written wrongly."""
    lines = offer.split("\r\n")
    for _ in range(rng.randint(1, 6)):
        at, what = rng.randrange(len(lines)), rng.randrange(6)
        if what == 0:
            del lines[at]
        elif what == 1:
            lines.insert(at, rng.choice(lines))
        elif what == 2:
            rng.shuffle(lines)
        elif what == 3:
            lines[at] = re.sub(r"\d+", lambda _: str(rng.choice([-1, 0, 2**31, 2**64, 10**30])), lines[at])
        elif what == 4:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        else:
            text = list(lines[at] or "x")
            text[rng.randrange(len(text))] = chr(rng.choice([0, 10, 37, 255, 0x1F600]))
            lines[at] = "".join(text)
        lines = lines or ["v=0"]
    return "\r\n".join(lines)


def test_malformed_offers_bodies_and_candidates_never_end_it(start_bridge: Callable[..., Bridge]):
    bridge, rng = start_bridge("--backend", "null", settings="connect_s = 1.0", calls=16), random.Random(7)

    async def attack() -> set[int]:
        statuses = set()
        async with Client(bridge.url) as client:
            offer = await client.offer()
            for number in range(150):
                sdp = broken(offer, rng)
                path, body = ("/whip/x", sdp.encode("utf-8", "replace")) if number % 2 else ("/rooms/x/offer", sdp)
                more = {"data": body, "headers": SDP} if number % 2 else {"json": {"sdp": body, "type": "offer"}}
                async with client.http.post(path, **more) as reply:
                    statuses.add(reply.status)
                    assert reply.status < 500 or reply.status == 503, await reply.text()
                    place = reply.headers.get("Location")
                if place:
                    async with client.http.delete(place) as reply:
                        assert reply.status in (200, 404)
            bodies = [
                b"",
                b"[]",
                b"{",
                b'{"sdp": 1}',
                b"[" * 60_000,
                b'{"sdp": "v=0", "narrow_hz": "x"}',
                b"\xff" * 100,
            ]
            for body in bodies:
                async with client.http.post("/rooms/x/offer", data=body) as reply:
                    assert reply.status == 400
            wishes = [{"echo": 1}, {"name": "x" * 65}, {"narrow_hz": 8_001}, {"narrow_hz": [8_000]}, {"name": 3}]
            for wish in wishes:
                async with client.http.post("/rooms/x/offer", json={"sdp": offer, **wish}) as reply:
                    assert reply.status == 400
            await until(lambda: nobody(client), 15)
        return statuses

    statuses = asyncio.run(attack())
    assert {201, 400} <= statuses
    assert not [line for line in bridge.lines if "error=" in line], "\n".join(bridge.lines[-20:])
    assert bridge.stop() == 0


def test_garbage_on_every_port_does_not_disturb_a_call(start_bridge: Callable[..., Bridge]):
    """Datagrams of every kind to the media ports and to the RTP leg while two talk."""
    bridge = start_bridge("--rtp", "127.0.0.1:0", "--room", "desk", "--backend", "null")
    rng = random.Random(3)

    def datagram() -> bytes:
        heads = [b"\x00\x01\x00\x00\x21\x12\xa4\x42", b"\x16\xfe\xff", b"\x80\x00", b"\x80\xc8", b"\x90\xe0", b""]
        return rng.choice(heads) + rng.randbytes(rng.choice([0, 1, 11, 12, 100, 1_400, 9_000]))

    async def attack() -> None:
        async with Client(bridge.url) as client:
            listener = await client.call("desk", VoiceTrack(np.zeros(960, np.float32)))
            await client.call("desk", VoiceTrack(TONE, loop=True))
            ports = media_ports(bridge.process.pid)
            assert len(ports) >= 3
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
                attacker.setblocking(False)
                for _ in range(1_500):
                    for address in ports:
                        attacker.sendto(datagram(), address)
                    await asyncio.sleep(0.0005)
            await goes_on_hearing(listener)
            assert (await client.text("/healthz"))[0] == 200
            assert len([c for c in await client.room("desk") if c["kind"] == "call"]) == 2

    asyncio.run(attack())
    assert bridge.stop() == 0


def media_ports(process: int) -> list[tuple[str, int]]:
    """The IPv4 datagram ports that a process has bound."""
    listed = subprocess.run(["ss", "-H", "-u", "-a", "-n", "-p"], capture_output=True, text=True, check=True).stdout
    found = []
    for line in listed.splitlines():
        address = line.split()[3]
        if f"pid={process}," in line and "[" not in address:
            host, _, port = address.rpartition(":")
            found.append((host.split("%")[0], int(port)))
    return found


def test_clients_that_reset_their_requests_do_not_end_it(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null", "--rtp", "127.0.0.1:0", settings="rtp_silent_s = 600.0")
    host, port = "127.0.0.1", int(bridge.url.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as telephone:
        for number in range(2):
            packet = write(0, number, number * 160, 7, bytes(160))
            telephone.sendto(packet, (host, int(bridge.wait_for(r"event=rtp address=127.0.0.1:(\d+)"))))
    call = bridge.wait_for('event="rtp caller".* call=(\\S+)')
    body = b'{"bypass": true}'
    head = f"PATCH /rooms/phone/calls/{call} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    for number in range(400):
        with socket.create_connection((host, port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
            client.sendall(request)
            time.sleep(0.0005 * (number % 8))  # within a tick
    with urllib.request.urlopen(bridge.url + "/healthz") as reply:
        assert reply.status == 200
    assert bridge.process.poll() is None


def test_a_peer_that_vanishes_is_let_go(start_bridge: Callable[..., Bridge]):
    bridge = start_bridge("--backend", "null", settings="idle_s = 1.0")

    async def call() -> None:
        async with Client(bridge.url) as client:
            stays = await client.call("r", VoiceTrack(TONE, loop=True))
            gone = await client.call("r", VoiceTrack(TONE, loop=True))
            for transceiver in gone.connection.getTransceivers():  # without a word: no BYE, no DTLS alert
                ice = transceiver.sender.transport.transport._connection
                for protocol in ice._protocols:
                    protocol.transport.abort()
            await until(lambda: are(client, "r", 1), 10)
            assert stays.connection.connectionState == "connected"
            stays.blocks.clear()
            await asyncio.sleep(0.5)
            assert stays.blocks

    asyncio.run(call())
    bridge.wait_for('event=ended .*why="nothing heard')


async def are(client: Client, room: str, count: int) -> bool:
    return len(await client.room(room)) == count


def test_nothing_is_served_but_the_page(bridge: Bridge):
    async def ask() -> None:
        async with aiohttp.ClientSession() as http:
            for path in (
                "/service.py",
                "/../service.py",
                "/%2e%2e/service.py",
                "/page/",
                "/__init__.py",
                "//etc/passwd",
            ):
                url = f"{bridge.url}{path}"
                async with http.get(aiohttp.client.URL(url, encoded=True)) as reply:
                    assert reply.status == 404
            for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")):
                async with http.get(bridge.url + path) as reply:
                    assert reply.status == 200
                    assert reply.content_type == kind
                    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]

    asyncio.run(ask())


def test_tls(start_bridge: Callable[..., Bridge], tmp_path: Path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)),
            *("-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    bridge = start_bridge("--tls", str(cert), str(key), "--backend", "null")
    assert bridge.url.startswith("https://")

    async def ask() -> None:
        context = ssl.create_default_context(cafile=str(cert))
        async with aiohttp.ClientSession() as http, http.get(bridge.url + "/readyz", ssl=context) as reply:
            assert await reply.text() == "ready\n"

    asyncio.run(ask())
