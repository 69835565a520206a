"""A leg whose audio comes over a connection (WebSocket or TCP) instead of RTP, in chunks of any size and pace.

A platform sends in real time; a program may send a whole answer at once. What is ahead of real time is held back, so
that the jitter buffer gets packets as a telephone would send them. Everything is the event loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from .call import Call, CallOptions
from .calls import Calls
from .codec import CODECS, L16, L16_8K
from .events import KEYS, VOLUME, Event
from .jitter import Packet
from .limits import TokenBucket

PACKET_MS, UNIT_MS = 20, 5  # of what the jitter buffer gets: at most, and in steps of
AHEAD_S = 0.1  # by which audio may come before its time
PAUSE_S = 0.25  # without audio, and what comes next begins a new stretch
LONGEST_WAY_S = 1.0  # between the sender's time stamps and ours, before they count from anew
MOST_HELD_S = 60.0  # of audio that waits for its time
MOST_MARKS = 64
MOST_QUEUED = 25  # messages that wait to be sent; the oldest audio goes where there is no room
KEY_MS = 100  # of a key whose duration is not given
KEYS_PER_S, KEYS_BURST = 10, 20

Message = str | bytes


class Outbox:
    """Messages to the peer, and what became of them. Audio may be dropped, control messages may not."""

    def __init__(self) -> None:
        self.sent = self.dropped = self.underruns = 0
        self._waiting: deque[tuple[Message, bool]] = deque()
        self._there = asyncio.Event()

    def put(self, message: Message, *, audio: bool = True) -> None:
        """Queue a message; never waits."""
        while len(self._waiting) >= MOST_QUEUED + (0 if audio else MOST_MARKS):
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append((message, audio))
        self._there.set()

    async def send_all(self, send: Callable[[Message], Awaitable[None]]) -> None:
        """Send what is queued, until the connection ends or this is cancelled."""
        while True:
            await self._there.wait()
            self._there.clear()
            while self._waiting:
                message, audio = self._waiting.popleft()
                await send(message)
                self.sent += audio


class StreamLeg:
    """A call over a connection. Audio is `codec`'s; 16 bit samples have their lower byte first.

    `mark` turns the name of a mark into the message that says that the audio before it has been played; `audio` turns
    a packet of the room's audio into a message.
    """

    def __init__(
        self,
        calls: Calls,
        room: str,
        codec: str,
        options: CallOptions,
        close: Callable[[], Awaitable[None]],
        audio: Callable[[bytes], Message],
        mark: Callable[[str], Message] | None = None,
    ) -> None:
        """Let the leg into its room; raises `PoolFull`."""
        calls.admit(room)
        self._loop = asyncio.get_running_loop()
        self._calls, self._audio, self._mark, self._close = calls, audio, mark, close
        self._clock_hz, self._swaps = CODECS[codec].clock, codec in (L16, L16_8K)
        self._unit = CODECS[codec].rate * UNIT_MS // 1000 * (2 if self._swaps else 1)
        self._bytes_per_s = self._unit * 1000 // UNIT_MS
        self.outbox = Outbox()
        self.refused = 0  # bytes of audio for which there was no room
        self._held: deque[tuple[bytes, float] | str] = deque()  # packets with their times, and names of marks
        self._held_bytes = self._marks = 0
        self._rest = b""
        self._until_s = self._base_s = self._loop.time()
        self._fed_s = 0.0  # when the audio that was handed on ends
        self._number, self._key = 0, 0
        self._keys = TokenBucket(KEYS_PER_S, KEYS_BURST, self._loop.time)
        self._timers: set[asyncio.TimerHandle] = set()
        self._due: asyncio.TimerHandle | None = None
        leg = calls.make_leg(calls.new_id(), room, codec, options)
        leg.deliver = self._deliver
        self.leg = leg
        self.call = Call(leg.call, options.kind, leg, self._end, self.outbox)
        calls.add(self.call)
        calls.start(calls.join(self.call))

    def hear(self, data: bytes, at_s: float | None = None) -> None:
        """Take audio; `at_s` is its time by the sender's clock, where that is given."""
        now_s = self._loop.time()
        if at_s is not None:
            begins_s = self._base_s + at_s
            if abs(begins_s - now_s) > LONGEST_WAY_S:
                self._base_s, begins_s = now_s - at_s, now_s
            if abs(begins_s - self._until_s) > UNIT_MS / 1000:
                self._until_s = begins_s
        elif now_s > self._until_s + PAUSE_S:
            self._until_s = now_s
        room = round(MOST_HELD_S * self._bytes_per_s) - self._held_bytes
        self.refused += max(0, len(data) - room)
        data = self._rest + data[:room]
        whole = len(data) // self._unit * self._unit
        self._rest = data[whole:]
        step = self._unit * PACKET_MS // UNIT_MS
        for start in range(0, whole, step):
            packet = data[start : min(start + step, whole)]
            self._held.append((packet, self._until_s))
            self._held_bytes += len(packet)
            self._until_s += len(packet) / self._bytes_per_s
        self._feed()

    def _feed(self) -> None:
        """Hand on what is due, and come back when the next packet is."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        now_s = self._loop.time()
        while self._held:
            first = self._held[0]
            if isinstance(first, str):
                self._held.popleft()
                self._mark_later(first)
                continue
            data, at_s = first
            if at_s - now_s > AHEAD_S:
                self._due = self._loop.call_later(at_s - now_s - AHEAD_S, self._feed)
                return
            self._held.popleft()
            self._held_bytes -= len(data)
            self._fed_s = at_s + len(data) / self._bytes_per_s
            payload = _swapped(data) if self._swaps else data
            assert self.leg.speaker
            stamp = round(at_s * self._clock_hz) % (1 << 32)
            self.leg.speaker.put(Packet(self._number % (1 << 16), stamp, payload, now_s))
            self._number += 1

    def mark(self, name: str) -> None:
        """Let the peer know, by a mark of this name, when the audio that it has sent so far has been played."""
        if self._marks >= MOST_MARKS:
            self.refused += 1
            return
        self._marks += 1
        self._held.append(name)
        self._feed()

    def _mark_later(self, name: str) -> None:
        assert self.leg.speaker
        wait_s = max(0.0, self._fed_s - self._loop.time()) + self.leg.speaker.playout.delay_s

        def reached() -> None:
            self._timers.discard(timer)
            self._send_mark(name)

        timer = self._loop.call_later(wait_s, reached)
        self._timers.add(timer)

    def _send_mark(self, name: str) -> None:
        self._marks -= 1
        if self._mark:
            self.outbox.put(self._mark(name), audio=False)

    def clear(self) -> None:
        """Forget the audio that waits for its time; the marks in it are sent at once."""
        names = [one for one in self._held if isinstance(one, str)]
        self._held.clear()
        self._held_bytes, self._rest = 0, b""
        self._until_s = self._loop.time()
        for name in names:
            self._send_mark(name)

    def press(self, key: object) -> None:
        """Take a key that was pressed: it is listed, and passed on to the telephones of the room."""
        if not isinstance(key, str) or len(key) != 1 or key.upper() not in KEYS or not self._keys.take():
            return
        self._key += 1
        ticks = KEY_MS * self.leg.events.clock_hz // 1000
        event = Event(KEYS.index(key.upper()), True, VOLUME, ticks)
        self.leg.events.hear(self._key, event, self._loop.time() - self._base_s)
        for _ in range(3):  # as often as RFC 4733 has the last packet of an event
            self._calls.pass_event(self.leg, self._key, event)

    def _deliver(self, payload: bytes, stamp: int) -> None:
        self.outbox.put(self._audio(_swapped(payload) if self._swaps else payload))

    async def _end(self) -> None:
        for timer in (*self._timers, *([self._due] if self._due else [])):
            timer.cancel()
        self._held.clear()
        await self._close()


def _swapped(data: bytes) -> bytes:
    """Return 16 bit samples with their bytes the other way round: RTP has the higher one first, others the lower."""
    swapped = bytearray(len(data))
    swapped[::2], swapped[1::2] = data[1::2], data[::2]
    return bytes(swapped)
