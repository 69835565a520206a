"""Which rooms are recorded, and how that is asked for: `PATCH /rooms/ROOM`. The event loop's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from ..errors import InvalidSetting
from .config import NAME, BridgeSettings
from .faults import Faults
from .leg import Leg
from .log import log_event
from .mix import MIX_RATE
from .recorded_track import RecordedTrack
from .recording_writer import MIB, RecordingWriter

RECORDED = "a=record:on"  # in SDP: what its sender receives is recorded (RFC 7866, 6.1.2)
FINISH_S = 5.0  # that the disk has when the bridge ends


class Recorder:
    """Gives the speakers of recorded rooms a track each, where the settings name a folder."""

    def __init__(self, settings: BridgeSettings, frames_per_s: int, faults: Faults) -> None:
        """Raises `InvalidSetting` for a folder that is none."""
        self.writer: RecordingWriter | None = None
        self._by_default = not settings.record_on_request
        self._chosen: dict[str, bool] = {}  # rooms for which somebody asked, until they are empty
        self._hop = MIX_RATE // frames_per_s
        if settings.record is None:
            return
        folder = Path(settings.record)
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise InvalidSetting(f"record: expected a folder that can be written to, got {settings.record!r}")
        limits = (settings.record_track_mib * MIB, settings.record_free_mib * MIB)
        self.writer = RecordingWriter(folder, *limits, faults)

    def start(self) -> None:
        """Begin to write; raises RuntimeError where this machine has no more threads."""
        if self.writer:
            self.writer.start()

    def stop(self) -> None:
        """Finish all files, within a limit."""
        if self.writer and not self.writer.stop(FINISH_S):
            log_event("recordings not finished", tracks=self.writer.tracks, limit_s=FINISH_S)

    def records(self, room: str) -> bool:
        """Whether who speaks in a room is recorded."""
        return self.writer is not None and self._chosen.get(room, self._by_default)

    def choose(self, room: str, legs: Iterable[Leg], on: bool) -> None:
        """Record a room from now on, or do not; raises `InvalidSetting` without a folder for it."""
        if self.writer is None:
            raise InvalidSetting("recorded: expected a folder for recordings among the settings (record)")
        if on == self.records(room):
            return
        self._chosen[room] = on
        log_event("recording", room=room, on=on)
        for leg in legs:
            if on and leg.joined:
                self.join(leg)
            elif not on:
                self.leave(leg)

    def join(self, leg: Leg) -> None:
        """Record a leg from now on, if it speaks and its room is recorded."""
        if self.writer and leg.speaker and self.records(leg.room) and not (leg.recording and leg.recording.lasts):
            leg.recording = RecordedTrack(_file_of(leg), _tags_of(leg), MIX_RATE, self._hop)
            self.writer.add(leg.recording)

    def leave(self, leg: Leg) -> None:
        """Let what was recorded of a leg be finished, soon."""
        if leg.recording:
            leg.recording.ended = True

    def forget(self, room: str) -> None:
        """A room is empty: whoever comes next has asked for nothing."""
        self._chosen.pop(room, None)


def _file_of(leg: Leg) -> str:
    """Return the name of a file: a time, a room and a call, whose letters are safe in any folder."""
    if not (NAME.fullmatch(leg.room) and NAME.fullmatch(leg.call)):
        raise InvalidSetting(f"expected a room and a call of letters, digits, - and _, got {leg.room!r}, {leg.call!r}")
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{leg.room}-{leg.call}.flac"


def _tags_of(leg: Leg) -> dict[str, str]:
    """Return what the file says of itself. A name is what a peer says that it is."""
    name = "".join(letter for letter in leg.name if letter.isprintable())
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"title": f"{leg.room}, {leg.call}", "artist": name, "date": now, "software": "rtsr bridge"}
