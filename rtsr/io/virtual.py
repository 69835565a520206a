"""A microphone and a loudspeaker that other programs can choose, made on a PulseAudio or PipeWire server.

The microphone is a null sink that rtsr plays into, with a source of its own on its monitor; the loudspeaker is a null
sink whose monitor rtsr captures. Every module bears the process that made it, so that what a crash left behind is
found and removed by the next start.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AlreadyRunning, DeviceFailed
from .devices import OWNER, server

MARK = re.compile(re.escape(OWNER) + r"[=:]\s*\\?[\"']?(\d+)")


@dataclass(frozen=True, slots=True)
class Virtual:
    """One virtual device: what it is called for people, and the names of its ends on the server."""

    description: str
    kind: str  # "microphone" or "speaker"

    @property
    def name(self) -> str:
        """The name that programs choose it by."""
        return re.sub(r"\W+", "_", self.description.strip().lower()).strip("_") or "rtsr"

    @property
    def sink(self) -> str:
        """The null sink: what rtsr plays into for a microphone, what others play into for a speaker."""
        return f"{self.name}_feed" if self.kind == "microphone" else self.name

    @property
    def shown(self) -> str:
        """What the null sink is called for people."""
        told = re.sub(r"[\"'\\]", "", self.description)
        return f"{told} feed" if self.kind == "microphone" else told

    def ends(self, jack: bool) -> tuple[str, str, str]:
        """Return the names of what can be played into, of what can be captured, and of the microphone made of it."""
        return (self.shown, self.shown, self.shown) if jack else (self.sink, f"{self.sink}.monitor", self.name)

    def modules(self, owner: int, rate: int) -> list[tuple[str, str]]:
        """Return the modules to load in turn, each with its arguments."""

        def properties(description: str) -> str:
            return f"\"device.description='{description}' {OWNER}={owner}\""

        sink = f"sink_name={self.sink} rate={rate} channels=1 norewinds=1 format=float32le"
        feed = f"{sink} sink_properties={properties(self.shown)}"
        made = [("module-null-sink", feed)]
        if self.kind == "microphone":
            source = f"source_name={self.name} master={self.sink}.monitor channels=1 remix=yes"
            told = properties(self.shown.removesuffix(" feed"))
            made.append(("module-remap-source", f"{source} source_properties={told}"))
        return made


def _owned(pulse: Any) -> list[tuple[int, int]]:
    """Return (module, process that made it) for every module of ours."""
    marked = ((m.index, MARK.search(m.argument or "")) for m in pulse.module_list())
    return [(index, int(found[1])) for index, found in marked if found]


def _is_rtsr(process: int) -> bool:
    """Whether a process lives and is one of ours; numbers are used again."""
    try:
        return b"rtsr" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _unload(pulse: Any, modules: list[int]) -> int:
    """Unload modules, the last made first; returns how many went, as another rtsr may be clearing the same ones."""
    import pulsectl

    gone = 0
    for index in reversed(modules):
        with contextlib.suppress(pulsectl.PulseOperationFailed):
            pulse.module_unload(index)
            gone += 1
    return gone


def remove_stale(pulse: Any) -> int:
    """Unload what processes that are gone have left behind; returns how many modules."""
    return _unload(pulse, [index for index, owner in _owned(pulse) if not _is_rtsr(owner)])


def ensure(virtual: Virtual, rate: int) -> int:
    """Make the virtual device unless this process has it already; returns how many stale modules were removed first.

    Raises `DeviceFailed` where there is no server or it refuses, `AlreadyRunning` where another rtsr has it.
    """
    pulse = server()
    if pulse is None:
        raise DeviceFailed(
            f"a virtual {virtual.kind} needs a PulseAudio or PipeWire server (and pip install 'rtsr[live]'): start one "
            "with  systemctl --user start pipewire-pulse  or  pulseaudio --start; elsewhere see docs/operations.md"
        )
    with pulse:
        removed = remove_stale(pulse)
        names = {s.name: s for s in [*pulse.sink_list(), *pulse.source_list()]}
        there = [names[n] for n in {virtual.sink, virtual.name} if n in names]
        mine = {index for index, owner in _owned(pulse) if owner == os.getpid()}
        if there and all(s.owner_module in mine for s in there):
            return removed
        if there:
            raise AlreadyRunning(
                f"there is a device named {there[0].name!r} already: choose another name, or end the rtsr that has it"
            )
        _load(pulse, virtual, rate)
        return removed


def _load(pulse: Any, virtual: Virtual, rate: int) -> None:
    import pulsectl

    try:
        for name, arguments in virtual.modules(os.getpid(), rate):
            pulse.module_load(name, arguments)
    except pulsectl.PulseOperationFailed as error:
        raise DeviceFailed(f"the sound server refuses to make {virtual.description!r}: {name}: {error}") from error


def remove() -> None:
    """Unload everything that this process has made; quiet where the server is gone, and its modules with it."""
    pulse = server()
    if pulse is None:
        return
    with pulse:
        _unload(pulse, [index for index, owner in _owned(pulse) if owner == os.getpid()])
