"""Media streams over WebSocket: `/media/ROOM` lets a platform into a room, `/middlebox` connects it to a program.

A middlebox is a room of two: the platform's leg, and one to the WebSocket that the settings name, which gets the
enhanced voice as 16 bit samples at 16 kHz and sends its answer back in the same form. Everything is the event loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from ..errors import InvalidSetting, PoolFull
from .authentication import Authentication
from .call import CallOptions
from .calls import Calls
from .codec import L16
from .limits import TokenBucket
from .log import log_event
from .platforms import RAW_RATES, Audio, Clear, Item, JsonStream, Key, Mark, RawStream, Start, Stop
from .stream_leg import StreamLeg

LONGEST_MESSAGE = 1 << 18
MESSAGES_PER_S, MESSAGES_BURST = 500, 1_000
WAIT_S = 0.02  # where a peer sends more than that
CLOSE_S = 2.0  # that a peer has to answer when we close
PING_S = 20.0  # between two; without an answer the connection ends
MOST_SILENT = 16  # messages before the stream begins
UNREADABLE, REFUSED, BUSY = 1003, 1008, 1013  # RFC 6455, section 7.4.1, and its registry
GREETING = json.dumps({"event": "websocket:connected", "content-type": "audio/l16;rate=16000"})

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


class Refused(Exception):
    """A stream is to be closed, with a code of RFC 6455."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


class MediaSockets:
    """Takes WebSockets and makes calls of them."""

    def __init__(self, calls: Calls, authentication: Authentication, program_url: str | None) -> None:
        self._calls, self._authentication, self._program_url = calls, authentication, program_url

    async def join(self, request: web.Request) -> web.WebSocketResponse:
        """Let a stream into a room."""
        return await self._serve(request, request.match_info["room"], middlebox=False)

    async def stand_between(self, request: web.Request) -> web.WebSocketResponse:
        """Let a stream into a room of its own, with the program of `middlebox_url`."""
        if self._program_url is None:
            raise web.HTTPNotFound(text="middlebox_url is not set")
        return await self._serve(request, f"middlebox-{self._calls.new_id()}", middlebox=True)

    async def _serve(self, request: web.Request, room: str, *, middlebox: bool) -> web.WebSocketResponse:
        self._calls.admit(room)  # a refusal before the connection is one that an HTTP client understands
        token = request.query.get("token")
        given = request.headers.get("Authorization") or (f"Bearer {token}" if token else None)
        known = self._authentication.accepts(given)
        if given and not known:
            raise web.HTTPUnauthorized(text="expected a bearer token")
        raw = _raw_codec(request.query.get("rate", "16000"))
        socket = web.WebSocketResponse(timeout=CLOSE_S, heartbeat=PING_S, max_msg_size=LONGEST_MESSAGE, compress=False)
        await socket.prepare(request)
        try:
            await self._carry(socket, room, raw, known, request.query.get("name", ""), middlebox)
        except Refused as error:
            log_event("stream refused", room=room, why=error.why)
            await socket.close(code=error.code, message=error.why.encode()[:120])
        finally:
            await socket.close()
        return socket

    async def _carry(self, socket: Socket, room: str, raw: str, known: bool, name: str, middlebox: bool) -> None:
        """Carry one stream from its first message to its end."""
        try:
            async with asyncio.timeout(self._calls.settings.connect_s):
                stream, start, first = await _begin(socket, raw)
        except TimeoutError:
            raise Refused(REFUSED, "no stream began in time") from None
        token = start.parameters.get("token")
        if not known and not (isinstance(token, str) and self._authentication.accepts(f"Bearer {token}")):
            raise Refused(REFUSED, "expected a token")
        leg = self._leg(socket, room, start.codec, stream, name)
        program = asyncio.ensure_future(self._program(room)) if middlebox else None
        if program:
            program.add_done_callback(lambda _: self._calls.end(leg.call.id, "the program's connection has ended"))
        try:
            if first:
                leg.hear(first.data, first.at_s)
            await _exchange(socket, stream, leg)
        finally:
            self._calls.end(leg.call.id, "the stream has ended")
            if program:
                program.cancel()
                await asyncio.wait({program})

    def _leg(self, socket: Socket, room: str, codec: str, stream: JsonStream | RawStream, name: str) -> StreamLeg:
        async def close() -> None:
            await socket.close()

        options = CallOptions(kind="stream", name=name[:64])
        try:
            return StreamLeg(self._calls, room, codec, options, close, stream.audio, stream.mark)
        except PoolFull as error:
            raise Refused(BUSY, str(error)) from error

    async def _program(self, room: str) -> None:
        """Carry the leg to the program of a middlebox."""
        assert self._program_url is not None
        limit_s = self._calls.settings.connect_s
        try:
            async with aiohttp.ClientSession() as client, asyncio.timeout(limit_s) as timer:
                socket = await client.ws_connect(
                    self._program_url,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                    heartbeat=PING_S,
                    max_msg_size=LONGEST_MESSAGE,
                    compress=0,
                )
                timer.reschedule(None)
                async with socket:
                    await socket.send_str(GREETING)
                    stream = RawStream()
                    leg = self._leg(socket, room, L16, stream, "program")
                    try:
                        await _exchange(socket, stream, leg)
                    finally:
                        self._calls.end(leg.call.id, "the stream has ended")
        except (aiohttp.ClientError, OSError, TimeoutError, Refused) as error:
            log_event("program not reached", room=room, why=f"{type(error).__name__}: {error}")


