"""A SIP proxy of a fleet with two bridges behind it, on one event loop."""

from __future__ import annotations

from typing import Any

from rtsr.bridge.faults import Faults
from rtsr.bridge.sip.settings import SipSettings
from rtsr.fleet.placement import Fleet, Worker
from rtsr.fleet.sip_proxy import SipProxy
from rtsr.fleet.sip_routes import NEW, Routes, Way
from tests.bridge.sip_phone import Bench

KEY = b"key"
HOST = "127.0.0.1"


class Proxied:
    """A proxy, two bridges behind it, and a telephone in front."""

    def __init__(self, null, **settings: Any) -> None:
        self.fleet, self.lost = Fleet(), list[str]()
        own = SipSettings(**{"listen": f"{HOST}:0", **settings})
        self.faults = Faults()
        self.proxy = SipProxy(own, self.fleet, Routes(KEY), self._lost, self.faults)
        self._null, self._settings = null, settings
        self.benches: dict[str, Bench] = {}

    def _lost(self, worker: Worker) -> None:
        self.lost.append(worker.name)
        self.fleet.gone(worker.name)

    @property
    def port(self) -> int:
        return self.proxy.line.paths.place[1]

    async def open(self) -> None:
        await self.proxy.open()
        for name in ("a", "b"):
            route = Routes(KEY).uri(Way(NEW, name), (HOST, self.port), "udp")
            kept = {name: value for name, value in self._settings.items() if name in ("server", "sources", "ring_s")}
            bench = Bench(self._null, proxies=(HOST,), outbound_proxy=route, **kept)
            bench.media.start()
            await bench.agent.open()
            self.benches[name] = bench
            self.fleet.workers[name] = Worker(name, "node", f"http://{HOST}:1", limit=4, sip={"sip": bench.port})

    async def settled(self) -> None:
        for bench in self.benches.values():
            await bench.settled()
            assert bench.media.faults.counts["sip"] == 0
        assert self.faults.counts["sip"] == 0
        assert not any(one.arriving for one in self.fleet.workers.values())

    async def close(self) -> None:
        for bench in self.benches.values():
            await bench.calls.drain(0)
            await bench.agent.close()
            bench.media.stop()
        await self.proxy.close()
