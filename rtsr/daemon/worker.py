"""Between the tape and the ring: takes hop after hop, enhances it, and keeps up whatever it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..backend.base import Backend
from ..dsp.windows import FloatArray
from ..errors import InvalidSetting
from ..io import wire as w
from ..io.wire import Wire
from ..session import Counters
from ..stream import Stream
from .config import Tell
from .drift import Drift
from .gate import Gate

FADE_HOPS = 2  # bypass, gain, mute and a change of model slide over 10 ms
BEHIND_HOPS = 3  # waiting beyond a device's block, for so long: the network is too slow for this machine now
BEHIND_S = 0.1  # a stall that ends is caught up sooner
RETRY_S, RETRY_MOST_S = 1.0, 30.0
WARM_UP_S = 0.8  # of the past that a new model hears before it speaks
CATCH_UP = 4  # hops a new model takes while the old one takes one


@dataclass(slots=True)
class Wishes:
    """What the worker is to do; set by any thread, looked at once a hop."""

    gain_db: float = 0.0
    bypass: bool = False
    mute: bool = False


class Voice:
    """One model's path at one rate: each hop of the tape gives exactly one hop."""

    def __init__(self, model: Backend, rate: int, sleep_db: float, cutoff: float | str) -> None:
        self.gate = Gate(model, sleep_db)
        self.path = Stream(self.gate, rate, rate, cutoff=cutoff)
        self.hop = rate // model.spec.frames_per_s
        self.place = 0  # on the tape, while it is warming up
        self.level = self.wanted = 1.0  # of the generated band, a factor
        self.slope = 0.0

    def follow(self, wanted: float) -> None:
        """Let the generated band slide towards a level; it is there after FADE_HOPS hops."""
        if wanted != self.wanted:
            self.wanted, self.slope = wanted, abs(wanted - self.level) / FADE_HOPS
        if self.level != wanted:
            self.level += min(max(wanted - self.level, -self.slope), self.slope)
            self.path.set_gain(20 * np.log10(self.level) if self.level > 0 else -np.inf)


