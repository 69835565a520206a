"""`python -m bench.relay`: what bench.bridge compares with, a plain aiortc program that passes tracks on as they come.

Prints its address. POST /rooms/ROOM/offer answers like the bridge; each later peer gets the first one's track.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

connections: set[RTCPeerConnection] = set()
speakers: dict[str, MediaStreamTrack] = {}


async def offer(request: web.Request) -> web.Response:
    """Answer an offer."""
    body, room = await request.json(), request.match_info["room"]
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connections.add(connection)
    if room in speakers:
        connection.addTrack(speakers[room])
    connection.on("track", lambda track: speakers.setdefault(room, track))
    await connection.setRemoteDescription(RTCSessionDescription(body["sdp"], "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    reply = {"type": "answer", "sdp": connection.localDescription.sdp}
    return web.json_response(reply, status=201, headers={"Location": "/"})


async def serve() -> None:
    """Serve on a free port of 127.0.0.1 until stopped."""
    app = web.Application()
    app.router.add_post("/rooms/{room}/offer", offer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("http://{}:{}".format(*runner.addresses[0]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
