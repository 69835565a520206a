"""Calls between aiortc programs through a running bridge."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.live.bridge.listening import as_g711, at_48k, compare, demo_voice, enhanced
from tests.live.bridge.peers import Client, Peer, VoiceTrack
from tests.live.bridge.server import Bridge

pytestmark = pytest.mark.alone

SILENCE = np.zeros(960, np.float32)
NOISE = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
PLAIN_DB = -40.0  # of the energy above the telephone's band: enhanced noise has -32 to -34, plain noise less than -48
TIMEOUT_S = 10  # a busy machine is behind with what its programs hear


async def until(condition, limit_s: float = 10.0) -> None:
    """Wait until an awaitable condition holds."""
    for _ in range(round(limit_s / 0.05)):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {limit_s} s")


async def goes_on_hearing(listener: Peer) -> None:
    """Wait until a listener hears a voice that comes from now on."""
    listener.blocks.clear()

    async def hears() -> bool:
        return any(np.abs(block).max() > 0.1 for block in listener.blocks)

    await until(hears)


async def nobody(client: Client) -> bool:
    return (await client.metrics())["rtsr_bridge_calls"] == 0


@pytest.mark.parametrize("codec", ["opus", "pcmu"])
def test_a_narrowband_voice_is_heard_wideband_by_the_other(bridge: Bridge, codec: str):
    voice = demo_voice()
    sent = voice if codec == "opus" else as_g711(voice, codec)

    async def call() -> np.ndarray:
        async with Client(bridge.url) as client:
            said = VoiceTrack(at_48k(voice, 8000), 48_000) if codec == "opus" else VoiceTrack(voice, 8000)
            listener = await client.call(f"wide-{codec}", VoiceTrack(SILENCE))
            speaker = await client.call(f"wide-{codec}", said, codec=codec)
            assert speaker.connected_s < 2
            await asyncio.sleep(len(voice) / 8000 + 0.7)
            assert {c["speaker"]["codec"] for c in await client.room(f"wide-{codec}")} == {"opus", codec}
            return listener.heard

    heard = asyncio.run(call())
    found = compare(heard, at_48k(sent, 8000), enhanced(sent, 8000))
    print(codec, found)
    assert found.pieces >= 4
    assert found.lsd < 0.75 * found.lsd_plain, "nearer to the plain voice than to the enhanced one"
    assert found.high_db > -6, "the generated band is missing"


def test_three_peers_hear_each_other(bridge: Bridge):
    voice, t = at_48k(demo_voice(), 8000), np.arange(5 * 48_000) / 48_000
    tones = {hz: (0.2 * np.sin(2 * np.pi * hz * t)).astype(np.float32) for hz in (500, 1_700)}

    async def call() -> dict[str, np.ndarray]:
        async with Client(bridge.url) as client:
            sounds = {"voice": voice, **{str(hz): tone for hz, tone in tones.items()}}
            peers = {name: await client.call("three", VoiceTrack(sound)) for name, sound in sounds.items()}
            await asyncio.sleep(3)
            return {name: peer.heard[-96_000:] for name, peer in peers.items()}

    heard = asyncio.run(call())

    def level(name: str, hz: int) -> float:
        """The median over tenths of a second: a busy machine loses some of them."""
        turned = heard[name] * np.exp(-2j * np.pi * hz * np.arange(96_000) / 48_000)
        return float(np.median(2 * np.abs(turned.reshape(-1, 4_800).mean(1))))

    assert min(level("voice", 500), level("voice", 1_700)) > 0.02
    assert level("500", 1_700) > 0.02 > 2 * level("500", 500)
    assert level("1700", 500) > 0.02 > 2 * level("1700", 1_700)


def test_bypass_toggles_the_generated_band(bridge: Bridge):
    async def call() -> None:
        async with Client(bridge.url) as client:
            listener = await client.call("bypass", VoiceTrack(SILENCE))
            speaker = await client.call("bypass", VoiceTrack(NOISE, 8000, loop=True), codec="pcmu")
            for on in (False, True, False):
                async with client.http.patch(speaker.location, json={"bypass": on}) as reply:
                    assert (await reply.json())["speaker"]["bypass"] is on
                await heard_so({"listener": listener}, {"listener"} if on else set())

    asyncio.run(call())


def test_a_listener_hears_plain_whom_it_chose_and_nobody_else_does(bridge: Bridge):
    async def call() -> None:
        async with Client(bridge.url) as client:
            speaker = await client.call("choice", VoiceTrack(NOISE, 8000, loop=True), codec="pcmu")
            spoken = speaker.location.split("/")[-1]
            listeners = {name: await client.call("choice", VoiceTrack(SILENCE)) for name in ("talks", "asks")}
            listeners |= {name: await client.session("whep", "choice") for name in ("plays", "shares")}
            for plain in ([spoken], []):
                for name in ("asks", "plays"):
                    place = listeners[name].location.replace("/whep/choice", "/rooms/choice/calls")
                    async with client.http.patch(place, json={"plain": [*plain, "gone-already"]}) as reply:
                        assert (await reply.json())["plain"] == plain
                await heard_so(listeners, {"asks", "plays"} if plain else set())
            assert all(call["plain"] == [] for call in await client.room("choice"))

    asyncio.run(call())


async def heard_so(listeners: dict[str, Peer], plain: set[str]) -> None:
    """Listen until those who are to hear the plain voice do, and all others the enhanced one."""
    for _ in range(TIMEOUT_S):
        for one in listeners.values():
            one.blocks.clear()
        await asyncio.sleep(1.0)
        levels = {name: share_db(one.heard) for name, one in listeners.items()}
        if {name for name, level in levels.items() if level < PLAIN_DB} == plain:
            return
    raise AssertionError(f"expected only {plain or 'nobody'} below {PLAIN_DB} dB, got {levels}")


def share_db(heard: np.ndarray) -> float:
    """The energy above a telephone's band, relative to that inside."""
    if not len(heard):
        return 0.0
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))) ** 2
    hz = np.fft.rfftfreq(len(heard), 1 / 48_000)
    high, low = spectrum[(hz > 4_500) & (hz < 7_500)].sum(), spectrum[(hz > 500) & (hz < 3_000)].sum()
    return float(10 * np.log10(high / low))


