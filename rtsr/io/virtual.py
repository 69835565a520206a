"""A microphone and a loudspeaker that other programs can choose, made on a PulseAudio or PipeWire server.

The microphone is a null sink that rtsr plays into, with a source of its own on its monitor; the loudspeaker is a null
sink whose monitor rtsr captures. Every module has the mark of the path that made it. For as long as that path runs
it holds a connection to the server, named after the mark. So the next start finds what a crash left behind, and removes
it: it asks the server which marks have a connection, and need not see the processes, which may run in a container or on
another machine.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from dataclasses import dataclass
from typing import Any

from ..errors import AlreadyRunning, DeviceFailed
from .devices import OWNER, server

MARK = re.compile(re.escape(OWNER) + r"[=:]\s*\\?[\"']?(\w+)")
HOLDER = "rtsr holds "  # the name of a connection, before the mark


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
        quoted = re.sub(r"[\"'\\]", "", self.description)
        return f"{quoted} feed" if self.kind == "microphone" else quoted

    def ends(self, jack: bool) -> tuple[str, str, str]:
        """Return the names of what can be played into, of what can be captured, and of the microphone made of it."""
        return (self.shown, self.shown, self.shown) if jack else (self.sink, f"{self.sink}.monitor", self.name)

    def modules(self, mark: str, rate: int) -> list[tuple[str, str]]:
        """Return the modules to load in turn, each with its arguments."""

        def properties(description: str) -> str:
            return f"\"device.description='{description}' {OWNER}={mark}\""

        sink = f"sink_name={self.sink} rate={rate} channels=1 norewinds=1 format=float32le"
        feed = f"{sink} sink_properties={properties(self.shown)}"
        made = [("module-null-sink", feed)]
        if self.kind == "microphone":
            source = f"source_name={self.name} master={self.sink}.monitor channels=1 remix=yes"
            quoted = properties(self.shown.removesuffix(" feed"))
            made.append(("module-remap-source", f"{source} source_properties={quoted}"))
        return made


class Holder:
    """The connection that stands for a mark: while it is open, no other rtsr removes what has the mark.

    One thread's. A server that is started again needs a new `hold`.
    """

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._connection = contextlib.ExitStack()

    def hold(self) -> None:
        """Connect, in the place of an earlier connection; raises `DeviceFailed`."""
        with contextlib.ExitStack() as fresh:
            fresh.enter_context(server(f"{HOLDER}{self.mark}"))
            self.release()
            self._connection = fresh.pop_all()

    def release(self) -> None:
        """Disconnect."""
        self._connection.close()


def new_mark() -> str:
    """Return a mark that no other path has, on whichever machine."""
    return uuid.uuid4().hex


def _mark_of(module: Any) -> str | None:
    found = MARK.search(module.argument or "")
    return found[1] if found else None


def _marked(pulse: Any) -> list[tuple[int, str]]:
    """Return (module, mark) for every module of ours."""
    return [(module.index, mark) for module in pulse.module_list() if (mark := _mark_of(module))]


def _bearing(pulse: Any, mark: str) -> list[tuple[int, str]]:
    """Return (module, mark) for the modules that have a mark."""
    return [one for one in _marked(pulse) if one[1] == mark]


def _unload(pulse: Any, modules: list[tuple[int, str]]) -> int:
    """Unload modules, the last made first; returns how many went.

    Another rtsr may be clearing the same ones, and PipeWire gives the number of one that is gone to a new one. So each
    is looked at again right before.
    """
    import pulsectl

    gone = 0
    for index, mark in reversed(modules):
        with contextlib.suppress(pulsectl.PulseOperationFailed, pulsectl.PulseIndexError):
            if _mark_of(pulse.module_info(index)) == mark:
                pulse.module_unload(index)
                gone += 1
    return gone


def remove_stale(pulse: Any) -> int:
    """Unload what paths that are gone have left behind; returns how many modules."""
    marked = _marked(pulse)  # before the connections: each of these was made by a path that had one
    held = {c.name.removeprefix(HOLDER) for c in pulse.client_list() if c.name.startswith(HOLDER)}
    return _unload(pulse, [one for one in marked if one[1] not in held])


def ensure(virtual: Virtual, rate: int, holder: Holder) -> int:
    """Make the virtual device unless the holder's path has it already; returns how many stale modules were removed.

    Raises `DeviceFailed` where there is no server or it refuses, `AlreadyRunning` where another rtsr has it.
    """
    try:
        holder.hold()
    except DeviceFailed as error:
        raise DeviceFailed(
            f"a virtual {virtual.kind} needs a PulseAudio or PipeWire server (and pip install 'rtsr[live]'): start one "
            "with  systemctl --user start pipewire-pulse  or  pulseaudio --start; elsewhere see docs/operations.md"
        ) from error
    with server() as pulse:
        removed = remove_stale(pulse)
        wanted, mine = {virtual.sink, virtual.name}, _bearing(pulse, holder.mark)
        there = [s for s in [*pulse.sink_list(), *pulse.source_list()] if s.name in wanted]
        others = [s for s in there if s.owner_module not in dict(mine)]
        if others:
            raise AlreadyRunning(
                f"there is a device named {others[0].name!r} already: choose another name, or end the rtsr that has it"
            )
        if {s.name for s in there} != wanted:
            _unload(pulse, mine)  # the half of it that an end in the middle has left
            _load(pulse, virtual, rate, holder.mark)
        return removed


def _load(pulse: Any, virtual: Virtual, rate: int, mark: str) -> None:
    import pulsectl

    for name, arguments in virtual.modules(mark, rate):
        try:
            pulse.module_load(name, arguments)
        except pulsectl.PulseOperationFailed as error:
            raise DeviceFailed(f"the sound server refuses to make {virtual.description!r}: {name}: {error}") from error


def remove(mark: str) -> int:
    """Unload everything that has a mark; returns how many modules. Raises `DeviceFailed` where the server is gone."""
    with server() as pulse:
        return _unload(pulse, _bearing(pulse, mark))
