"""Which calls the bridge ends by itself."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from rtsr.bridge.call import Call
from rtsr.bridge.calls import Calls
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.leg import Leg
from rtsr.bridge.media import MediaThread


def test_a_peer_that_floods_is_hung_up_on_and_the_others_are_not(null):
    async def run() -> None:
        media = MediaThread(null, 4, print)
        calls, closed = Calls(media, BridgeSettings(), 4), []
        for name, floods in (("bad", True), ("good", False)):

            async def close(name: str = name) -> None:
                closed.append(name)

            peer = SimpleNamespace(refused=0, round_trip_ms=None, floods=lambda floods=floods: floods)
            calls.add(Call(name, "call", Leg(name, "room", None, None, "opus"), close, peer=peer))
        calls.sweep()
        await calls._tasks.finish()
        assert closed == ["bad"]
        assert set(calls.by_id) == {"good"}
        media.stop()

    asyncio.run(run())
