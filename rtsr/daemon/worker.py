"""The worker: takes hops from the input ring, enhances them, and writes them to the output ring in real time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..backend.base import Backend
from ..dsp.windows import FloatArray
from ..errors import InvalidSetting
from ..io import layout as at
from ..io.shared_block import SharedBlock
from ..spec import Spec
from ..stream import Stream, linear_gain
from ..timing import Timed
from .drift import Drift
from .gate import Gate

BYPASS_FADE_HOPS = 2  # of bypass and gain: 10 ms
MUTE_FADE_HOPS = 2
SWITCH_FADE_HOPS = 2  # from a model to the next
BEHIND_HOPS = 3  # waiting beyond a device's block, for so long: the network is too slow for this machine now
BEHIND_S = 0.1  # a stall that ends is caught up sooner
RETRY_S, RETRY_MOST_S = 1.0, 30.0
WARM_UP_S = 0.8  # of past input that a new model processes before it is heard
CATCH_UP = 4  # hops a new model takes while the old one takes one
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a worker is to do; looked at once a hop."""

    gain_db: float = 0.0
    bypass: bool = False
    mute: bool = False

    def __post_init__(self) -> None:
        linear_gain(self.gain_db)


@dataclass(frozen=True, slots=True)
class Report:
    """The state and counters of a worker of either kind; the numbers are of about the same moment."""

    model: str
    backend: str
    hops: int
    late: int  # hops that took longer to compute than they last
    lost: int  # samples left out after a long stall
    overloads: int
    rested: int  # frames for which the network did not run
    switches: int  # models that took over
    rest_s: float  # how long the rest after the last overload was meant to be
    cutoff_hz: float
    level: float  # of the generated band, a factor
    ratio: float  # of the two clocks, as corrected now
    drift_ppm: float  # and as found in the long run
    asleep: bool  # in silence
    resting: bool  # after an overload
    compute_ms: tuple[float, ...]  # a hop's PERCENTILES


def events(before: Report, now: Report) -> list[tuple[str, str]]:
    """Return the events between two reports: kinds, and lines for people."""
    found = []
    if now.overloads > before.overloads:
        found.append(("overload", f"too slow for this machine: plain for {now.rest_s:.0f} s"))
    if now.switches > before.switches:
        found.append(("model", f"{now.model} runs now"))
    return found


def check_rate(spec: Spec, rate: int) -> None:
    """Raise `InvalidSetting` for a rate that no worker takes with this model."""
    if rate % spec.frames_per_s or rate < spec.rate:
        raise InvalidSetting(
            f"expected a rate of at least {spec.rate} Hz that is a multiple of "
            f"{spec.frames_per_s} Hz, got {rate} Hz: try --rate 48000"
        )


class GatedStream:
    """One model's stream behind a gate, at one rate: each hop of the input ring gives exactly one hop."""

    def __init__(self, model: Backend, rate: int, sleep_db: float, cutoff: float | str) -> None:
        self.gate = Gate(model, sleep_db)
        self.stream = Stream(self.gate, rate, rate, cutoff=cutoff)
        self.hop = rate // model.spec.frames_per_s
        self.place = 0  # on the input ring, while it is warming up
        self.level = self.wanted = 1.0  # of the generated band, a factor
        self.slope = 0.0

    def follow(self, wanted: float) -> None:
        """Move the gain of the generated band a hop nearer to `wanted`; it arrives after `BYPASS_FADE_HOPS` hops."""
        if wanted != self.wanted:
            self.wanted, self.slope = wanted, abs(wanted - self.level) / BYPASS_FADE_HOPS
        if self.level != wanted:
            self.level += min(max(wanted - self.level, -self.slope), self.slope)
            self.stream.set_gain(20 * np.log10(self.level) if self.level > 0 else -np.inf)