def test_what_a_change_may_be(bridge: Bridge):
    async def call() -> None:
        async with Client(bridge.url) as client:
            both = await client.call("change", VoiceTrack(SILENCE))
            player = await client.session("whep", "change")
            publisher = await client.session("whip", "change", VoiceTrack(SILENCE))
            places = [one.location.split("/")[-1] for one in (both, player, publisher)]
            both_at, player_at, publisher_at = (f"/rooms/change/calls/{place}" for place in places)
            for place, body, status, why in (
                (both_at, {}, 400, "expected"),
                (both_at, {"bypass": 1}, 400, "expected"),
                (both_at, {"bypass": True, "plain": []}, 400, "expected"),
                (both_at, {"plain": "x"}, 400, "a list"),
                (both_at, {"plain": {"x": 1}}, 400, "a list"),
                (both_at, {"plain": ["x"] * 1_001}, 400, "at most 1000"),
                (both_at, {"plain": [None]}, 400, "ids"),
                (both_at, {"plain": [["x"]]}, 400, "ids"),
                (both_at, {"plain": ["../x"]}, 400, "ids"),
                (both_at, {"plain": ["x" * 65]}, 400, "ids"),
                (publisher_at, {"plain": []}, 400, "listens"),
                (player_at, {"bypass": True}, 400, "speaks"),
                (both_at.replace("change", "other"), {"plain": []}, 404, "no such call"),
                (both_at, {"plain": [places[0], places[1], places[2], places[2]]}, 200, "plain"),
                (player_at, {"plain": [places[2]]}, 200, "plain"),
                (publisher_at, {"bypass": True}, 200, "bypass"),
            ):
                async with client.http.patch(place, json=body) as reply:
                    assert (reply.status, why in await reply.text()) == (status, True), (body, await reply.text())
            listed = {one["id"]: one["plain"] for one in await client.room("change")}
            assert listed == {places[0]: sorted([places[0], places[2]]), places[1]: [places[2]], places[2]: []}
            async with client.http.delete(publisher_at):
                await until(lambda: are_plain(client, {places[0]: [places[0]], places[1]: []}))

    asyncio.run(call())


async def are_plain(client: Client, wanted: dict[str, list[str]]) -> bool:
    return {one["id"]: one["plain"] for one in await client.room("change")} == wanted


def test_one_alone_hears_itself_narrowed_and_enhanced(bridge: Bridge):
    voice = at_48k(demo_voice(), 8000)

    async def call() -> tuple[np.ndarray, dict]:
        async with Client(bridge.url) as client:
            alone = await client.call("loop", VoiceTrack(voice, loop=True), echo=True, narrow_hz=4_000, name="me")
            await asyncio.sleep(3)
            return alone.heard, (await client.room("loop"))[0]

    heard, listed = asyncio.run(call())
    assert listed["name"] == "me"
    assert listed["speaker"]["rate_hz"] == 4_000
    spectrum = np.abs(np.fft.rfft(heard[-96_000:])) ** 2
    hz = np.fft.rfftfreq(96_000, 1 / 48_000)
    assert spectrum[(hz > 2_500) & (hz < 7_500)].sum() > 1e-5 * spectrum.sum()


def test_calls_end_when_hung_up_or_closed_and_leave_nothing(bridge: Bridge):
    async def call() -> None:
        async with Client(bridge.url) as client:
            first = await client.call("end", VoiceTrack(SILENCE))
            second = await client.call("end", VoiceTrack(SILENCE))
            async with client.http.delete(first.location.replace("end", "other")) as reply:
                assert reply.status == 200
            assert len(await client.room("end")) == 2
            async with client.http.delete(first.location) as reply:
                assert reply.status == 200
            await second.close()
            await until(lambda: is_empty(client, "end"))
            async with client.http.delete(second.location) as reply:
                assert reply.status == 200  # its connection ended before it said so
            assert (await client.metrics())["rtsr_bridge_calls"] == 0

    asyncio.run(call())


async def is_empty(client: Client, room: str) -> bool:
    return not await client.room(room)
