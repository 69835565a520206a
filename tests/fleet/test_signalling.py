"""The gateway's answers where bridges are gone, full, or not there, and what it hands on to a real one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.service import BridgeService
from rtsr.fleet.config import FleetSettings, of_worker
from rtsr.fleet.forward import Answer, Asked, Forward
from rtsr.fleet.placement import Fleet, Worker
from rtsr.fleet.signalling import Signalling
from rtsr.fleet.watch import Watch

HERE = {"host": "127.0.0.1:8443"}
OFFER = json.dumps({"sdp": "v=0"}).encode()


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def gateway(test: Callable[[Signalling], Awaitable[None]], **urls: str) -> None:
    """Run a test on a gateway to workers at these addresses."""

    async def run() -> None:
        settings = BridgeSettings()
        forward, fleet = Forward(settings), Fleet()
        for name, url in urls.items():
            fleet.workers[name] = Worker(name, f"node-{name}", url, limit=4)
        try:
            await test(Signalling(fleet, FleetSettings(), settings, forward))
        finally:
            await forward.close()

    asyncio.run(run())


def ask(method: str, path: str, body: bytes = b"", query: str = "") -> Asked:
    return Asked(method, path, query, HERE, body)


def said(answer: Answer) -> dict[str, object]:
    return json.loads(answer.body)


@pytest.fixture
def bridge() -> BridgeService:
    return BridgeService(of_worker(BridgeSettings(backend="null"), "127.0.0.1", "127.0.0.1", 2, "a", b""))


async def serve(bridge: BridgeService) -> tuple[web.AppRunner, str]:
    """Let a bridge answer requests; it carries no sound."""
    runner = web.AppRunner(bridge.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


def test_without_a_worker_clients_are_told_to_come_again():
    async def test(signalling: Signalling) -> None:
        for asked in (ask("POST", "/rooms/one/offer", OFFER), ask("GET", "/ice"), ask("GET", "/rooms/one")):
            answer = await signalling.answer(asked)
            assert answer.status == 503
            assert ("Retry-After", "10") in answer.headers
        assert [(await signalling.answer(ask("GET", path))).status for path in ("/healthz", "/readyz")] == [503, 503]

    gateway(test)


def test_a_call_whose_worker_is_gone_is_set_up_on_another_at_once(bridge: BridgeService):
    async def test(signalling: Signalling) -> None:
        runner, url = await serve(bridge)
        fleet = signalling.fleet
        try:
            fleet.workers["b"].url = url
            fleet.homes["one"] = "a"
            fleet.workers["a"].rooms["one"] = 1
            answer = await signalling.answer(ask("POST", "/rooms/one/offer", OFFER))
            assert answer.status == 400, "the bridge has read the offer"
            assert "audio" in said(answer)["error"] or "SDP" in said(answer)["error"]
            assert (fleet.homes["one"], fleet.workers["a"].url, fleet.lost) == ("b", "", 1)
        finally:
            await runner.cleanup()

    gateway(test, a=nowhere(), b="")


def test_the_calls_of_a_worker_that_is_gone_have_ended():
    async def test(signalling: Signalling) -> None:
        fleet = signalling.fleet
        fleet.homes["one"] = "a"
        assert (await signalling.answer(ask("DELETE", "/rooms/one/calls/1-x"))).status == 200
        fleet.workers["a"].url = nowhere()
        fleet.homes["one"] = "a"
        assert (await signalling.answer(ask("PATCH", "/rooms/one/calls/1-x", b"{}"))).status == 502

    gateway(test, a=nowhere())


def test_what_a_bridge_answers_is_handed_on(bridge: BridgeService):
    async def test(signalling: Signalling) -> None:
        runner, url = await serve(bridge)
        signalling.fleet.workers["a"].url = url
        try:
            room = await signalling.answer(ask("GET", "/rooms/one"))
            assert (room.status, said(room)["calls"]) == (200, [])
            assert any(name == "X-Content-Type-Options" for name, _ in room.headers)
            assert (await signalling.answer(ask("GET", "/calls/1-x"))).status == 404
            page = await signalling.answer(ask("GET", "/"))
            assert (page.status, b"<html" in page.body) == (200, True)
            evil = Asked("GET", "/rooms/one", "", {"host": "rebound.example"}, remote="192.0.2.1")
            assert (await signalling.answer(evil)).status == 421, "a bridge without tokens answers this machine alone"
        finally:
            await runner.cleanup()

    gateway(test, a="")


def test_a_media_stream_is_sent_to_the_worker_of_its_room():
    async def test(signalling: Signalling) -> None:
        url = signalling.fleet.workers["a"].url
        answer = await signalling.answer(ask("GET", "/media/one", query="rate=8000"))
        assert (answer.status, answer.headers) == (307, [("Location", f"{url}/media/one?rate=8000")])
        answer = await signalling.answer(ask("POST", "/fleet/rooms/one"))
        assert said(answer) == {"worker": "a", "node": "node-a", "url": url}

    gateway(test, a=nowhere())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"worker": "a"}, 200),
        ({"node": "node-a", "limit_s": 0}, 200),
        ({"worker": "x"}, 404),
        ({"node": "x"}, 404),
        ({}, 400),
        ({"worker": "a", "node": "node-a"}, 400),
        ({"worker": "a", "limit_s": -1}, 400),
        ({"worker": "a", "limit_s": True}, 400),
        ({"worker": "a", "drain": 1}, 400),
        ({"worker": ["a"]}, 400),
        ({"worker": "a", "limits": 1}, 400),
        ([], 400),
    ],
)
def test_requests_to_drain(body, status):
    async def test(signalling: Signalling) -> None:
        answer = await signalling.answer(ask("POST", "/fleet/drain", json.dumps(body).encode()))
        assert answer.status == status
        assert (signalling.fleet.workers["a"].drain_by_s is not None) == (status == 200)

    gateway(test, a="")


def test_a_look_takes_in_workers_and_forgets_those_whose_node_is_gone(bridge: BridgeService):
    class Nodes:
        """A Ray cluster whose nodes come and go at the test's word."""

        def __init__(self) -> None:
            self.there: dict[str, str] = {"a": "n", "b": "m"}
            self.urls: dict[str, str] = {}
            self.wanted = 0

        async def reconcile(self) -> dict[str, str]:
            return self.there

        async def where(self, name: str) -> tuple[str, dict[str, int]]:
            return self.urls.get(name, ""), {}

        async def want(self, voices: int) -> None:
            self.wanted = voices

    async def test(signalling: Signalling) -> None:
        runner, url = await serve(bridge)
        nodes, fleet = Nodes(), signalling.fleet
        nodes.urls = {"a": url, "b": nowhere()}
        watch = Watch(signalling, nodes)
        try:
            await watch.reconcile()
            await watch.look(0.0)
            assert (fleet.workers["a"].limit, fleet.workers["a"].url) == (2, url)
            assert (fleet.workers["b"].url, nodes.wanted) == ("", 8), "its bridge was found gone"
            nodes.there = {"a": "n"}
            await watch.reconcile()
            assert set(fleet.workers) == {"a"}
        finally:
            await runner.cleanup()

    gateway(test)