class Worker:
    """Processes a shared block's input ring into its output ring, hop by hop, with a constant latency.

    `step` and `run` are one thread's, the rest is any thread's. `NativeWorker` does the same outside the interpreter.
    """

    kind = "python"

    def __init__(
        self,
        model: Backend,
        rate: int,
        *,
        low_water: int,
        burst: int = 0,
        sleep_db: float = -70.0,
        cutoff: float | str = "auto",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_rate(model.spec, rate)
        self.rate, self.sleep_db, self.cutoff, self.clock = rate, sleep_db, cutoff, clock
        self.current = GatedStream(model, rate, sleep_db, cutoff)
        self.hop = self.current.hop
        self.drift = Drift(rate, self.hop)
        self.latency = self.current.stream.latency + self.drift.delay
        self.shared = SharedBlock(rate, self.hop, low_water, self.latency - self.hop, burst)
        self.most_waiting = BEHIND_HOPS * self.hop + burst
        self.wishes, self.counters = Wishes(), Timed()
        self.asked: deque[GatedStream] = deque(maxlen=1)  # the last one that `switch` was given, until `step` takes it
        self.next: GatedStream | None = None
        self.fade = 0  # hops left in which `next` takes over
        self.lost = self.overloads = self.switches = 0
        self.rest_s = self.rest_until = 0.0
        self.retry_s, self.behind_since = RETRY_S, clock()
        self._stopping = False
        self._heard = np.zeros(self.hop, np.float32)
        self._loudness = 1.0
        slope = np.linspace(0, 1, SWITCH_FADE_HOPS * self.hop + 1, dtype=np.float32)[1:]
        self._slopes = slope.reshape(SWITCH_FADE_HOPS, -1)

    def warm_up(self) -> None:
        """Compile and touch everything once, so that the first hop is no slower than the others."""
        silence = np.zeros(self.hop, np.float32)
        for _ in range(4):
            self.current.stream.process(silence + np.float32(0.01))
            self.drift.process(silence)
        self.current.stream.reset()
        self.drift.reset()

    def wish(self, **changes: float | bool) -> None:
        """Change some of the wishes: `gain_db`, at most 24, `bypass` or `mute`; slides over 10 ms."""
        self.wishes = replace(self.wishes, **changes)  # type: ignore[arg-type]

    def run(self) -> None:
        """Take hop after hop, sleeping in between, until `stop`: the calling thread is the worker's."""
        while not self._stopping:
            if not self.step():
                self.shared.wait()

    def stop(self) -> None:
        """Let `run` return within a few milliseconds."""
        self._stopping = True
        self.shared.wake()

    def relearn(self) -> None:
        """Learn anew how full the ring is to be, as after a device was opened."""
        self.drift.relearn()

    def report(self) -> Report:
        """Return what is going on."""
        gate, drift, counters = self.current.gate, self.drift, self.counters
        return Report(
            model=gate.model,
            backend=gate.name,
            hops=counters.counted,
            late=counters.late,
            lost=self.lost,
            overloads=self.overloads,
            rested=gate.rested,
            switches=self.switches,
            rest_s=self.rest_s,
            cutoff_hz=self.current.stream.cutoff_hz,
            level=self.current.level,
            ratio=drift.ratio,
            drift_ppm=drift.ppm,
            asleep=gate.asleep,
            resting=self.rest_until > 0,
            compute_ms=counters.percentiles_ms(*PERCENTILES),
        )

    def step(self) -> bool:
        """Take one hop from the input ring and put one into the output ring, if one is there; returns whether."""
        if self.shared.waiting < self.hop:
            self.behind_since = self.clock()
            return False
        began = time.perf_counter()
        self._keep_up()
        self.shared.peek(self._heard)
        out = self._follow(self.current).stream.process(self._heard)
        if self.next is None and self.asked:
            self.next, self.fade = self.asked.popleft(), SWITCH_FADE_HOPS
        if self.next is not None:
            out = self._take_over(self.next, out)
        out = self._mute(out)
        self.shared.put(self.drift.process(out), self.hop)
        if self.shared.head[at.FLOWING] and self.shared.waiting < self.hop:  # catching up is no evidence about clocks
            self.drift.observe(self.shared.ready)
        self.counters.count(time.perf_counter() - began, self.hop / self.rate)
        return True

    def _follow(self, stream: GatedStream) -> GatedStream:
        """Apply the wishes to a stream, one hop of its fade."""
        wanted = 0.0 if self.wishes.bypass else linear_gain(self.wishes.gain_db)
        stream.follow(wanted)
        stream.gate.shut = self.rest_until > 0 or stream.level == 0
        return stream

    def _keep_up(self) -> None:
        """Suspend the network for a while where hops pile up; after a long stall, drop what is too old."""
        waiting, now = self.shared.waiting, self.clock()
        if waiting > len(self.shared.input_ring) // 2:
            skipped = (waiting // self.hop - BEHIND_HOPS) * self.hop
            self.lost += skipped
            self.shared.put(self._heard[:0], skipped)
        elif waiting <= self.most_waiting:
            self.behind_since = now
        elif now - self.behind_since > BEHIND_S and not self.rest_until:
            self.overloads += 1
            self.rest_s, self.rest_until = self.retry_s, now + self.retry_s
            self.retry_s = min(2 * self.retry_s, RETRY_MOST_S)
        if self.rest_until and now >= self.rest_until and waiting < 2 * self.hop:
            self.rest_until = 0.0
        elif not self.rest_until and self.retry_s > RETRY_S:  # back to the start in about half a minute
            self.retry_s = max(RETRY_S, self.retry_s * (1 - self.hop / self.rate / RETRY_MOST_S))

    def _mute(self, out: FloatArray) -> FloatArray:
        """Fade to silence and back."""
        wanted = 0.0 if self.wishes.mute else 1.0
        self.shared.head[at.MUTED] = self.wishes.mute or self._loudness == 0
        if self._loudness == wanted == 1.0:
            return out
        reached = self._loudness + min(max(wanted - self._loudness, -1 / MUTE_FADE_HOPS), 1 / MUTE_FADE_HOPS)
        out = out * np.linspace(self._loudness, reached, len(out) + 1, dtype=np.float32)[1:]
        self._loudness = reached
        return out

    def switch(self, model: Backend) -> None:
        """Let another model take over without a gap; any thread but the worker's.

        It first processes the last `WARM_UP_S` of the input. Raises `InvalidSetting` where its latency or its hop is
        not that of this session.
        """
        stream = GatedStream(model, self.rate, self.sleep_db, self.cutoff)
        if (stream.hop, stream.stream.latency) != (self.hop, self.current.stream.latency):
            raise InvalidSetting(
                f"{model.model} has a latency of {stream.stream.latency_ms:.1f} ms, this session runs with "
                f"{self.current.stream.latency_ms:.1f} ms: start rtsr live with --model {model.model} instead"
            )
        block, taken = np.zeros(self.hop, np.float32), int(self.shared.head[at.TAKEN])
        stream.place = max(0, taken - int(WARM_UP_S * self.rate) // self.hop * self.hop)
        while stream.place < taken:
            self._warm(stream, block)
        self.asked.append(stream)

    def _warm(self, stream: GatedStream, block: FloatArray) -> None:
        self.shared.peek(block, int(self.shared.head[at.TAKEN]) - stream.place)
        self._follow(stream).stream.process(block)
        stream.place += self.hop

    def _take_over(self, stream: GatedStream, out: FloatArray) -> FloatArray:
        """Bring the next stream up to date and cross-fade to it; the received band of both is the same to the bit."""
        block, now = np.zeros(self.hop, np.float32), int(self.shared.head[at.TAKEN])
        for _ in range(CATCH_UP):
            if stream.place < now:
                self._warm(stream, block)
        if stream.place < now:
            return out
        new = self._follow(stream).stream.process(self._heard)
        stream.place += self.hop
        slope = self._slopes[SWITCH_FADE_HOPS - self.fade]
        self.fade -= 1
        if self.fade == 0:
            self.current, self.next = stream, None
            self.switches += 1
        return out + slope * (new - out)