def _raw_codec(rate: str) -> str:
    """Return the codec of raw samples at a rate; raises `InvalidSetting`."""
    for known, codec in RAW_RATES.items():
        if rate == str(known):
            return codec
    raise InvalidSetting(f"rate: expected one of {', '.join(map(str, RAW_RATES))}, got {rate[:20]!r}")


async def _begin(socket: Socket, raw: str) -> tuple[JsonStream | RawStream, Start, Audio | None]:
    """Wait for a stream to begin: by a start in JSON, or by raw samples; returns the first samples too."""
    stream = JsonStream()
    for _ in range(MOST_SILENT):
        message = await socket.receive()
        if message.type is WSMsgType.BINARY:
            return RawStream(), Start(raw, {}), Audio(message.data)
        if message.type is not WSMsgType.TEXT:
            break
        item = _read(stream, message.data)
        if isinstance(item, Start):
            return stream, item, None
        if isinstance(item, Audio):  # a program that speaks Twilio's language without its start
            return stream, Start("pcmu", {}), item
    raise Refused(UNREADABLE, "expected the start of a stream, or binary samples")


def _read(stream: JsonStream | RawStream, data: Any) -> Item | None:
    try:
        return stream.read(data)
    except InvalidSetting as error:
        raise Refused(UNREADABLE, str(error)) from error


async def _exchange(socket: Socket, stream: JsonStream | RawStream, leg: StreamLeg) -> None:
    """Carry messages both ways until either end leaves."""

    async def send(message: str | bytes) -> None:
        await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))

    sending = asyncio.ensure_future(leg.outbox.send_all(send))
    bucket = TokenBucket(MESSAGES_PER_S, MESSAGES_BURST, asyncio.get_running_loop().time)
    try:
        async for message in socket:
            while not bucket.take():
                await asyncio.sleep(WAIT_S)
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            if not take(leg, _read(stream, message.data)):
                return
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError, aiohttp.ClientError):
            await sending


def take(leg: StreamLeg, item: Item | None) -> bool:
    """Do what a message asks for; returns whether the stream goes on."""
    if isinstance(item, Audio):
        leg.hear(item.data, item.at_s)
    elif isinstance(item, Key):
        leg.press(item.name)
    elif isinstance(item, Mark):
        leg.mark(item.name)
    elif isinstance(item, Clear):
        leg.clear()
    return not isinstance(item, Stop)
