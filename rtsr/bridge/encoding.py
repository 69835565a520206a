"""The thread that encodes: it takes what each tick has mixed, while the clock goes on with the next one."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from .faults import Faults
from .mix import Block, Delivery
from .work import Work

MOST_WAITING = 4  # ticks whose blocks wait for the encoder, before the clock waits too

Send = Callable[[list[Delivery]], None]


class Encoding:
    """Encodes blocks in the order in which they come, and hands all packets of a tick to `send` at once.

    It does so on a thread of its own between `start` and `stop`, otherwise on the thread that calls `put`: the media
    thread, or that of tests and benchmarks.
    """

    def __init__(self, send: Send, work: Work, faults: Faults) -> None:
        self._send, self._work, self._faults = send, work, faults
        self._waiting: queue.Queue[list[Block]] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="rtsr bridge encoder", daemon=True)

    def start(self) -> None:
        """Start the thread; raises RuntimeError where this machine has no more."""
        self._thread.start()

    def stop(self) -> None:
        """Encode what waits and end the thread; after the last `put`."""
        if self._thread.is_alive():
            self._waiting.put([])
            self._thread.join()

    @property
    def native_id(self) -> int | None:
        """The system's number of the thread, None before it is started."""
        return self._thread.native_id

    def put(self, blocks: list[Block]) -> None:
        """Take the blocks of a tick, at least one; waits where `MOST_WAITING` ticks have not been encoded yet."""
        if self._thread.is_alive():
            self._waiting.put(blocks)
        else:
            self._encode(blocks)

    def _run(self) -> None:
        while blocks := self._waiting.get():
            self._encode(blocks)
            self._work.encoder_s = time.thread_time()

    def _encode(self, blocks: list[Block]) -> None:
        packets: list[Delivery] = []
        for block in blocks:
            with self._faults.survived("encoder", "a block could not be encoded"):
                packets += block.encode()
        if packets:
            with self._faults.survived("send", "packets could not be handed over"):
                self._send(packets)
