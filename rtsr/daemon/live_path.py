"""One live path: a capture device, a worker, a playback device and what they share; devices may come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..backend import load
from ..backend.native import NAMES as NATIVE
from ..errors import AlreadyRunning, DeviceFailed, InvalidSetting, UnknownName
from ..io import layout as at
from ..io.device import Host, Plan, SoundDeviceHost
from .config import LiveSettings, OnEvent
from .ends import Ends
from .memory_lock import lock_memory
from .native_worker import NativeWorker
from .priority import ask_for_real_time, hurried
from .stats import count_underruns, gather
from .tuning import TuningHint
from .worker import Worker, events

WATCH_S = 0.1
START_S = 1.0  # more, before the first callback
STALLED_S = 0.5  # without a callback: the stream is opened anew
LOOK_S = 0.5  # between looks at whether the named ends are still there
RETRY_S = 0.2
ABSENT = (DeviceFailed, UnknownName, AlreadyRunning)  # raised where a device is not there now, and may be later
CLOSE_S, CLOSE_LAST_S = 1.0, 0.2  # a device that is gone may never return; the last time there is less to wait for


def make_host(name: str) -> Host:
    """Return the host of that name, nothing opened."""
    if name == "pyaudio":
        from ..io.pyaudio_host import PyAudioHost

        return PyAudioHost()
    return SoundDeviceHost()


def make_worker(settings: LiveSettings) -> Worker | NativeWorker:
    """Return a worker for these settings, with its model; the native one where that is asked for, or can be."""
    only_native = settings.worker == "native" and settings.backend == "auto"
    model = load(settings.model, "native" if only_native else settings.backend)
    native = model.name in NATIVE and settings.worker != "python"
    kind: type[Worker | NativeWorker] = NativeWorker if native else Worker
    worker = kind(
        model,
        settings.rate,
        low_water=settings.low_water,
        burst=2 * settings.block,
        sleep_db=settings.sleep_db,
        cutoff=settings.cutoff,
    )
    worker.wish(gain_db=settings.gain_db)
    return worker


class LivePath:
    """One path from a device through a worker to a device. `start`, `watch` and `stop` are one thread's.

    The worker has a thread of its own, the devices have theirs. Raises what opening raises only from `start`; later
    failures are reported as events and repaired.
    """

    def __init__(self, settings: LiveSettings, on_event: OnEvent, mark: str | None = None) -> None:
        """`mark` is that of its virtual device; None: a new one."""
        self.settings, self.on_event = settings, on_event
        self.ends = Ends(settings, on_event, mark)
        self.worker = make_worker(settings)
        self.reported = self.worker.report()
        self.tuning = TuningHint(1000 * settings.low_water / settings.rate, 1000 * settings.block / settings.rate)
        self.host = make_host(settings.host)
        self.plan: Plan | None = None
        self.priority = ""  # the worker's, in words
        self.connected = False  # to both devices, as far as is known
        self.reconnects = 0
        self.began = time.monotonic()
        self._calls, self._called = (0, 0), [0.0, 0.0]
        self._looked = 0.0
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="rtsr worker", daemon=True)

    def start(self, patient: bool = False) -> None:
        """Open the devices and start streaming.

        Where a device is absent, raises `DeviceFailed`, `UnknownName` or `AlreadyRunning`; when `patient`, waits.
        """
        self.worker.warm_up()
        self._thread.start()
        try:
            self._open()
        except ABSENT as error:
            if not patient:
                raise
            self._reconnect(str(error))
        self.on_event("memory", lock_memory())

    def _work(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:
            self._error = error

    def _open(self) -> None:
        """Find and open both ends, the virtual one made first if it is not there."""
        self.plan = self.ends.open()
        self.worker.shared.settle()
        self.host.open(self.plan, self.worker.shared)
        self._hurry()
        self.worker.relearn()
        self._calls, self._called = self._count_calls(), [time.monotonic() + START_S] * 2
        self._looked = time.monotonic()
        self.connected = True

    def _hurry(self) -> None:
        """Give the worker the priority that it needs beside the callbacks that there are now."""
        before, self.priority = self.priority, ask_for_real_time(self._thread.native_id or 0)
        if self.priority != before:
            self.on_event("priority", self.priority)

    def watch(self) -> None:
        """Look after the devices once; call it every `WATCH_S`. Mends what it can, raises what the worker raised."""
        if self._error is not None:
            raise self._error
        before, self.reported = self.reported, self.worker.report()
        for kind, line in events(before, self.reported):
            self.on_event(kind, line)
        hint = self.tuning.look(time.monotonic() - self.began, *count_underruns(self.worker.shared.head))
        if hint:
            self.on_event("tuning", hint)
        trouble = self._trouble()
        if trouble:
            self._reconnect(trouble)

    def _count_calls(self) -> tuple[int, int]:
        head = self.worker.shared.head
        return int(head[at.CAPTURE_CALLS]), int(head[at.PLAY_CALLS])

    def _trouble(self) -> str | None:
        """Say what is wrong with the devices, if anything is."""
        now, calls = time.monotonic(), self._count_calls()
        for side in (0, 1):
            if calls[side] != self._calls[side]:
                self._called[side] = now
        self._calls = calls
        assert self.plan is not None
        for side, device in enumerate((self.plan.source, self.plan.sink)):
            if now - self._called[side] > STALLED_S:
                return f"{device.name} stopped"
        if now - self._looked > LOOK_S:
            self._looked = now
            with hurried():
                return self.ends.missing(self.plan)
        return None

    def _reconnect(self, trouble: str) -> None:
        """Close, and try to open until it works or `stop` is called; the state of the stream stays."""
        began = time.monotonic()
        self.connected = False
        self._close()
        reported = False
        while not self._stopping.is_set():
            try:
                self._open()
            except ABSENT as error:
                self._close()
                if not reported and time.monotonic() - began > 2:
                    reported = True
                    self.on_event("waiting", f"{trouble}; waiting for it ({error})")
                self._stopping.wait(RETRY_S)
                continue
            self.reconnects += 1
            self.on_event("reconnect", f"{trouble}; connected again after {time.monotonic() - began:.1f} s")
            return

    def _close(self, limit_s: float = CLOSE_S) -> None:
        """Close the devices; one that does not return is left to a thread of its own, and a new host takes over."""
        self.ends.close()
        closing = threading.Thread(target=self.host.close, name="rtsr closing", daemon=True)
        closing.start()
        closing.join(limit_s)
        if closing.is_alive():
            self.on_event("stuck", "a device does not close; a new host takes over")
            self.host = make_host(self.settings.host)

    def stop(self) -> None:
        """End everything and remove the virtual device; takes less than half a second."""
        self._stopping.set()
        self.worker.stop()
        self._close(CLOSE_LAST_S)
        if self._thread.is_alive():
            self._thread.join(CLOSE_LAST_S)
        self.ends.remove()

    @property
    def flows(self) -> bool:
        """Whether both devices have called back of late, and what is heard is the worker's; any thread."""
        late = time.monotonic() - min(self._called) > 2 * STALLED_S  # `watch` may be held up by a server
        return self.connected and not late and bool(self.worker.shared.head[at.FLOWING])

    def request_stop(self) -> None:
        """Ask a `_reconnect` in progress to give up; any thread."""
        self._stopping.set()

    def command(self, do: str, value: Any = None) -> Any:
        """Do what a control request asks and return what is to be answered; raises `RtsrError`."""
        commands: dict[str, Callable[[Any], Any]] = {
            "bypass": lambda v: self._flag("bypass", v),
            "mute": lambda v: self._flag("mute", v),
            "gain": self._gain,
            "model": self._model,
            "stats": lambda _: self.stats(),
        }
        if do not in commands:
            raise UnknownName("command", str(do), commands)
        return commands[do](value)

    def _flag(self, name: str, value: Any) -> bool:
        known = {"on": True, "off": False, "toggle": not getattr(self.worker.wishes, name), True: True, False: False}
        if not isinstance(value, str | bool) or value not in known:
            raise InvalidSetting(f"{name}: expected on, off or toggle, got {value!r}")
        self.worker.wish(**{name: known[value]})
        return known[value]

    def _gain(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -120 <= value <= 24:
            raise InvalidSetting(f"gain: expected -120 to 24 dB, got {value!r}")
        self.worker.wish(gain_db=float(value))
        return float(value)

    def _model(self, value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidSetting(f"model: expected a name, got {value!r}")
        only_native = self.worker.kind == "native" and self.settings.backend == "auto"
        model = load(value, "native" if only_native else self.settings.backend)
        self.worker.switch(model)
        return model.model

    def stats(self) -> dict[str, Any]:
        """Return the state and counters of this path; see `gather`."""
        with hurried():
            return gather(
                self.worker,
                self.host,
                self.plan,
                flows=self.flows,
                began=self.began,
                reconnects=self.reconnects,
            )
