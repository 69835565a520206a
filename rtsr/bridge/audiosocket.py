"""AudioSocket: Asterisk's protocol of one call's audio over TCP; the call's UUID names the room. The event loop's.

A message is a kind, two bytes of length and as many bytes: https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

from ..errors import InvalidSetting, PoolFull
from .call import CallOptions
from .calls import Calls
from .codec import L16, L16_8K
from .config import BridgeSettings, address, networks
from .latch import Latch
from .limits import TokenBucket
from .log import log_event
from .stream_leg import StreamLeg

HANG_UP, UUID, KEY, AUDIO_8K, AUDIO_16K, FAILED = 0x00, 0x01, 0x03, 0x10, 0x12, 0xFF
HEAD = 3  # bytes
LONGEST = 1 << 14  # of a message
MESSAGES_PER_S, MESSAGES_BURST = 500, 1_000
MOST_WAITING = 64  # connections that have not said which call they are
SLOW_BYTES = 1 << 16  # that a peer has not taken, and it is let go


class AudioSocketServer:
    """Takes connections of Asterisk and makes calls of them."""

    def __init__(self, settings: BridgeSettings, calls: Calls) -> None:
        assert settings.audiosocket is not None
        self._settings, self._calls = settings, calls
        self._latch = Latch(networks(settings.rtp_sources, "rtp_sources"))
        self._waiting = 0
        self._serving: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self.place: tuple[str, int] = address(settings.audiosocket, "audiosocket")

    async def open(self) -> None:
        """Listen; raises `InvalidSetting` where that cannot be."""
        try:
            self._server = await asyncio.start_server(self._serve, *self.place, limit=LONGEST)
        except OSError as error:
            raise InvalidSetting(f"audiosocket: cannot listen on {self._settings.audiosocket} ({error})") from error
        self.place = self._server.sockets[0].getsockname()[:2]
        log_event("audiosocket", address=f"{self.place[0]}:{self.place[1]}")

    async def close(self) -> None:
        """Take no connection any more, and end those that are there."""
        if self._server:
            self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._carry(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError, InvalidSetting, PoolFull) as error:
            log_event("audiosocket ended", why=str(error) or type(error).__name__)
        except asyncio.CancelledError:
            pass  # the bridge ends
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = writer.get_extra_info("peername")
        if not self._latch.admits(place[0]) or self._waiting >= MOST_WAITING:
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.connect_s):
                kind, data = await _read(reader)
                if kind != UUID or len(data) != 16:
                    raise InvalidSetting("expected a UUID first")
                audio_kind, audio = await _read(reader)
        finally:
            self._waiting -= 1
        room = str(uuid.UUID(bytes=data))
        kind_out = AUDIO_16K if audio_kind == AUDIO_16K else AUDIO_8K

        async def close() -> None:
            writer.close()

        def message(payload: bytes) -> bytes:
            return bytes([kind_out]) + len(payload).to_bytes(2) + payload

        codec = L16 if kind_out == AUDIO_16K else L16_8K
        options = CallOptions(kind="stream", name="audiosocket")
        leg = StreamLeg(self._calls, room, codec, options, close, message)
        try:
            await self._exchange(reader, writer, leg, kind_out, (audio_kind, audio))
        finally:
            self._calls.end(leg.call.id, "the connection has ended")

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        leg: StreamLeg,
        kind_of_audio: int,
        first: tuple[int, bytes],
    ) -> None:
        """Carry messages both ways until either end leaves."""

        async def send(message: str | bytes) -> None:
            assert isinstance(message, bytes)
            if writer.transport.get_write_buffer_size() > SLOW_BYTES:
                writer.transport.abort()
                raise ConnectionError("the peer does not take what is sent")
            writer.write(message)

        sending = asyncio.ensure_future(leg.outbox.send_all(send))
        bucket = TokenBucket(MESSAGES_PER_S, MESSAGES_BURST, asyncio.get_running_loop().time)
        kind, data = first
        try:
            while kind not in (HANG_UP, FAILED):
                if kind == kind_of_audio:
                    leg.hear(data)
                elif kind == KEY:
                    leg.press(data.decode("latin-1"))
                while not bucket.take():
                    await asyncio.sleep(0.02)
                kind, data = await _read(reader)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sending


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return kind and bytes of a message; raises `InvalidSetting` for one that is too long."""
    head = await reader.readexactly(HEAD)
    size = int.from_bytes(head[1:])
    if size > LONGEST:
        raise InvalidSetting(f"expected messages of at most {LONGEST} bytes, got {size}")
    return head[0], await reader.readexactly(size)
