"""The media thread of a bridge: every 5 ms it decodes, enhances and mixes one hop of every stream.

packets ─► Speaker: jitter buffer, decoder ─► row of the pool ─► Room: mix-minus ─► Encoding ─► packets
[event loop]  └───────────────────── [this thread] ──────────────────┘ [its own thread] [event loop]
"""

from __future__ import annotations

import itertools
import logging
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from ..backend.base import Backend
from ..backend.null import NullBackend
from ..daemon.priority import ask_for_real_time
from ..dsp.level import peak
from ..dsp.windows import FloatArray
from ..pool import Pool
from .codec import CODECS
from .encoding import Encoding, Send
from .faults import Faults
from .guarded import Guarded
from .leg import METER_DECAY, Leg, Speaker
from .mix import MIX_RATE, Block, Room
from .work import Work

MOST_BEHIND = 8  # hops that are made up for after a stall; the rest is skipped, and counted
NARROW_RATES = (4_000, 8_000)  # that a stream may be resampled to on request
BUSY_WINDOW = 200  # ticks over which the load is the median
SAMPLED_TICKS = 100  # between two looks at where the received bands end
MOST_FAILED = 200  # ticks of the pool in a row, before the clock stops

log = logging.getLogger("rtsr.bridge")


class MediaThread:
    """Processes up to `limit` streams; `join`, `leave`, `bypass` and `choose` may be called by any thread.

    `send` is called at most once a tick, with all packets of it: by the encoding thread while the clock ticks.
    """

    def __init__(self, model: Backend, limit: int, send: Send, packet_ms: int = 20) -> None:
        self.faults = Faults()
        whole = getattr(model, "runs_whole_path", False)  # on a device, whose failure is one of the pool's
        self.pool = Pool(model if whole else Guarded(model, self.faults), limit, spare=NullBackend(model.spec))
        self.hop_s = model.spec.hop_ms / 1000
        self.frames_per_s = model.spec.frames_per_s
        self.work = Work()
        self.ticks = 0
        self.ticked_s = time.monotonic()  # when the last tick ended
        self.legs: list[Leg] = []
        self.failed: BaseException | None = None
        self.tick_s: deque[float] = deque(maxlen=int(10 / self.hop_s))
        self._encoding = Encoding(send, self.work, self.faults)
        self._hops = round(packet_ms / model.spec.hop_ms)
        self._phases = itertools.count()
        self._rooms: dict[str, Room] = {}
        self._failures_seen = self._failed_ticks = 0
        self._orders: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._ending = threading.Event()
        self._ticking = False  # the thread executes orders; otherwise the caller does
        self._thread = threading.Thread(target=self._run, name="rtsr bridge clock", daemon=True)
        for rate in {*(codec.rate for codec in CODECS.values()), *NARROW_RATES}:
            self.pool.prepare(rate, MIX_RATE)

    def start(self) -> None:
        """Start the clock; raises RuntimeError where this machine has no more threads."""
        self._encoding.start()
        self._ticking, self.ticked_s = True, time.monotonic()
        try:
            self._thread.start()
        except RuntimeError:
            self._ticking = False
            self._encoding.stop()
            raise

    def stop(self) -> None:
        """Stop the clock and wait for it."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._encoding.stop()
        self.pool.shut()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def load(self) -> float:
        """The median time of a tick in the last second, over the duration of a hop; 0 in the first second.

        The first ticks compile and touch memory for the first time: they say nothing of the load.
        """
        last = list(itertools.islice(reversed(self.tick_s.copy()), BUSY_WINDOW))
        return statistics.median(last) / self.hop_s if len(last) == BUSY_WINDOW else 0.0

    def tick_ms(self, *quantiles: float) -> dict[float, float]:
        """Return quantiles of the time that the last ten seconds' ticks took, in ms; NaN before the first."""
        last = sorted(self.tick_s.copy())
        return {q: 1000 * last[int(q * (len(last) - 1))] if last else math.nan for q in quantiles}

    def join(self, leg: Leg) -> Future[None]:
        """Add a leg to its room; the future is done when it is mixed, or holds `PoolFull`."""
        return self._order(lambda: self._join(leg))

    def leave(self, leg: Leg) -> Future[None]:
        """Remove a leg and its row of the pool; one that never joined is no error."""
        return self._order(lambda: self._leave(leg))

    def bypass(self, leg: Leg, on: bool) -> Future[None]:
        """Turn the generated band of a speaker off or on for all listeners; cross-fades over one hop."""
        return self._order(lambda: self._bypass(leg, on))

    def choose(self, leg: Leg) -> Future[None]:
        """Apply a leg's `plain` to its own mix alone; cross-fades over `PLAIN_FADE_MS`."""
        return self._order(lambda: self._choose(leg))

    def _order(self, do: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._orders.append((do, future))
        if not self._ticking:
            self._execute_orders()
        return future

    def _execute_orders(self) -> None:
        while True:
            try:
                do, future = self._orders.popleft()
            except IndexError:
                return
            asked = future.set_running_or_notify_cancel()  # a client that went away has cancelled its order
            try:
                result = do()
            except Exception as error:  # the caller gets it, and the thread goes on
                if asked:
                    future.set_exception(error)
            else:
                if asked:
                    future.set_result(result)

    def _join(self, leg: Leg) -> None:
        if leg.speaker:
            leg.speaker.row = self.pool.open(leg.speaker.rate, MIX_RATE, bypass=leg.speaker.bypass)
        if leg.room not in self._rooms:
            hop = self.pool.spec.hop_at(MIX_RATE)
            self._rooms[leg.room] = Room(hop, self._hops, self._phases.__next__, self.faults)
        self.legs.append(leg)
        leg.joined = True
        try:
            self._rooms[leg.room].join(leg)
        except Exception:  # of its encoder: nothing of it may stay
            self._leave(leg)
            raise

    def _leave(self, leg: Leg) -> None:
        if not leg.joined:
            return
        leg.joined = False
        self.legs.remove(leg)
        room = self._rooms[leg.room]
        room.leave(leg)
        if not room.legs:
            del self._rooms[leg.room]
        if leg.speaker and leg.speaker.row is not None:
            row, leg.speaker.row = leg.speaker.row, None
            self.pool.close(row)

    def _bypass(self, leg: Leg, on: bool) -> None:
        if leg.speaker:
            leg.speaker.bypass = on
        if leg.speaker and leg.speaker.row is not None:
            self.pool.set(leg.speaker.row, bypass=on)

    def _choose(self, leg: Leg) -> None:
        if leg.joined:
            self._rooms[leg.room].choose()

    def _run(self) -> None:
        try:
            log.info("%s", ask_for_real_time())
            ask_for_real_time(self._encoding.native_id or 0)
            due_s = time.monotonic()
            while not self._ending.is_set():
                behind = int((time.monotonic() - due_s) / self.hop_s)
                if behind > MOST_BEHIND:
                    self.work.skipped += behind
                    self.ticks += behind
                    due_s += behind * self.hop_s
                wait_s = due_s - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                self.tick(time.monotonic())
                due_s += self.hop_s
        except BaseException as error:  # the service reads it, logs it, and ends
            self.failed = error
            log.exception("the clock of the bridge stopped")
        finally:  # in this order, so that no order that came in between is left
            self._ticking = False
            self._execute_orders()

    def tick(self, now_s: float) -> None:
        """Process one hop of every stream; called by the thread, or by tests and benchmarks with their own time."""
        began = time.perf_counter()
        codec, network = self.work.codec_s, self.work.network_s
        self._execute_orders()
        spent = time.thread_time()
        for leg in self.legs.copy():
            if leg.speaker and leg.speaker.row is not None:
                self._hear(leg, leg.speaker, leg.speaker.row, now_s)
        codec, spent = codec + time.thread_time() - spent, time.thread_time()
        outputs = self._enhance()
        network, spent = network + time.thread_time() - spent, time.thread_time()
        blocks: list[Block] = []

        def plain(leg: Leg) -> FloatArray:
            assert leg.speaker
            return outputs.plain(leg.speaker.row)

        for room in self._rooms.values():
            with self.faults.survived("mix", "a room's sound could not be mixed"):
                blocks += room.tick(self._heard(room.legs, outputs), plain, self.ticks)
        if blocks:
            self._encoding.put(blocks)
        self.work.thread_s = time.thread_time()
        self.work.codec_s, self.work.network_s = codec + time.thread_time() - spent, network
        if self.ticks % SAMPLED_TICKS == 0:
            self._note_cutoffs()
        self.ticks += 1
        took = time.perf_counter() - began
        self.work.late += took > self.hop_s
        self.tick_s.append(took)
        self.ticked_s = time.monotonic()

    def _note_cutoffs(self) -> None:
        """Let each speaker know where its received band ends."""
        most_hz, seconds = self.pool.spec.cutoff_max_hz, SAMPLED_TICKS * self.hop_s
        for leg in self.legs:
            if leg.speaker and leg.speaker.row is not None:
                with self.faults.survived("voice", "a cutoff could not be read"):
                    leg.speaker.note_cutoff(self.pool.cutoff_hz(leg.speaker.row), most_hz, seconds)

    def _hear(self, leg: Leg, speaker: Speaker, row: int, now_s: float) -> None:
        """Give a leg's next hop to its row. A leg whose packets raise is removed: the others go on."""
        try:
            self.pool.push(row, speaker.read(now_s))
        except Exception as error:
            self.faults.note("voice", f"a leg is let go: call={leg.call} room={leg.room}", error)
            with self.faults.survived("voice", "its row could not be closed"):
                self._leave(leg)
            leg.failed = True

    def _enhance(self) -> Any:
        """Process one hop in the pool and return its outputs: none where it failed, and then every row is reset.

        Raises what the pool raises where it has failed for a second.
        """
        try:
            outputs = self.pool.tick()
        except Exception as error:
            self.faults.note("pool", "the pool failed: no output in this tick", error)
            self._failed_ticks += 1
            if self._failed_ticks > MOST_FAILED:
                raise
            for leg in self.legs:
                if leg.speaker and leg.speaker.row is not None:
                    with self.faults.survived("pool", "a row could not be reset"):
                        self.pool.reset(leg.speaker.row)
            return {}
        self._failed_ticks = 0
        if self.pool.counters.failures > self._failures_seen:
            self._failures_seen = self.pool.counters.failures
            reason = "the device failed: streams are plain from now on"
            self.faults.note("network", reason, self.pool.failures[-1])
        return outputs

    def _heard(self, legs: Iterable[Leg], outputs: Any) -> dict[Leg, FloatArray]:
        """The hops of the legs of a room that spoke in this tick."""
        heard: dict[Leg, FloatArray] = {}
        for leg in legs:
            speaker = leg.speaker
            if speaker and speaker.row is not None and speaker.row in outputs:
                heard[leg] = outputs[speaker.row]
                speaker.level_out = max(METER_DECAY * speaker.level_out, peak(heard[leg]))
                if leg.recording:
                    with self.faults.survived("recording", "a hop could not be recorded"):
                        leg.recording.put(self.ticks, outputs.plain(speaker.row), heard[leg])
        return heard