class Worker:
    """Runs a voice between the two ends of a wire, hop by hop, with one latency from the first to the last.

    `step` is one thread's; `wishes`, `switch` and the counters are anybody's. `tell` gets (kind, line) events.
    """

    def __init__(
        self,
        model: Backend,
        rate: int,
        *,
        cushion: int,
        burst: int = 0,
        sleep_db: float = -70.0,
        cutoff: float | str = "auto",
        tell: Tell = lambda kind, line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate % model.spec.frames_per_s or rate < model.spec.rate:
            raise InvalidSetting(
                f"expected a rate of at least {model.spec.rate} Hz that is a multiple of "
                f"{model.spec.frames_per_s} Hz, got {rate} Hz: try --rate 48000"
            )
        self.rate, self.sleep_db, self.cutoff, self.tell, self.clock = rate, sleep_db, cutoff, tell, clock
        self.voice = Voice(model, rate, sleep_db, cutoff)
        self.hop = self.voice.hop
        self.drift = Drift(rate, self.hop)
        self.latency = self.voice.path.latency + self.drift.delay
        self.wire = Wire(rate, self.hop, cushion, self.latency - self.hop, burst)
        self.most_waiting = BEHIND_HOPS * self.hop + burst
        self.wishes, self.counters = Wishes(), Counters()
        self.next: Voice | None = None
        self.fade = 0  # hops left in which `next` takes over
        self.lost = self.overloads = 0
        self.rest_until, self.retry_s, self.behind_since = 0.0, RETRY_S, clock()
        self._heard = np.zeros(self.hop, np.float32)
        self._loudness = 1.0
        self._slopes = np.linspace(0, 1, FADE_HOPS * self.hop + 1, dtype=np.float32)[1:].reshape(FADE_HOPS, -1)

    def step(self) -> bool:
        """Take one hop from the tape and put one into the ring, if one is there; returns whether."""
        if self.wire.waiting < self.hop:
            self.behind_since = self.clock()
            return False
        began = time.perf_counter()
        self._keep_up()
        self.wire.peek(self._heard)
        out = self._follow(self.voice).path.process(self._heard)
        if self.next is not None:
            out = self._take_over(self.next, out)
        out = self._mute(out)
        self.wire.put(self.drift.process(out), self.hop)
        if self.wire.head[w.FLOWING] and self.wire.waiting < self.hop:  # catching up says nothing of clocks
            self.drift.observe(self.wire.ready)
        self.counters.count(time.perf_counter() - began, self.hop / self.rate)
        return True

    def _follow(self, voice: Voice) -> Voice:
        """Bring a voice a step nearer to what is wished."""
        wanted = 0.0 if self.wishes.bypass else 10 ** (self.wishes.gain_db / 20)
        voice.follow(wanted)
        voice.gate.shut = self.rest_until > 0 or voice.level == 0
        return voice

    def _keep_up(self) -> None:
        """Leave the network out for a while where hops pile up; after a long stall, leave out what is too old."""
        waiting, now = self.wire.waiting, self.clock()
        if waiting > len(self.wire.tape) // 2:
            skipped = (waiting // self.hop - BEHIND_HOPS) * self.hop
            self.lost += skipped
            self.wire.put(self._heard[:0], skipped)
        elif waiting <= self.most_waiting:
            self.behind_since = now
        elif now - self.behind_since > BEHIND_S and not self.rest_until:
            self.overloads += 1
            self.rest_until = now + self.retry_s
            self.tell("overload", f"too slow by {1000 * waiting / self.rate:.0f} ms: plain for {self.retry_s:.0f} s")
            self.retry_s = min(2 * self.retry_s, RETRY_MOST_S)
        if self.rest_until and now >= self.rest_until and waiting < 2 * self.hop:
            self.rest_until = 0.0
        elif not self.rest_until and self.retry_s > RETRY_S:  # forgiven in about half a minute
            self.retry_s = max(RETRY_S, self.retry_s * (1 - self.hop / self.rate / RETRY_MOST_S))

    def _mute(self, out: FloatArray) -> FloatArray:
        """Slide to silence and back."""
        wanted = 0.0 if self.wishes.mute else 1.0
        self.wire.head[w.MUTED] = self.wishes.mute or self._loudness == 0
        if self._loudness == wanted == 1.0:
            return out
        reached = self._loudness + min(max(wanted - self._loudness, -1 / FADE_HOPS), 1 / FADE_HOPS)
        out = out * np.linspace(self._loudness, reached, len(out) + 1, dtype=np.float32)[1:]
        self._loudness = reached
        return out

    def switch(self, model: Backend) -> None:
        """Let another model take over without a gap; any thread but the worker's.

        It hears the last second first. Raises `InvalidSetting` where its latency or its hop is not the one that
        this session has promised.
        """
        voice = Voice(model, self.rate, self.sleep_db, self.cutoff)
        if (voice.hop, voice.path.latency) != (self.hop, self.voice.path.latency):
            raise InvalidSetting(
                f"{model.model} has a latency of {voice.path.latency_ms:.1f} ms, this session runs with "
                f"{self.voice.path.latency_ms:.1f} ms: start rtsr live with --model {model.model} instead"
            )
        block, taken = np.zeros(self.hop, np.float32), int(self.wire.head[w.TAKEN])
        voice.place = max(0, taken - int(WARM_UP_S * self.rate) // self.hop * self.hop)
        while voice.place < taken:
            self._warm(voice, block)
        self.fade = FADE_HOPS
        self.next = voice

    def _warm(self, voice: Voice, block: FloatArray) -> None:
        self.wire.peek(block, int(self.wire.head[w.TAKEN]) - voice.place)
        self._follow(voice).path.process(block)
        voice.place += self.hop

    def _take_over(self, voice: Voice, out: FloatArray) -> FloatArray:
        """Bring the next voice up to date and blend it in; the plain part of both is the same to the bit."""
        block, now = np.zeros(self.hop, np.float32), int(self.wire.head[w.TAKEN])
        for _ in range(CATCH_UP):
            if voice.place < now:
                self._warm(voice, block)
        if voice.place < now:
            return out
        new = self._follow(voice).path.process(self._heard)
        voice.place += self.hop
        slope = self._slopes[FADE_HOPS - self.fade]
        self.fade -= 1
        if self.fade == 0:
            self.voice, self.next = voice, None
            self.tell("model", f"{voice.gate.model} speaks now")
        return out + slope * (new - out)
