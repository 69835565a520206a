"""A virtual device that programs need not choose: WirePlumber links it between them and the real one.

WirePlumber calls that a smart filter, and has it from 0.5 on. The devices are two ends of a `pw-loopback`: programs are
at one, rtsr is at the other. That program ends with this process, however it ends, so a crash leaves the real device.

The stream of rtsr that goes to the real device names none: it is in the filter's link group, and WirePlumber links it
to whatever comes next. Only so does it work before a Bluetooth headset, whose microphone is a smart filter as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import AlreadyRunning, DeviceFailed
from .devices import OWNER, PULSE, Device, server
from .virtual import Virtual, remove_stale

LEAST = (0, 5)  # version of WirePlumber
PROGRAMS = ("pw-loopback", "pw-metadata")
NAME = "rtsr"  # of the filter, among those before one device
LOOPBACK = 'exec 3<&0; { cat <&3 >/dev/null; kill $$; } & exec 3<&-; exec pw-loopback "$@" </dev/null'  # until EOF
LATENCY = "PIPEWIRE_LATENCY"  # is for rtsr's own stream; here it would hurry everybody who is linked
LOGIN_S = 3.0  # in which WirePlumber may come after the sound server
MADE_S, FREE_S, ORDERED_S, ENDED_S = 5.0, 2.0, 5.0, 0.3
LOOK_S = 0.02


class NoSmartFilter(DeviceFailed):
    """There can be no smart filter here."""


def find_wireplumber(pulse: Any) -> str | None:
    """Return the version of the WirePlumber that runs beside a server, "" for 0.4, which says none; None: none runs."""
    there = [c.proplist for c in pulse.client_list()]
    versions = [p.get("application.version", "") for p in there if p.get("application.name") == "WirePlumber"]
    return next(iter(versions), None)


def has_smart_filters(version: str) -> bool:
    """Whether the WirePlumber of that version has smart filters."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= LEAST


def why_not(pulse: Any, patience_s: float = 0.0) -> str | None:
    """Return why no smart filter can be made beside a server, None where one can; waits for WirePlumber."""
    lacking = [program for program in PROGRAMS if not shutil.which(program)]
    if lacking:
        return f"{' and '.join(lacking)} of PipeWire not found"
    if "PipeWire" not in pulse.server_info().server_name:
        return "the sound server is not PipeWire"
    _wait(lambda: find_wireplumber(pulse) is not None, patience_s)
    version = find_wireplumber(pulse)
    if version is None:
        return "no WirePlumber runs"
    least = ".".join(map(str, LEAST))
    return None if has_smart_filters(version) else f"{f'WirePlumber {version}'.strip()} is older than {least}"


def find() -> tuple[str | None, str | None]:
    """Return the version of a WirePlumber with smart filters and None, or None and why there can be none."""
    try:
        with server() as pulse:
            reason = why_not(pulse)
            return (None, reason) if reason else (find_wireplumber(pulse), None)
    except DeviceFailed as error:
        return None, str(error)


def target_of(about: Mapping[str, str]) -> str | None:
    """Return, from the properties of a device, the rule by which a filter is before it; None: before any default.

    A device that is a smart filter itself cannot be a target; what it is before can.
    """
    if about.get("filter.smart") == "true":
        return about.get("filter.smart.target")
    return json.dumps({"node.name": about["node.name"]})


class SmartFilter:
    """A smart filter before one real device at a time, and its ends. One thread's."""

    def __init__(self, virtual: Virtual, mark: str) -> None:
        """`mark` is that of its path."""
        self.virtual, self.mark = virtual, mark
        self.group = f"rtsr-{mark}"
        self.feed = f"{virtual.name}_feed"  # the end that is not for programs
        self.patience_s = LOGIN_S
        self.process: subprocess.Popen[bytes] | None = None

    def make(self, real: Device) -> str:
        """Make it before a real device, in the place of an earlier one; returns WirePlumber's version.

        Raises `NoSmartFilter`; `DeviceFailed` where the device or the server goes, `AlreadyRunning` where another
        program has devices of its names.
        """
        self.remove()
        if real.host != PULSE:
            raise NoSmartFilter(f"{real.name!r} is no device of the sound server")
        with server() as pulse:
            reason, self.patience_s = why_not(pulse, self.patience_s), 0.0
            if reason:
                raise NoSmartFilter(reason)
            remove_stale(pulse)
            if not _wait(lambda: not self._there(pulse), FREE_S):  # those of a process before may still be going
                raise AlreadyRunning(
                    f"there is a device named {self._there(pulse).pop()!r} already: choose another name, or end the "
                    "rtsr that has it"
                )
            listed = pulse.source_list() if real.kind == "input" else pulse.sink_list()
            about = next((one.proplist for one in listed if one.name == real.name), None)
            if about is None:
                raise DeviceFailed(f"{real.name} is gone")
            if about.get("filter.smart") == "true":
                _let_come_after(about["object.id"])
            self._start(target_of(about))
            self._wait_until_made(pulse)
            self.patience_s = LOGIN_S  # it may be started anew
            return find_wireplumber(pulse) or ""

    def _there(self, pulse: Any) -> set[str]:
        return {self.virtual.name, self.feed} & {one.name for one in [*pulse.sink_list(), *pulse.source_list()]}

    def _start(self, target: str | None) -> None:
        sink, source = self.arguments(target)
        command = ["sh", "-c", LOOPBACK, "sh", "--channels=1", "--channel-map=[ MONO ]"]
        command += [f"--capture-props={sink}", f"--playback-props={source}"]
        env = {name: value for name, value in os.environ.items() if name != LATENCY}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env)

    def arguments(self, target: str | None) -> tuple[str, str]:
        """Return the properties of its sink and of its source, as PipeWire reads them."""
        both = {"node.link-group": self.group, OWNER: self.mark}
        shown = {"node.name": self.virtual.name, "node.description": self.virtual.description}
        hidden = {"node.name": self.feed, "node.description": f"{self.virtual.description} feed"}
        smart = {"filter.smart": "true", "filter.smart.name": NAME}
        microphone = self.virtual.kind == "microphone"
        sink = {"media.class": "Audio/Sink", **both, **(hidden if microphone else {**shown, **smart})}
        source = {"media.class": "Audio/Source", **both, **({**shown, **smart} if microphone else hidden)}
        return _text(sink, None if microphone else target), _text(source, target if microphone else None)

    def _wait_until_made(self, pulse: Any) -> None:
        process, whole = self.process, {self.virtual.name, self.feed}
        assert process is not None
        _wait(lambda: self._there(pulse) == whole or process.poll() is not None, MADE_S)
        if self._there(pulse) != whole:
            self.remove()
            raise NoSmartFilter(f"pw-loopback made no {self.virtual.description!r}; it returned {process.returncode}")

    def remove(self) -> None:
        """Remove it, if it is there: programs have the real device again."""
        process, self.process = self.process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(ENDED_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _text(properties: dict[str, str], target: str | None) -> str:
    words = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in properties.items()]
    return f"{{ {' '.join(words)}{'' if target is None else f' filter.smart.target = {target}'} }}"


def _let_come_after(node: str) -> None:
    """Let a filter that is a device come after ours: with nothing behind it, it would get what it gives."""
    order = ["pw-metadata", "-n", "filters", node, "filter.smart.after", json.dumps([NAME]), "Spa:String:JSON"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(order, check=False, timeout=ORDERED_S, capture_output=True)


def _wait(until: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; returns whether it does."""
    deadline = time.monotonic() + seconds
    while not (holds := until()) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return holds
