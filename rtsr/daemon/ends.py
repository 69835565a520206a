"""Which two devices a live path joins, and the virtual one that it makes for that."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from ..errors import RtsrError
from ..io import virtual
from ..io.device import Plan
from ..io.devices import PULSE, Device, Kind, find_device, list_devices, list_served
from ..io.smart import NoSmartFilter, SmartFilter
from .config import LiveSettings, OnEvent


def virtual_of(settings: LiveSettings) -> virtual.Virtual | None:
    """Return the virtual device that the settings of one path ask for."""
    if settings.virtual_mic:
        return virtual.Virtual(settings.virtual_mic, "microphone")
    if settings.virtual_speaker:
        return virtual.Virtual(settings.virtual_speaker, "speaker")
    return None


class Ends:
    """The ends of one path. One thread's."""

    def __init__(self, settings: LiveSettings, on_event: OnEvent, mark: str | None = None) -> None:
        """`mark` is that of its virtual device; None: a new one."""
        self.settings, self.on_event = settings, on_event
        self.virtual, self.holder = virtual_of(settings), virtual.Holder(mark or virtual.new_mark())
        self.smart = SmartFilter(self.virtual, self.holder.mark) if self.virtual and settings.smart else None
        self.plain = False  # whether the virtual device is there and no smart filter
        self.refused = ""  # why there is no smart filter

    def open(self) -> Plan:
        """Find both, the virtual one made first if it is not there.

        Where a device is absent, raises `DeviceFailed`, `UnknownName` or `AlreadyRunning`.
        """
        if self.virtual is None:
            return self._plan(list_devices())
        if self.smart is not None:
            plan = self._filter(self.virtual, self.smart)
            if plan is not None:
                return plan
        self.plain = True  # or half of it, where that fails
        removed = virtual.ensure(self.virtual, self.settings.rate, self.holder)
        if removed:
            self.on_event("stale", f"removed {removed} virtual devices that a crash had left behind")
        return self._plan(list_devices())

    def _filter(self, made: virtual.Virtual, smart: SmartFilter) -> Plan | None:
        """Make the smart filter; returns None, after an event that says why, where there can be none."""
        kind: Kind = "input" if made.kind == "microphone" else "output"
        wanted = self.settings.input if kind == "input" else self.settings.output
        try:
            if self.settings.host == "jack":
                raise NoSmartFilter("JACK has none")
            self._remove_plain()
            real = find_device(wanted, kind, [d for d in list_devices() if not d.made_by_rtsr])
            version = smart.make(real)
        except NoSmartFilter as error:
            if self.refused != str(error):
                self.refused = str(error)
                self.on_event("plain", f"no smart filter: {error}; choose {made.description!r} in the program")
            return None
        self.refused = ""
        self.on_event("smart", f"WirePlumber {version} puts {made.description!r} before {real.name}")
        feed = replace(real, name=smart.feed, kind="output" if kind == "input" else "input", made_by_rtsr=True)
        ends = (real, feed) if kind == "input" else (feed, real)
        return Plan(*ends, self.settings.rate, self.settings.block, smart.group)

    def _plan(self, devices: list[Device]) -> Plan:
        source, sink = self.settings.input, self.settings.output
        if self.settings.host == "jack":
            devices = [d for d in devices if d.host.startswith("JACK")]
        sources = sinks = devices
        if self.virtual is not None:  # its own ends are no candidates for the other side
            ends = self.virtual.ends(self.settings.host == "jack")
            others = [d for d in devices if d.name not in ends]
            if self.virtual.kind == "microphone":
                sink, sources = ends[0], others
            else:
                source, sinks = ends[1], others
        found = find_device(source, "input", sources), find_device(sink, "output", sinks)
        return Plan(*found, self.settings.rate, self.settings.block)

    def missing(self, plan: Plan) -> str | None:
        """Say which end is gone, or is no longer the default that was asked for; any thread."""
        ends = [d for d in (plan.source, plan.sink) if d.host == PULSE]
        if not ends:
            return None
        there = list_served(ends[0].index)
        if not there:
            return "the sound server is gone"
        for end in ends:
            if (end.kind, end.name) not in {(d.kind, d.name) for d in there}:
                return f"{end.name} is gone"
            wanted = self.settings.input if end.kind == "input" else self.settings.output
            chosen = next((d for d in there if d.kind == end.kind and d.default and not d.made_by_rtsr), end)
            if wanted is None and not end.made_by_rtsr and chosen.name != end.name:
                return f"the default {end.kind} is {chosen.name} now"
        return None

    def close(self) -> None:
        """Let programs have the real device while nothing is enhanced; a plain virtual device stays."""
        if self.smart is not None:
            self.smart.remove()

    def remove(self) -> None:
        """Remove the virtual device."""
        self.close()
        if self.virtual is not None:
            self._remove_plain()
            self.holder.release()

    def _remove_plain(self) -> None:
        if self.plain:
            with contextlib.suppress(RtsrError):
                virtual.remove(self.holder.mark)
            self.plain = False
