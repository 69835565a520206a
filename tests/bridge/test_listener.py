"""Connections of the HTTP server: what slow, idle and many clients are allowed, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.listener import Listener, _counted_as

pytestmark = pytest.mark.realtime

LIMIT_S = 1.0
TIMEOUT_S = 10.0  # on a busy machine
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LARGE = 32 << 20  # more than the kernel's buffers hold


async def small(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def large(_: web.Request) -> web.Response:
    return web.Response(body=bytes(LARGE))


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, **limits: object) -> AsyncIterator[tuple[Listener, int]]:
    """A small server on a free port, swept often."""
    app = web.Application()
    app.router.add_get("/", small)
    app.router.add_get("/large", large)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=LIMIT_S, shutdown_timeout=0.1)
    await runner.setup()
    listener = Listener(runner.server, tls, BridgeSettings(listen="127.0.0.1:0", http_s=LIMIT_S, **limits))
    url = await listener.open()

    async def sweep() -> None:
        while True:
            listener.sweep()
            await asyncio.sleep(0.05)

    sweeping = asyncio.ensure_future(sweep())
    try:
        yield listener, int(url.rpartition(":")[2])
    finally:
        sweeping.cancel()
        await listener.stop()
        await runner.cleanup()
        await listener.close()
        assert listener.count == 0


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(round(TIMEOUT_S / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {TIMEOUT_S} s")


async def connect(port: int, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


async def is_served(port: int, source: str = "127.0.0.1") -> bool:
    """Whether a connection from an address gets an answer; it is closed again."""
    try:
        reader, writer = await connect(port, source)
        writer.write(HEAD + b"Connection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), TIMEOUT_S)
        writer.close()
    except ConnectionError:
        return False
    return answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("first", [b"", HEAD, HEAD + b"\r\n"], ids=["nothing", "half a head", "one request"])
def test_who_sends_nothing_more_is_closed(first):
    async def wait() -> None:
        async with serving() as (listener, port):
            reader, writer = await connect(port)
            writer.write(first)
            await asyncio.wait_for(reader.read(), TIMEOUT_S)
            writer.close()
            await until(lambda: listener.count == 0)

    asyncio.run(wait())


def test_who_sends_a_head_byte_by_byte_is_closed():
    async def drip() -> None:
        async with serving() as (listener, port):
            reader, writer = await connect(port)
            writer.write(HEAD + b"X: ")
            await until(lambda: listener.count == 1)
            for _ in range(round(TIMEOUT_S / 0.05)):
                if listener.count == 0:
                    break
                with contextlib.suppress(ConnectionError):
                    writer.write(b"x")
                await asyncio.sleep(0.05)
            assert listener.count == 0
            writer.close()
            with contextlib.suppress(ConnectionError):
                await reader.read()

    asyncio.run(drip())


def test_who_does_not_take_its_answer_is_closed():
    async def wait() -> None:
        async with serving() as (listener, port):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect(("127.0.0.1", port))
                await until(lambda: listener.count == 1)
                client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
                await until(lambda: listener.count == 0)
            assert listener.slow == 1

    asyncio.run(wait())


def test_one_address_has_its_share_and_others_have_theirs():
    async def come() -> None:
        async with serving(connections_per_address=3) as (listener, port):
            held = [await connect(port) for _ in range(3)]
            await until(lambda: listener.count == 3)
            assert not await is_served(port)
            assert await is_served(port, "127.0.0.2")
            assert listener.refused == 1
            held.pop()[1].close()
            await until(lambda: listener.count == 2)
            assert await is_served(port)
            for _, writer in held:
                writer.close()

    asyncio.run(come())


def test_a_trusted_proxy_has_all_there_is():
    async def come() -> None:
        limits = {"connections": 5, "connections_per_address": 1, "trusted_proxies": ("127.0.0.0/30",)}
        async with serving(**limits) as (listener, port):
            held = [await connect(port) for _ in range(5)]
            await until(lambda: listener.count == 5)
            assert not await is_served(port, "127.0.0.9")
            for _, writer in held:
                writer.close()
            await until(lambda: listener.count == 0)
            assert await is_served(port, "127.0.0.9")

    asyncio.run(come())


def test_a_handshake_that_never_comes_is_closed(certificate: tuple[Path, Path]):
    async def wait() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        async with serving(context) as (listener, port):
            for first in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
                reader, writer = await connect(port)
                writer.write(first)
                with contextlib.suppress(ConnectionError):
                    await asyncio.wait_for(reader.read(), TIMEOUT_S)
                writer.close()
            await until(lambda: listener.count == 0)
            trusting = ssl.create_default_context(cafile=str(certificate[0]))
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            writer.write(HEAD + b"Connection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(wait())


def test_without_a_descriptor_it_waits_and_goes_on(monkeypatch, caplog):
    async def come() -> None:
        async with serving() as (_, port):
            loop, fails = asyncio.get_running_loop(), [errno.EMFILE, errno.ECONNABORTED, errno.EMFILE]
            accept = loop.sock_accept

            async def scarce(listening: socket.socket) -> object:
                if fails:
                    raise OSError(fails.pop(), "too many open files")
                return await accept(listening)

            monkeypatch.setattr(loop, "sock_accept", scarce)
            for _ in range(3):
                assert await is_served(port)
            assert not fails

    asyncio.run(come())
    assert "too many open files" in caplog.text


def test_an_address_counts_for_itself_and_a_customer_of_ipv6_for_one():
    assert _counted_as("192.0.2.1") == "192.0.2.1"
    assert _counted_as("2001:db8:1:2::5") == _counted_as("2001:db8:1:2:ffff::1") == "2001:db8:1:2::"
    assert _counted_as("2001:db8:1:3::5") == "2001:db8:1:3::"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", *curve, *name, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
